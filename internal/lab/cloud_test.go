//go:build linux

package lab_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// cloudClient returns a client of the lab's Linode API, as the operator has it, and what carries its requests.
func cloudClient(l *lab.Lab) (*linodego.Client, *http.Client) {
	web := &http.Client{Transport: &http.Transport{DialContext: l.Network().OperatorNamespace().Dial}}
	client := linodego.NewClient(web)
	client.SetBaseURL(lab.LinodeURL)
	client.UseCache(false)
	for _, v := range l.Environment() {
		if token, ok := strings.CutPrefix(v, "LINODE_TOKEN="); ok {
			client.SetToken(token)
		}
	}
	return &client, web
}

// TestUploadedImage uploads an image from the operator's workstation; it is kept with the lab's data and goes with it.
func TestUploadedImage(t *testing.T) {
	l := start(t, lab.Options{Name: "upload", Machines: []lab.Machine{}})
	client, web := cloudClient(l)
	image, to, err := client.CreateImageUpload(t.Context(), linodego.ImageCreateUploadOptions{Region: "ap-south", Label: "node"})
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(make([]byte, 3<<20))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to, &packed)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	response, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %s, error %v", response.Status, err)
	}
	await.True(t, "the image is available", patience, func() bool {
		got, err := client.GetImage(t.Context(), image.ID)
		return err == nil && got.Status == linodego.ImageStatusAvailable && got.Size == 3
	})
	uploads := filepath.Join(lab.DefaultDataDir(), "lab-"+l.Name(), "uploads")
	if files, err := os.ReadDir(uploads); err != nil || len(files) != 1 {
		t.Errorf("the lab's data has the uploads %v, error %v", files, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(uploads); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the lab: %v", err)
	}
}

func TestLinodeInstance(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "atolld")
	if err := os.WriteFile(agent, []byte("#!/bin/sh\nexec sleep infinity\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	l := start(t, lab.Options{Name: "linode", Machines: []lab.Machine{}, Atolld: agent})
	client, _ := cloudClient(l)
	made, err := client.CreateInstance(t.Context(), linodego.InstanceCreateOptions{
		Region: "ap-south", Type: "g6-nanode-1", Label: "web-sg1", Image: "private/1",
		AuthorizedKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbgQcjLYzDSz3SYOpTaGFqIuiBYnPqEmqcjoWVtWHPC x"},
		Metadata:       &linodego.InstanceMetadataOptions{UserData: "c2VjcmV0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	await.True(t, "the instance runs", patience, func() bool {
		i, err := client.GetInstance(t.Context(), made.ID)
		return err == nil && i.Status == linodego.InstanceRunning
	})
	if err := l.WaitSSH(t.Context(), "web-sg1"); err != nil {
		t.Fatal(err)
	}
	n, err := l.Node("web-sg1")
	if err != nil || n.IPv4 != made.IPv4[0].String() || n.Kind != lab.KindLinode || n.ID != made.ID {
		t.Errorf("the API says %v, the lab %+v, %v", made.IPv4, n, err)
	}
	script := `token=$(curl -sSf -X PUT -H 'Metadata-Token-Expiry-Seconds: 300' http://169.254.169.254/v1/token)
curl -sSf -H "Metadata-Token: $token" http://169.254.169.254/v1/user-data`
	if got := exec(t, l, "web-sg1", "sh", "-c", script); got != "c2VjcmV0" {
		t.Errorf("metadata gives the user data %q", got)
	}
	if got := exec(t, l, "web-sg1", "cat", "/etc/atoll/platform"); got != "linode" {
		t.Errorf("the platform is %q", got)
	}
	if got := exec(t, l, "web-sg1", "systemctl", "is-enabled", "atolld.service"); got != "enabled" {
		t.Errorf("the image's agent is %s", got)
	}
	exec(t, l, "web-sg1", "grep", "-q", "ssh-ed25519 AAAA", "/root/.ssh/authorized_keys")
	status := func() linodego.InstanceStatus {
		i, err := client.GetInstance(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		return i.Status
	}
	_, _ = l.Exec(t.Context(), "web-sg1", "systemctl", "poweroff")
	await.True(t, "the API knows that the instance is off", patience, func() bool { return status() == linodego.InstanceOffline })
	if err := client.BootInstance(t.Context(), made.ID, 0); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the API has booted the instance", patience, func() bool { return status() == linodego.InstanceRunning })
	if err := l.WaitSSH(t.Context(), "web-sg1"); err != nil {
		t.Fatal(err)
	}
	if err := client.RebootInstance(t.Context(), made.ID, 0); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the API has rebooted the instance", patience, func() bool { return status() == linodego.InstanceRunning })
	if err := client.DeleteInstance(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the machine is gone", patience, func() bool { return len(l.Nodes()) == 0 })
}
