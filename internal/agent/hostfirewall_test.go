package agent_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// fakeKernel holds the table of a packet filter as a kernel does, and goes back by itself; it filters nothing.
type fakeKernel struct {
	mu    sync.Mutex
	text  string
	until time.Time
}

var trialTimeout = regexp.MustCompile(`ipv4 timeout (\d+)s`)

func (k *fakeKernel) nft(c host.Command) (host.Output, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, text, loads := strings.Cut(string(c.Stdin), "delete table inet atoll\n"); loads {
		k.text, k.until = text, time.Time{}
		if m := trialTimeout.FindStringSubmatch(text); m != nil {
			seconds, err := strconv.Atoi(m[1])
			if err != nil {
				return host.Output{}, err
			}
			k.until = time.Now().Add(time.Duration(seconds) * time.Second)
		}
		return host.Output{}, nil
	}
	if k.text == "" || !slices.Contains(c.Args, "atoll") {
		return host.Output{}, hosttest.Fail(c, 1, "no such table")
	}
	switch {
	case c.Args[0] == "delete":
		k.text = ""
	case slices.Contains(c.Args, "set") && time.Now().Before(k.until):
		return host.Output{Stdout: []byte(`{"nftables": [{"set": {"elem": ["ipv4"]}}]}`)}, nil
	case slices.Contains(c.Args, "set"), slices.Contains(c.Args, "counters"):
		return host.Output{Stdout: []byte(`{"nftables": []}`)}, nil
	}
	return host.Output{Stdout: []byte(k.text)}, nil
}

func (k *fakeKernel) rules() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text
}

// filteredNode returns the machine's node object with a packet filter.
func (m *machine) filteredNode(f *spec.HostFirewall) store.Record {
	return m.w.sign(m.name, spec.Node{
		Provider: "lab", Site: "site", MeshAddress: m.meshAddress(), Addresses: []string{m.public()}, Machine: spec.Machine{Variant: spec.MachineManual}, HostFirewall: f,
	})
}

// TestFilterIsConfirmedByWhoComesThrough has a filter that any node may confirm, and one that only the operator may.
func TestFilterIsConfirmedByWhoComesThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kernel := &fakeKernel{}
	one, other := w.machine(1, "hk1"), w.machine(2, "hk2")
	one.host.Handle("nft", kernel.nft)
	everybody := &spec.HostFirewall{Enforce: true, ConfirmSeconds: 600}
	one.provision(one.payload(one.ticket(ticketFor{}), one.filteredNode(everybody)))
	other.provision(other.payload(other.ticket(ticketFor{seeds: []string{one.endpoint()}}), other.node("")))
	one.start()
	other.start()
	// Only the other node is asked: a question to the first would be the operator's call.
	seen := func(status spec.ConditionStatus, reason string) spec.Condition {
		t.Helper()
		var c spec.Condition
		w.waitLong(2*patience, fmt.Sprintf("the filter of hk1 is %s (%s)", status, reason), func() error {
			s, err := other.status()
			if err != nil {
				return err
			}
			c, _ = spec.Status{Conditions: s.Nodes["hk1"].Conditions}.Condition(spec.ConditionFirewallReady)
			if c.Status != status || c.Reason != reason {
				return fmt.Errorf("it is %+v", c)
			}
			return nil
		})
		return c
	}
	seen(spec.ConditionTrue, "Enforced")

	operators := &spec.HostFirewall{Enforce: true, ConfirmSeconds: 15, Operators: []string{"203.0.113.0/24"}}
	other.push(one.filteredNode(operators))
	if c := seen(spec.ConditionFalse, "RolledBack"); !strings.Contains(c.Message, "the operator did not come through within 15s") || !strings.Contains(c.Message, "the one before holds") {
		t.Errorf("it says %q", c.Message)
	}
	if strings.Contains(kernel.rules(), "203.0.113.0/24") {
		t.Errorf("these rules hold:\n%s", kernel.rules())
	}
	one.restart()
	seen(spec.ConditionFalse, "RolledBack")

	operators.ConfirmSeconds, operators.Operators = 600, []string{"203.0.113.0/24", "127.0.0.0/8"}
	other.push(one.filteredNode(operators))
	seen(spec.ConditionUnknown, "Trial")
	one.waitCondition(spec.ConditionFirewallReady, spec.ConditionTrue, "Enforced")
	if rules := kernel.rules(); !strings.Contains(rules, "ip saddr { 127.0.0.0/8, 203.0.113.0/24 } tcp dport 22 accept") || strings.Contains(rules, "set trial") {
		t.Errorf("these rules hold:\n%s", rules)
	}

	// Without the argument, and without the node, nothing is left.
	other.push(one.filteredNode(nil))
	w.wait("the filter is gone", func() error {
		if rules := kernel.rules(); rules != "" {
			return fmt.Errorf("these rules are there:\n%s", rules)
		}
		return nil
	})
	other.push(one.filteredNode(everybody))
	seen(spec.ConditionTrue, "Enforced")
	other.push(w.tombstone("hk1"))
	w.wait("the filter is gone with its node", func() error {
		if rules := kernel.rules(); rules != "" {
			return fmt.Errorf("these rules are there:\n%s", rules)
		}
		return nil
	})
	w.wait("nothing of it is left", func() error {
		if text := one.host.Text(); strings.Contains(text, "firewall") {
			return fmt.Errorf("this is:\n%s", text)
		}
		return nil
	})
}
