//go:build linux

package packertest_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// joins uploads the image to the account of a lab and has terraform apply make a cluster of two Linodes of it. Nothing but
// their user-data tells them what they are.
func joins(t *testing.T, tools tools, programs *rig.Programs, file string) {
	dir := t.TempDir()
	site, err := rig.NewSite(t.Context(), programs, rig.SiteOptions{
		Engine: tools.engine, Dir: dir,
		Lab: lab.Options{
			Name: fmt.Sprintf("packer-%d", os.Getpid()), Temporary: true, Boot: lab.BootVM, Machines: []lab.Machine{},
			Progress: func(doing string) { t.Logf("lab: %s", doing) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Errorf("remove the lab: %v", err)
		}
	})
	api, web := account(site)
	image := sendTo(t, api, web, file)
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	from := time.Now()
	_, err = site.Work.Run(ctx, "apply", "-auto-approve", "-var=machines={}",
		fmt.Sprintf(`-var=linodes={sg1={region="ap-south",image=%q},sg2={region="ap-south",image=%q}}`, image.ID, image.ID))
	if err != nil {
		showConsoles(t, site)
		t.Fatal(err)
	}
	t.Logf("two nodes joined and linked %.0f s after terraform apply began, without hardware help", time.Since(from).Seconds())
	await.NoError(t, "both nodes are healthy and reach each other", 2*time.Minute, func(context.Context) error {
		text, err := site.Atoll(t.Context(), "status")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, text)
		}
		return nil
	})
	first, second := run(t, site, "sg1", "cat", "/etc/machine-id"), run(t, site, "sg2", "cat", "/etc/machine-id")
	if first == second || len(first) != 32 {
		t.Errorf("machine-id %q and %q", first, second)
	}
	if got := run(t, site, "sg1", "findmnt", "-no", "SIZE,SOURCE", "/"); !strings.Contains(got, "/dev/sda") || strings.Contains(got, "M ") {
		t.Errorf("the root file system has not grown over the disk: %s", got)
	}
	capture(t, api)
}

// account returns a client of the lab's Linode account, on the operator's workstation, and what carries its requests.
func account(site *rig.Site) (*linodego.Client, *http.Client) {
	web := &http.Client{Transport: &http.Transport{DialContext: site.Network().OperatorNamespace().Dial}}
	api := linodego.NewClient(web)
	api.SetBaseURL(lab.LinodeURL)
	api.SetToken(site.Variable("LINODE_TOKEN"))
	api.UseCache(false)
	return &api, web
}

// capture has the lab's account make an image of one of its own machines.
func capture(t *testing.T, api *linodego.Client) {
	t.Helper()
	list, err := api.ListInstances(t.Context(), linodego.NewListOptions(0, `{"label":"sg2"}`))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d instances, error %v", len(list), err)
	}
	disks, err := api.ListInstanceDisks(t.Context(), list[0].ID, nil)
	if err != nil || len(disks) == 0 {
		t.Fatalf("%d disks, error %v", len(disks), err)
	}
	if err := api.ShutdownInstance(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := api.WaitForInstanceStatus(t.Context(), list[0].ID, linodego.InstanceOffline, 180); err != nil {
		t.Fatal(err)
	}
	image, err := api.CreateImage(t.Context(), linodego.ImageCreateOptions{DiskID: disks[0].ID, Label: "captured"})
	if err != nil {
		t.Fatal(err)
	}
	image, err = api.WaitForImageStatus(t.Context(), image.ID, linodego.ImageStatusAvailable, 180)
	if err != nil || image.Size < 500 || image.Size > 3000 {
		t.Errorf("the image of a node's disk: %+v, error %v", image, err)
	}
}

// sendTo uploads an image as it is by the API of the lab, from the operator's workstation.
func sendTo(t *testing.T, api *linodego.Client, web *http.Client, file string) *linodego.Image {
	t.Helper()
	packed := filepath.Join(t.TempDir(), "image.gz")
	if err := pack(file, packed); err != nil {
		t.Fatal(err)
	}
	image, to, err := api.CreateImageUpload(t.Context(), linodego.ImageCreateUploadOptions{Region: "ap-south", Label: "atoll-node", CloudInit: true})
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.Open(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close() //nolint:errcheck // only read
	info, err := body.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = info.Size()
	r.Header.Set("Content-Type", "application/octet-stream")
	response, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("upload: status %d, error %v: %s", response.StatusCode, err, answer)
	}
	if image, err = api.WaitForImageStatus(t.Context(), image.ID, linodego.ImageStatusAvailable, 120); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d MB compressed, %d MB", image.ID, info.Size()>>20, image.Size)
	return image
}

func pack(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, in)
	return errors.Join(err, z.Close())
}

// run runs a command inside a machine and returns what it says.
func run(t *testing.T, site *rig.Site, node string, argv ...string) string {
	t.Helper()
	out, err := site.Exec(t.Context(), node, argv...)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(out))
}

// showConsoles logs what the machines said last.
func showConsoles(t *testing.T, site *rig.Site) {
	t.Helper()
	for _, n := range site.Nodes() {
		text, err := os.ReadFile(n.Console)
		lines := strings.Split(string(text), "\n")
		t.Logf("console of %s, error %v:\n%s", n.Name, err, strings.Join(lines[max(0, len(lines)-80):], "\n"))
	}
}
