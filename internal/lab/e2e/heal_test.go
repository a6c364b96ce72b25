//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

func cutPathIsDetoured(t *testing.T, s *site) {
	before := time.Now().Add(-time.Second)
	if err := s.Cut(t.Context(), "hk1", "sg1", false); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "hk1 reaches sg1 by way of hk2", 30*time.Second, func(ctx context.Context) error { return s.PingAll(ctx, "hk1", "sg1") })
	s.eventually(t, "atoll status names the link that is not direct", 30*time.Second, func(ctx context.Context) error {
		status, healthy, err := s.Status(ctx)
		if err != nil {
			return err
		}
		link, ok := status.Links["hk1.sg1"]
		switch {
		case !ok:
			return fmt.Errorf("there is no link hk1.sg1 in %v", status.Links)
		case healthy:
			return fmt.Errorf("the exit code says that the cluster is healthy")
		}
		for _, d := range []api.Direction{link.There, link.Back} {
			if d.State != api.UpIndirect || d.Via != "hk2" || d.Since.Before(before) {
				return fmt.Errorf("the link is %+v, want it to go by hk2 since the cut", link)
			}
		}
		return nil
	})
	detourIsDrawn(t, s, "hk1", "sg1", "hk2")
	if err := s.Heal(t.Context(), "hk1", "sg1"); err != nil {
		t.Fatal(err)
	}
	s.wantHealthy(t, time.Minute, everyNode...)
}

// cutMesh cuts the mesh, and only the mesh, between all machines until the returned function is called.
func (s *site) cutMesh(t *testing.T) (restore func()) {
	t.Helper()
	nft := s.Network().Router().Command(t.Context(), "nft", "-f", "-")
	nft.Stdin = strings.NewReader("table inet e2e {\n chain mesh {\n  type filter hook prerouting priority raw\n  th dport 655 drop\n  th sport 655 drop\n }\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("cut the mesh: %v\n%s", err, out)
	}
	return func() {
		nft := s.Network().Router().Command(t.Context(), "nft", "delete", "table", "inet", "e2e")
		if out, err := nft.CombinedOutput(); err != nil {
			t.Fatalf("mend the mesh: %v\n%s", err, out)
		}
	}
}

// agentsHealAlone stops every agent and every tinc, keeps the mesh cut, and starts the agents alone: what one of them is
// told reaches all by their public addresses, and with the cut gone the mesh comes back. Terraform is not involved.
func agentsHealAlone(t *testing.T, s *site) {
	record, object := s.renew(t, "hk1", spec.Ref{Kind: spec.KindNode, Name: "hk1"})
	restore := s.cutMesh(t)
	for _, node := range everyNode {
		s.exec(t, node, "systemctl", "kill", "--signal=KILL", "atolld.service")
		s.exec(t, node, "systemctl", "stop", "atolld.service")
		s.exec(t, node, "systemctl", "stop", meshUnit)
	}
	for _, node := range everyNode {
		s.exec(t, node, "systemctl", "start", "atolld.service")
	}
	s.eventually(t, "an agent accepts an object again", 20*time.Second, func(ctx context.Context) error {
		return push(ctx, s.agent(t, "hk1"), record)
	})
	s.eventually(t, "the object is everywhere, by the public path", 30*time.Second, func(ctx context.Context) error {
		return s.knowEverywhere(ctx, t, object)
	})
	if err := s.Ping(t.Context(), "hk1", "sg1"); err == nil {
		t.Error("the mesh works, the scenario has not cut it")
	}
	restore()
	s.wantHealthy(t, time.Minute, everyNode...)
	s.wantNoChange(t, "-refresh=false")
}

// meshUnit is the service that runs the mesh on a node.
const meshUnit = "atoll-tinc.service"

// push gives a node records, all of which it must take.
func push(ctx context.Context, agent *api.Client, records ...store.Record) error {
	outcomes, err := agent.Push(ctx, records)
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.Result != store.Accepted && o.Result != store.Unchanged {
			return fmt.Errorf("%s: %s (%s) %s", o.Key, o.Result, o.Reason, o.Message)
		}
	}
	return nil
}

// knowEverywhere demands that each node has the object in this generation.
func (s *site) knowEverywhere(ctx context.Context, t *testing.T, want spec.Object) error {
	t.Helper()
	var errs []error
	for _, node := range everyNode {
		got, err := s.object(ctx, t, node, want.Ref())
		if err == nil && got.Generation != want.Generation {
			err = fmt.Errorf("%s has generation %d of %s, want %d", node, got.Generation, want.Ref(), want.Generation)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// kills is how often the agent dies while it writes.
const kills = 12

// killedWhileWriting pushes objects without pause to one agent while it is killed again and again, and demands that what
// it acknowledged is there in the end and nothing is damaged.
func killedWhileWriting(t *testing.T, s *site) {
	const victim = "hk2"
	ref := spec.Ref{Kind: spec.KindNode, Name: "hk1"}
	record, object := s.renew(t, victim, ref)
	agent := s.agent(t, victim)
	acknowledged, pushes := object, 0
	killed := make(chan error, 1)
	go func() {
		for range kills {
			if _, err := s.Exec(t.Context(), victim, "sh", "-c", killWhenUp); err != nil {
				killed <- err
				return
			}
		}
		killed <- nil
	}()
	for done := false; !done; {
		select {
		case err := <-killed:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		if err := push(t.Context(), agent, record); err != nil {
			continue // the agent is dead
		}
		acknowledged = object
		pushes++
		record, object = s.resign(t, object)
	}
	t.Logf("%d objects were acknowledged in %d lives of the agent", pushes, kills+1)
	if pushes < kills {
		t.Errorf("only %d objects were acknowledged: the agent was never killed while it wrote", pushes)
	}
	s.eventually(t, "what was acknowledged is there", 20*time.Second, func(ctx context.Context) error {
		got, err := s.object(ctx, t, victim, ref)
		if err == nil && got.Generation < acknowledged.Generation {
			return fmt.Errorf("got generation %d, but %d was acknowledged", got.Generation, acknowledged.Generation)
		}
		return err
	})
	if left := strings.TrimSpace(s.exec(t, victim, "find", "/var/lib/atoll", "-path", "*quarantine*", "-type", "f")); left != "" {
		t.Errorf("the store is damaged: %s", left)
	}
	s.wantHealthy(t, time.Minute, everyNode...)
}

// killWhenUp waits until the agent's API listens, which is when it writes, and a moment that differs each time, and kills it.
const killWhenUp = `for i in $(seq 200); do
	if curl -s -o /dev/null -m 1 http://127.0.0.1:7480/health; then break; fi
	sleep 0.05
done
sleep 0.$(shuf -i 10-70 -n 1)
systemctl kill --signal=KILL atolld.service
for i in $(seq 100); do systemctl is-active -q atolld.service || break; sleep 0.01; done`
