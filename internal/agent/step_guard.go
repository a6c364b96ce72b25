package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// guardRules close the metadata service to everybody but root: user-data cannot be removed from a machine, and whoever
// reads it before the ticket expires could join in this node's name. What is forwarded comes from containers and virtual
// machines on a bridge; who is root in there means nothing out here. The text is as nft prints it.
const guardRules = `table inet atoll_guard {
	chain output {
		type filter hook output priority filter; policy accept;
		ip daddr 169.254.169.254 meta skuid != 0 reject with icmpx admin-prohibited
		ip6 daddr fd00:a9fe:a9fe::1 meta skuid != 0 reject with icmpx admin-prohibited
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip daddr 169.254.169.254 reject with icmpx admin-prohibited
		ip6 daddr fd00:a9fe:a9fe::1 reject with icmpx admin-prohibited
	}
}
`

// guard runs the steps that hold outside of a session: the metadata guard and the firewall. A ticket lies open from the
// first boot on, so the guard must stand before anybody looks for it, and while the node waits for one. That a step fails is
// told and no reason not to join: a node that is no member cannot be helped from afar. A member's ports stay open while its
// agent starts again.
func (a *Agent) guard(ctx context.Context, member bool) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	problems := map[string]string{}
	steps := []step{guardStep{system: a.cfg.System, machine: a.cfg.Machine}}
	if !member {
		steps = append(steps, firewallStep{system: a.cfg.System, ports: func(input) openPorts { return waitingPorts(a.cfg.Ports) }})
	}
	for _, step := range steps {
		if err := step.reconcile(ctx, input{}); err != nil {
			problems[step.name()] = err.Error()
		}
	}
	a.mu.Lock()
	before := a.guardProblems
	a.guardProblems = problems
	a.mu.Unlock()
	for name, text := range problems {
		if before[name] != text {
			a.log.Error("step failed", "step", name, "error", text)
		}
	}
}

// guardStep keeps the metadata service closed where the machine has one.
type guardStep struct {
	system  host.System
	machine platform.Machine
}

func (guardStep) name() string { return "metadata guard" }

func (g guardStep) reconcile(ctx context.Context, _ input) error {
	p, err := g.machine.Platform()
	if err != nil {
		return err
	}
	if p == platform.None {
		return removeGuard(ctx, g.system)
	}
	have, there, err := listGuard(ctx, g.system)
	if err != nil {
		return err
	}
	if there && sameRules(have, guardRules) {
		return nil
	}
	// One transaction: there is no moment without the rules. The first line makes the second one possible where there is
	// no table yet.
	const replace = "table inet atoll_guard\ndelete table inet atoll_guard\n" + guardRules
	if _, err := g.system.Run(ctx, host.Command{Name: "nft", Args: []string{"-f", "-"}, Stdin: []byte(replace)}); err != nil {
		return fmt.Errorf("close the metadata service to users other than root: %w", err)
	}
	return nil
}

// removeGuard removes the rules if they are there.
func removeGuard(ctx context.Context, system host.System) error {
	_, there, err := listGuard(ctx, system)
	if err != nil || !there {
		// Without nft there cannot be rules that the agent made.
		return nil //nolint:nilerr // see above
	}
	if _, err := system.Run(ctx, host.Command{Name: "nft", Args: []string{"delete", "table", "inet", "atoll_guard"}}); err != nil {
		return fmt.Errorf("open the metadata service again: %w", err)
	}
	return nil
}

func listGuard(ctx context.Context, system host.System) (rules string, there bool, err error) {
	out, err := system.Run(ctx, host.Command{Name: "nft", Args: []string{"list", "table", "inet", "atoll_guard"}, ReadOnly: true})
	var failed *host.CommandError
	switch {
	case err == nil:
		return string(out.Stdout), true, nil
	case errors.As(err, &failed) && failed.ExitCode > 0:
		return "", false, nil
	default:
		return "", false, fmt.Errorf("look at the firewall rules of the metadata guard: %w", err)
	}
}

func sameRules(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}
