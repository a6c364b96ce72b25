//go:build linux

package packertest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// version is the version of the image that is built here, label what the image is then called: Linode takes no plus sign.
const (
	version = "0.1.0+packertest"
	label   = "atoll-node-0.1.0-packertest"
)

// TestPackerBuildsALinodeImage_WithPlugin100_WithoutCloudInitAndImageRegions builds images/linode and has two nodes join
// from the result.
//
// Version 1.0.0 of Packer's Linode plugin is the newest that can be had as a Go module. It knows neither cloud_init nor
// image_regions: these two lines of the template are left out here, and the test does over the API what they do.
func TestPackerBuildsALinodeImage_WithPlugin100_WithoutCloudInitAndImageRegions(t *testing.T) {
	tools := require(t)
	programs, err := rig.Build(t.Context(), filepath.Join(t.TempDir(), "bin"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t, tools.debian)
	var image *linodego.Image
	if !t.Run("build", func(t *testing.T) { image = c.build(t, tools, programs) }) {
		return
	}
	t.Run("regions", func(t *testing.T) { c.replicate(t, image) })
	file := c.file(t, image)
	t.Run("sealed", func(t *testing.T) { sealed(t, programs, file) })
	t.Run("joins", func(t *testing.T) { joins(t, tools, programs, file) })
}

// tools are what the test runs on.
type tools struct {
	engine  string // path of terraform or tofu
	packer  string
	plugins string // folder with the plugin
	debian  string // path of a root file system that stands for the vendor's own Debian
}

// require skips the test, and says so, where it cannot run.
func require(t *testing.T) tools {
	t.Helper()
	engine := os.Getenv("ATOLL_E2E")
	if engine == "" {
		t.Skip("THE PACKER TESTS DID NOT RUN: set ATOLL_E2E to terraform or tofu (internal/tools/suite image and image-faults do)")
	}
	if os.Getuid() != 0 {
		t.Skip("THE PACKER TESTS DID NOT RUN: they boot virtual machines and need root")
	}
	path, err := exec.LookPath(engine)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		t.Fatalf("ATOLL_E2E: %v", err)
	}
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return tools{
		engine: path, packer: tool(t, root, "need", "packer"), plugins: filepath.Join(root, ".build", "packer-plugins"),
		debian: filepath.Join(root, tool(t, root, "image", "base"), "root.img"),
	}
}

// build runs Packer as a user does and returns the image. Nothing else may be left in the account.
func (c *cloud) build(t *testing.T, tools tools, programs *rig.Programs) *linodego.Image {
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	template := c.template(t, programs.Source)
	for _, verb := range []string{"init", "validate", "build"} {
		packer := c.packer(ctx, t, tools, programs, verb, template)
		packer.Stdout, packer.Stderr = t.Output(), t.Output()
		from := time.Now()
		if err := packer.Run(); err != nil {
			t.Fatalf("packer %s: %v", verb, err)
		}
		t.Logf("packer %s took %.0f s", verb, time.Since(from).Seconds())
	}
	api := c.client()
	images, err := api.ListImages(ctx, linodego.NewListOptions(0, `{"is_public":false}`))
	if err != nil || len(images) != 1 || images[0].Label != label || images[0].Status != linodego.ImageStatusAvailable {
		t.Fatalf("the account has the images %+v, error %v", images, err)
	}
	t.Logf("%s has %d MB", images[0].ID, images[0].Size)
	c.wantNoLinode(ctx, t)
	if bom, err := os.ReadFile(filepath.Join(c.dir, "sbom.cdx.json")); err != nil || !bytes.Contains(bom, []byte("pkg:deb/debian/tinc@")) {
		t.Errorf("the bill of materials has %d bytes and no tinc, error %v", len(bom), err)
	}
	return &images[0]
}

// packer makes a command of Packer in the account.
func (c *cloud) packer(ctx context.Context, t *testing.T, tools tools, programs *rig.Programs, verb, template string) *exec.Cmd {
	t.Helper()
	args := []string{verb}
	if verb != "init" {
		args = append(args, "-var=atolld="+programs.Path("atolld"), "-var=version="+version, "-var=region=ap-south",
			"-var=sbom="+filepath.Join(c.dir, "sbom.cdx.json"))
	}
	packer := exec.CommandContext(ctx, tools.packer, append(args, template)...)
	packer.Dir = c.dir
	packer.Env = append(os.Environ(), "LINODE_URL="+c.url+"/v4", "LINODE_TOKEN="+token, "PACKER_PLUGIN_PATH="+tools.plugins,
		"TMPDIR="+c.dir, "CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1")
	// Packer is two processes and its plugins: what a terminal sends on Ctrl-C goes to all of them.
	packer.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	packer.Cancel = func() error { return syscall.Kill(-packer.Process.Pid, syscall.SIGINT) }
	packer.WaitDelay = 2 * time.Minute
	return packer
}

