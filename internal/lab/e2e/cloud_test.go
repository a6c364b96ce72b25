//go:build linux

package e2e_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// cloudFaults replaces a Linode while the cloud's API has each of its bad moods once: a limit with Retry-After, an inner
// error, an answer that is lost after the work was done, a conflict, a connection that hangs. None of them may cost more
// than time, and none may leave a second instance.
func cloudFaults(t *testing.T, s *site) {
	const node = "sg1"
	const instances = "/linode/instances"
	for _, fault := range []linode.Fault{
		{Method: http.MethodDelete, PathPrefix: instances, Status: http.StatusInternalServerError},
		{Method: http.MethodPost, Path: instances, Status: http.StatusTooManyRequests, RetryAfter: 2 * time.Second},
		{Method: http.MethodPost, Path: instances, LoseAnswer: true},
		{Method: http.MethodGet, PathPrefix: instances, Status: http.StatusInternalServerError},
		{Method: http.MethodGet, PathPrefix: instances, Skip: 1, Hang: true},
	} {
		defer s.Cloud().Inject(fault)()
	}
	s.apply(t, "-replace="+s.address(t, node))
	s.wantHealthy(t, 30*time.Second, everyNode...)
	if list := s.instances(t); len(list) != 1 {
		t.Errorf("the cloud has the instances %v, want one", list)
	}
	s.wantNoChange(t)
}

// refusedToken works with a token that the cloud does not know.
func refusedToken(t *testing.T, s *site) {
	r, err := s.Work.RunWith(t.Context(), []string{"LINODE_TOKEN=0123456789abcdef0123456789abcdef"}, "plan")
	if err == nil {
		t.Fatalf("the plan succeeded with a wrong token:\n%s", r.Output)
	}
	wantMessage(t, r.Output, "401", "token")
	s.wantNoChange(t)
}

// twoApplies has two operators change the cluster at the same time: in one folder, where the engine's own lock keeps the
// second one out, and in two folders that know nothing of each other, where both succeed and the later one's word holds.
func twoApplies(t *testing.T, s *site) {
	elsewhere := s.clone(t)
	replace := "-replace=" + s.address(t, "hk2")
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, work := range []*rig.Workspace{s.Work, elsewhere} {
		both.Go(func() { _, errs[i] = work.Run(t.Context(), "apply", "-auto-approve", "-refresh=false") })
	}
	both.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("operator %d: %v", i+1, err)
		}
	}
	s.wantHealthy(t, 30*time.Second, everyNode...)

	both.Go(func() { _, errs[0] = s.Work.Run(t.Context(), "apply", "-auto-approve", replace) })
	lock := s.Work.Path(".terraform.tfstate.lock.info")
	s.eventually(t, "the first operator has the lock", 20*time.Second, func(context.Context) error {
		_, err := os.Stat(lock)
		return err
	})
	_, errs[1] = s.Work.Run(t.Context(), "apply", "-auto-approve")
	both.Wait()
	if errs[0] != nil {
		t.Errorf("the first operator: %v", errs[0])
	}
	if errs[1] == nil || !strings.Contains(errs[1].Error(), "state lock") {
		t.Errorf("the second operator got %v, want that the state is locked", errs[1])
	}
	s.wantHealthy(t, 30*time.Second, everyNode...)
	s.wantNoChange(t)
}

// clone copies the operator's folder, as a second operator with the same key and state has it.
func (s *site) clone(t *testing.T) *rig.Workspace {
	t.Helper()
	w, err := s.NewWorkspace(t.Context(), s.Work.Engine, filepath.Join(t.TempDir(), "elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(s.Work.Path("terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write("terraform.tfstate", string(state)); err != nil {
		t.Fatal(err)
	}
	return w
}
