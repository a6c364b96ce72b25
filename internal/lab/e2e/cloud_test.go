//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// cloudFaults replaces a Linode while the cloud's API has each of its bad moods once: a limit with Retry-After, an inner
// error, a conflict, a job in the way, an answer that is lost after the work was done, a connection that hangs. None of them
// may cost more than time, and none may leave a second instance.
func cloudFaults(t *testing.T, s *site) {
	const node = "sg1"
	const instances = "/linode/instances"
	for _, fault := range []linode.Fault{
		{Method: http.MethodDelete, PathPrefix: instances, Status: http.StatusInternalServerError},
		{Method: http.MethodDelete, PathPrefix: instances, Status: http.StatusConflict},
		{Method: http.MethodDelete, PathPrefix: instances, Status: http.StatusBadRequest, Reason: "Linode busy."},
		{Method: http.MethodPost, Path: instances, Status: http.StatusConflict},
		{Method: http.MethodPost, Path: instances, Status: http.StatusTooManyRequests, RetryAfter: 2 * time.Second},
		{Method: http.MethodPost, Path: instances, LoseAnswer: true},
		{Method: http.MethodGet, PathPrefix: instances, Status: http.StatusInternalServerError},
		{Method: http.MethodGet, PathPrefix: instances, Skip: 1, Hang: true},
	} {
		defer s.Cloud().Inject(fault)()
	}
	s.apply(t, "-replace="+s.address(t, node))
	if pending := s.Cloud().PendingFaults(); pending != 0 {
		t.Errorf("%d faults have not happened", pending)
	}
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

// twoApplies has two operators change one node at the same time: in one folder, where the engine's own lock keeps the
// second one out, and in two folders that know nothing of each other, where whoever is late is told so and nothing mixes.
func twoApplies(t *testing.T, s *site) {
	elsewhere := s.clone(t)
	replace := "-replace=" + s.address(t, "hk2")
	errs := make([]error, 2)
	sites := []string{"hong-kong-east", "hong-kong-west"}
	var both sync.WaitGroup
	for i, work := range []*rig.Workspace{s.Work, elsewhere} {
		moved := `-var=machines={hk1={provider="colo",site="hong-kong",host="198.51.100.10"},` +
			`hk2={provider="vps",site="` + sites[i] + `",host="198.51.100.74"}}`
		both.Go(func() { _, errs[i] = work.Run(t.Context(), "apply", "-auto-approve", "-refresh=false", moved) })
	}
	both.Wait()
	var won []string
	for i, err := range errs {
		switch {
		case err == nil:
			won = append(won, sites[i])
		case !strings.Contains(err.Error(), "another run"):
			t.Errorf("operator %d: %v, want success or that another run was faster", i+1, err)
		}
	}
	if len(won) == 0 {
		t.Fatal("neither operator got through")
	}
	for _, holder := range everyNode {
		s.eventually(t, holder+" holds what one of the operators wanted", 20*time.Second, func(ctx context.Context) error {
			o, err := s.object(ctx, t, holder, spec.Ref{Kind: spec.KindNode, Name: "hk2"})
			if err != nil {
				return err
			}
			body, err := o.Decode()
			if err != nil {
				return err
			}
			if n, ok := body.(spec.Node); !ok || !slices.Contains(won, n.Site) {
				return fmt.Errorf("hk2 is described as %s, those who got through wanted %v", o.Body, won)
			}
			return nil
		})
	}
	s.apply(t)
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