// wantNoLinode waits until no Linode and no machine of one is left.
func (c *cloud) wantNoLinode(ctx context.Context, t *testing.T) {
	t.Helper()
	await.NoError(t, "the Linode of the build is gone", time.Minute, func(context.Context) error {
		c.mu.Lock()
		left := len(c.machines)
		c.mu.Unlock()
		list, err := c.client().ListInstances(ctx, nil)
		if err == nil && len(list)+left != 0 {
			err = fmt.Errorf("there are %d instances and %d machines", len(list), left)
		}
		return err
	})
}

// TestInterruptedPackerBuildLeavesNothing_WithPlugin100 interrupts a build as Ctrl-C does, once it is inside its Linode.
func TestInterruptedPackerBuildLeavesNothing_WithPlugin100(t *testing.T) {
	tools := require(t)
	programs, err := rig.Build(t.Context(), filepath.Join(t.TempDir(), "bin"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t, tools.debian)
	ctx, interrupt := context.WithTimeout(t.Context(), 5*time.Minute)
	defer interrupt()
	packer := c.packer(ctx, t, tools, programs, "build", c.template(t, programs.Source))
	said, err := packer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := packer.Start(); err != nil {
		t.Fatal(err)
	}
	inside := false
	for lines := bufio.NewScanner(said); lines.Scan(); {
		t.Log(lines.Text())
		if strings.Contains(lines.Text(), "Connected to SSH") {
			inside = true
			interrupt()
		}
	}
	if err := packer.Wait(); err == nil || !inside {
		t.Fatalf("packer build ended with %v, connected: %v", err, inside)
	}
	c.wantNoLinode(t.Context(), t)
	images, err := c.client().ListImages(t.Context(), linodego.NewListOptions(0, `{"is_public":false}`))
	if err != nil || len(images) != 0 {
		t.Errorf("the account has the images %+v, error %v", images, err)
	}
}

// missing are what the plugin does not know, on lines of their own.
var missing = regexp.MustCompile(`(?m)^\s*(cloud_init|image_regions)\s*=.*\n`)

// template copies images/ and takes out what this plugin lacks. SSH is at another port than on a real Linode.
func (c *cloud) template(t *testing.T, source string) string {
	t.Helper()
	copied := filepath.Join(c.dir, "template")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(source, "images"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(copied, "linode", "node.pkr.hcl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(missing.FindAll(text, -1)); got != 2 {
		t.Fatalf("%s has %d lines with cloud_init and image_regions, want both", path, got)
	}
	text = missing.ReplaceAll(text, nil)
	const login = "  ssh_username = \"root\"\n"
	if bytes.Count(text, []byte(login)) != 1 {
		t.Fatalf("%s does not log in as root once", path)
	}
	text = bytes.Replace(text, []byte(login), fmt.Appendf(nil, "%s  ssh_port = %d\n  ssh_timeout = \"10m\"\n", login, c.ssh), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

func (c *cloud) client() *linodego.Client {
	api := linodego.NewClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	api.SetToken(token)
	api.SetBaseURL(c.url)
	api.UseCache(false)
	api.SetPollDelay(200 * time.Millisecond)
	return &api
}

// replicate does what image_regions does.
func (c *cloud) replicate(t *testing.T, image *linodego.Image) {
	api := c.client()
	if _, err := api.ReplicateImage(t.Context(), image.ID, linodego.ImageReplicateOptions{Regions: []string{"ap-south", "jp-osa"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, region := range []string{"ap-south", "jp-osa"} {
		if _, err := api.WaitForImageRegionStatus(ctx, image.ID, region, linodego.ImageRegionStatusAvailable); err != nil {
			t.Error(err)
		}
	}
}

// file is the path of an image's content.
func (c *cloud) file(t *testing.T, image *linodego.Image) string {
	t.Helper()
	content, ok := c.api.Content(image.ID)
	if !ok {
		t.Fatalf("%s has no content", image.ID)
	}
	return filepath.Join(c.api.ImageDir, content.Name)
}

// sealed runs the description's own check over the finished image: a machine that is switched off writes things, after the
// build has checked itself.
func sealed(t *testing.T, programs *rig.Programs, file string) {
	root := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), "mount", "-o", "loop,ro,noload", file, root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		//nolint:usetesting // the test's own context has ended
		if err := command(context.Background(), "umount", root); err != nil {
			t.Error(err)
		}
	})
	if err := command(t.Context(), "sh", filepath.Join(programs.Source, "images", "node", "check.sh"), root); err != nil {
		t.Error(err)
	}
	for _, there := range []string{"usr/lib/atoll/image.json", "usr/local/bin/atolld", "boot/grub/grub.cfg"} {
		if _, err := os.Stat(filepath.Join(root, there)); err != nil {
			t.Error(err)
		}
	}
}

// tool asks one of the project's own tools for the place of something that it makes when it is not there.
func tool(t *testing.T, root, name, what string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "internal", "tools", name), what)
	cmd.Dir, cmd.Stderr = root, t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("internal/tools/%s %s: %v", name, what, err)
	}
	return strings.TrimSpace(string(out))
}
