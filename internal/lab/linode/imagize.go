package linode

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// imagizeDisk makes an image of an instance's disk.
func (s *Server) imagizeDisk(c *call) (any, error) {
	var in struct {
		DiskID      int      `json:"disk_id"`
		Label       string   `json:"label"`
		Description string   `json:"description"`
		CloudInit   bool     `json:"cloud_init"`
		Tags        []string `json:"tags"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, d := s.diskOwner(in.DiskID)
	if i == nil {
		return nil, notFound()
	}
	if in.Label == "" {
		in.Label = d.Label
	}
	var bad problems
	checkImageLabel(&bad, in.Label)
	checkDescription(&bad, in.Description)
	checkImageTags(&bad, in.Tags)
	if d.Filesystem == "swap" {
		bad.add("disk_id", "A swap disk cannot be made an image")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if s.jobs[i.View.ID] != nil {
		return nil, busy()
	}
	if err := s.checkQuota(); err != nil {
		return nil, err
	}
	image := s.newImage(imageCreating, in.Label, in.Description, in.CloudInit, in.Tags)
	image.Size, image.TotalSize = d.Size, d.Size // until it is known
	answer := *image
	s.imagize(i, d, image.ID, c.fault)
	return answer, nil
}

// diskOwner returns the instance that has a disk, and the disk. The caller holds the lock.
func (s *Server) diskOwner(id int) (*instance, *disk) {
	for _, i := range s.state.sorted() {
		if i.View.Status == statusDeleting {
			continue
		}
		for n := range i.Disks {
			if i.Disks[n].ID == id {
				return i, &i.Disks[n]
			}
		}
	}
	return nil, nil
}

// imagize is the job of a new image. It is the instance's, which can do nothing else meanwhile. The caller holds the lock.
func (s *Server) imagize(i *instance, d *disk, id string, fault *Fault) {
	e := s.record("disk_imagize", instanceEntity(i), s.imageEvent(id))
	d.Status = diskBusy // clients wait for the disk, too
	if fault != nil && fault.Stuck {
		return
	}
	size := s.sourceSize(i)
	var content Content
	work := func(ctx context.Context) error {
		disks, ok := s.Machines.(Disks)
		if !ok {
			return nil
		}
		path, err := disks.Disk(ctx, i.View.ID)
		if err != nil {
			return err
		}
		content, err = s.capture(ctx, path, id)
		return err
	}
	s.begin(&job{
		about: i.View.ID, image: id,
		steps: []step{
			{nil, func() { s.progress(e, eventStarted, 0) }},
			{work, func() {
				if content.Name != "" {
					s.state.Contents[id] = content
					s.image(id).File = s.contents.find(content.Name)
					size = content.sizeMB()
				}
				s.finishImage(id, i.View.Region, size)
				d.Status = diskReady
				s.progress(e, eventFinished, 100)
			}},
		},
		failed: func(err error) {
			s.abandon(e, err)
			s.forgetImage(id)
			d.Status = diskReady
		},
	}, fault)
}

// sourceSize is the size of the image that an instance was made of: what an image of it has when its disk cannot be read.
func (s *Server) sourceSize(i *instance) int {
	if i.View.Image != nil {
		if image := s.image(*i.View.Image); image != nil && image.Size > 0 {
			return image.Size
		}
	}
	return 1024
}

// capture copies a machine's disk and makes the copy as small as what is in it, as the vendor does.
func (s *Server) capture(ctx context.Context, disk, id string) (_ Content, err error) {
	name := strconv.Itoa(imageNumber(id)) + ".img"
	path, err := s.contents.path(name)
	if err != nil {
		return Content{}, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // the failure is what counts
		}
	}()
	if err := copyDisk(ctx, disk, path); err != nil {
		return Content{}, fmt.Errorf("copy the disk: %w", err)
	}
	if err := shrink(ctx, path); err != nil {
		return Content{}, fmt.Errorf("shrink the image: %w", err)
	}
	content := Content{Name: name}
	file, err := os.Open(path)
	if err != nil {
		return Content{}, fmt.Errorf("read the image: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	sum := sha256.New()
	if content.RawBytes, err = io.Copy(sum, file); err != nil {
		return Content{}, fmt.Errorf("read the image: %w", err)
	}
	content.RawSHA256 = hex.EncodeToString(sum.Sum(nil))
	if limit := s.Quota.withDefaults().Uncompressed; content.sizeMB() > limit {
		return Content{}, fmt.Errorf("the disk holds %d MB, and an image at most %d", content.sizeMB(), limit)
	}
	return content, nil
}

// copyDisk copies a raw or a qcow2 disk to a raw file with holes.
func copyDisk(ctx context.Context, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	var magic [4]byte
	_, err = io.ReadFull(file, magic[:])
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if bytes.Equal(magic[:], []byte("QFI\xfb")) {
		return tool(ctx, 0, "qemu-img", "convert", "-O", "raw", "-f", "qcow2", from, to)
	}
	return tool(ctx, 0, "cp", "--sparse=always", "--reflink=auto", from, to)
}

// shrink takes the free space out of an ext file system.
func shrink(ctx context.Context, path string) error {
	// Status 1 says that something was corrected, such as the journal of a machine that lost its power.
	if err := tool(ctx, 1, "e2fsck", "-fy", path); err != nil {
		return err
	}
	if err := tool(ctx, 0, "resize2fs", "-M", path); err != nil {
		return err
	}
	size, err := extSize(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, size)
}

// tool runs a program; highest is the highest exit status that is no failure.
func tool(ctx context.Context, highest int, name string, args ...string) error {
	path, err := findTool(name)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) && exit.ExitCode() >= 0 && exit.ExitCode() <= highest {
		return nil
	}
	text := strings.TrimSpace(string(out))
	return fmt.Errorf("%s: %w: %s", name, err, text[max(len(text)-300, 0):])
}

// findTool finds a program also where Debian puts those for administrators, which is on nobody else's path.
func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	return path, err
}
