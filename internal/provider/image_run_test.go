package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// imageWorkspace is a folder in which the real program keeps an image.
func (w *imageWorld) imageWorkspace(t *testing.T, b builtImage) *rig.Workspace {
	t.Helper()
	work := w.workspace(t)
	text := "terraform {\n  required_providers {\n    atoll = { source = \"atollhq/atoll\" }\n  }\n}\n" +
		b.config(b.manifest(), "") + "output \"id\" {\n  value = atoll_image.node.id\n}\n"
	if err := work.Write("main.tf", text); err != nil {
		t.Fatal(err)
	}
	if _, err := work.Run(t.Context(), "init"); err != nil {
		t.Fatal(err)
	}
	return work
}

func run(t *testing.T, work *rig.Workspace, args ...string) rig.Result {
	t.Helper()
	result, err := work.Run(t.Context(), args...)
	if err != nil {
		t.Error(err)
	}
	return result
}

// outputID returns the image's id by the state.
func outputID(t *testing.T, work *rig.Workspace) (id string) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, work, "output", "-json", "id").Stdout), &id); err != nil {
		t.Error(err)
	}
	return id
}

// TestTwoAppliesOfOneImage has two operators upload the same image at once, each with a state of his own. It is uploaded once;
// the second destroy removes it.
func TestTwoAppliesOfOneImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	w.cloud.Inject(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, BytesPerSecond: 100_000})
	works := []*rig.Workspace{w.imageWorkspace(t, b), w.imageWorkspace(t, b)}
	var wg sync.WaitGroup
	for _, work := range works {
		wg.Go(func() {
			if _, err := work.Run(t.Context(), "apply", "-auto-approve"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w.demandUploads(t, 1)
	if list := w.images(t); len(list) != 1 || outputID(t, works[0]) != list[0].ID || outputID(t, works[1]) != list[0].ID {
		t.Errorf("got images %+v, want one that both have", list)
	}
	w.whole(t)
	for _, work := range works {
		run(t, work, "plan", "-detailed-exitcode")
	}
	run(t, works[0], "destroy", "-auto-approve")
	if list := w.images(t); len(list) != 1 {
		t.Errorf("got images %+v, want the one that the other still needs", list)
	}
	run(t, works[1], "plan", "-detailed-exitcode")
	run(t, works[1], "destroy", "-auto-approve")
	w.noImages(t)
}

// TestInterruptedApplyOfAnImage presses Ctrl-C in the middle of an upload. Nothing is left at Linode or in state, and the next
// apply does all of it.
func TestInterruptedApplyOfAnImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b := newImage(t, "0.1.0")
	work := w.imageWorkspace(t, b)
	w.cloud.Inject(linode.Fault{Method: http.MethodPut, PathPrefix: linode.UploadPath, BytesPerSecond: 10_000})
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for w.uploads.Load() == 0 {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
		interrupt()
	}()
	if result, err := work.Run(ctx, "apply", "-auto-approve"); err == nil {
		t.Errorf("the apply was not interrupted:\n%s", result.Output)
	}
	w.noImages(t)
	if text := run(t, work, "show").Stdout; len(text) > 200 {
		t.Errorf("the state is not empty:\n%s", text)
	}
	run(t, work, "apply", "-auto-approve")
	w.demandUploads(t, 2)
	w.whole(t)
	run(t, work, "plan", "-detailed-exitcode")
	run(t, work, "destroy", "-auto-approve")
	w.noImages(t)
}

// TestThreeSitesOfAnImage applies the three-site stack with the image that was built: one machine boots with a seed, one Linode
// is made of the upload.
func TestThreeSitesOfAnImage(t *testing.T) {
	t.Parallel()
	w := newImageWorld(t)
	b, s := newImage(t, "0.1.0"), w.newSeedling(t)
	work := w.workspace(t)
	if err := work.CopyStack(filepath.Join("..", "..", "examples", "stacks", "three-site")); err != nil {
		t.Fatal(err)
	}
	vars := fmt.Sprintf(`
machines = {}
seeded   = { hk1 = { provider = "colo", site = "hong-kong", host = %q } }
linodes  = { sg1 = { region = "ap-south" }, os1 = { region = "jp-osa" } }
website  = null
database = null
image    = %q
`, s.Address, b.manifest())
	if err := work.Write("terraform.tfvars", vars); err != nil {
		t.Fatal(err)
	}
	run(t, work, "init")
	s.Start()
	s.plug(t, w.seed(t, "hk1"))
	run(t, work, "apply", "-auto-approve")
	if n := len(w.instances(t)); n != 2 {
		t.Errorf("there are %d instances, want 2", n)
	}
	w.whole(t)
	run(t, work, "plan", "-detailed-exitcode")
	run(t, work, "destroy", "-auto-approve")
	w.demandUploads(t, 1)
	w.noImages(t)
	if left := w.instances(t); len(left) != 0 {
		t.Errorf("instances are left: %v", left)
	}
	if err := s.awaitWaiting(t.Context()); err != nil {
		t.Error(err)
	}
}
