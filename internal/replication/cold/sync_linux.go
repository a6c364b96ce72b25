package cold

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is the root's name for rsync.
const module = "cold"

// fresh returns a name that no other run of rsync has, short enough for a socket.
func fresh() string { return rand.Text()[:12] }

// Serve implements Side: rsync's daemon answers for the root and nothing else, as this process's account.
func (m *Mover) Serve(ctx context.Context) (io.ReadWriteCloser, error) {
	if err := m.ensure(); err != nil {
		return nil, err
	}
	program, err := exec.LookPath("rsync")
	if err != nil {
		return nil, Problem("rsync is not installed on this node: install the Debian package rsync")
	}
	config := filepath.Join(m.cfg.RunDir, "rsyncd-"+fresh()+".conf")
	if err := os.WriteFile(config, m.daemonConfig(), 0o600); err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	cmd := exec.Command(program, "--server", "--daemon", "--config="+config, ".") //nolint:noctx // its stream ends it
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + m.cfg.RunDir}
	cmd.Dir = "/"
	m.alone(cmd)
	cmd.Cancel = nil
	var said bytes.Buffer
	cmd.Stderr = &said
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		return nil, errors.Join(err, os.Remove(config))
	}
	stop := context.AfterFunc(ctx, func() { _ = there.Close() })
	go func() {
		_, _ = io.Copy(in, there) // rsync sees how its stream ends
		_ = in.Close()
	}()
	go func() {
		_, _ = io.Copy(there, out)
		stop()
		_ = there.Close()
		if err := cmd.Wait(); err != nil {
			m.log.Debug("rsync for the other node has ended", "error", err, "said", strings.Join(strings.Fields(said.String()), " "))
		}
		_ = os.Remove(config) // it is in a directory that is gone with the machine's next start
	}()
	return here, nil
}

// daemonConfig is rsyncd.conf(5): nothing is deleted by the other node, and links stay as they are.
func (m *Mover) daemonConfig() []byte {
	account := ""
	if os.Geteuid() == 0 {
		account = "uid = 0\ngid = 0\n" // or it would be nobody
	}
	return fmt.Appendf(nil, `log file = /dev/null
%suse chroot = no
numeric ids = yes
munge symlinks = no
[%s]
path = %s
read only = no
refuse options = delete remove-source-files inplace append
`, account, module, m.cfg.Root)
}

// Sync implements Side.
func (m *Mover) Sync(ctx context.Context, way Way, dirs []string, peer io.ReadWriteCloser) error {
	defer func() { _ = peer.Close() }()
	m.moving.Lock()
	defer m.moving.Unlock()
	if err := m.ensure(); err != nil {
		return err
	}
	socket := filepath.Join(m.cfg.RunDir, "s"+fresh())
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	pipe, err := m.pipe()
	if err != nil {
		return err
	}
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, peer) // rsync sees how its stream ends
			_ = c.Close()
		}()
		_, _ = io.Copy(peer, c)
		_ = peer.Close()
		_ = c.Close()
	}()
	args := []string{
		"--fsync", "--backup", "--backup-dir=" + m.freshKept() + "-" + string(way), "--rsh=" + pipe,
		"--exclude=/" + stagingDir, "--exclude=/" + marker, "--exclude=/" + marker + ".new", "--exclude=/lost+found",
	}
	if len(dirs) > 0 {
		list := filepath.Join(m.cfg.RunDir, "list-"+fresh())
		if err := os.WriteFile(list, []byte(strings.Join(dirs, "\x00")+"\x00"), 0o600); err != nil {
			return err
		}
		defer func() { _ = os.Remove(list) }() // it is in a directory that is gone with the machine's next start
		args = append(args, "--checksum", "--from0", "--files-from="+list)
	}
	if way == PushRest {
		args = append(args, byNanosecond)
	} else {
		args = append(args, "--update")
	}
	from, to := m.cfg.Root+"/", "peer::"+module+"/"
	if way == Pull {
		from, to = to, from
	}
	err = m.rsync(ctx, []string{pipeSocket + "=" + socket}, append(args, from, to)...)
	m.grown()
	pruneEmpty(m.cfg.cold(keptDir))
	if err := errors.Join(mkdir(m.cfg.cold(keptDir), 0o755)); err != nil {
		return err
	}
	var failed *rsyncError
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.code {
	case exitVanished:
		return nil // the next run finds what is there then
	case exitPartial:
		return Problem("not everything in the cold roots is brought over: " + failed.said)
	}
	err = fmt.Errorf("synchronize the cold roots: %w", err)
	if slices.Contains(exitsBroken, failed.code) {
		return &UnreachedError{err}
	}
	return err
}

// pipe makes the name under which rsync finds Pipe, and returns it.
func (m *Mover) pipe() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	link := filepath.Join(m.cfg.RunDir, PipeName)
	if at, err := os.Readlink(link); err == nil && at == self {
		return link, nil
	}
	if err := ignoreMissing(os.Remove(link)); err != nil {
		return "", err
	}
	if strings.ContainsAny(link, " \t\n") {
		return "", fmt.Errorf("rsync cannot start %q: its path has blanks", link)
	}
	return link, os.Symlink(self, link)
}
