package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// upgrade is an upgrade as this run of the program sees it.
type upgrade struct {
	*upgradeOptions
	env     Environment
	key     *trust.SigningKey
	targets []api.Target
	clients map[string]*api.Client
	out     *waitProgress

	// report and answers are what the nodes said last.
	report  report
	answers []answer
	// state is what stands on the nodes.
	state  spec.Upgrade
	result upgraded
}

// upgraded is how an upgrade ended.
type upgraded struct {
	Cluster string `json:"cluster"`
	ID      string `json:"id,omitempty"`
	Node    string `json:"node,omitempty"`
	// Outcome is "done", "restored", "unchanged" or "stopped"; Step is where it has stopped.
	Outcome string           `json:"outcome"`
	Step    spec.UpgradeStep `json:"step,omitempty"`
	TookMS  int64            `json:"took_ms"`
	// Snapshots are those that were taken, Restored what was put back, by pair.
	Snapshots []takenSnapshot         `json:"snapshots,omitempty"`
	Restored  map[string]restoredPair `json:"restored,omitempty"`
	// Equal is how the trees were compared last.
	Equal    *waited  `json:"equal,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// What an upgrade ends with.
const (
	outcomeDone      = "done"
	outcomeRestored  = "restored"
	outcomeUnchanged = "unchanged"
	outcomeStopped   = "stopped"
)

// open returns an upgrade that knows whom to ask. Close it.
func (o *upgradeOptions) open(env Environment) (*upgrade, error) {
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return nil, err
	}
	targets, err := o.nodes.targets(env)
	if err != nil {
		return nil, err
	}
	return &upgrade{upgradeOptions: o, env: env, key: key, targets: targets, clients: map[string]*api.Client{}, out: newWaitProgress(env, false)}, nil
}

func (u *upgrade) close() {
	for _, c := range u.clients {
		c.Close()
	}
}

// with runs one of the commands and prints how it ended.
func (o *upgradeOptions) with(ctx context.Context, env Environment, do func(context.Context, *upgrade) error) error {
	if o.timeout < 0 {
		return errors.New("--timeout is not 0 or above")
	}
	u, err := o.open(env)
	if err != nil {
		return err
	}
	defer u.close()
	began := time.Now()
	u.result.Outcome = outcomeUnchanged
	err = do(ctx, u)
	u.result.Cluster, u.result.ID, u.result.Node, u.result.TookMS = u.report.Cluster, u.state.ID, u.state.Node, time.Since(began).Milliseconds()
	if u.result.Outcome == outcomeStopped {
		u.result.Step = u.state.Step
	}
	if err != nil {
		u.result.Error = err.Error()
	}
	return errors.Join(u.ended(err), u.print())
}

// ended returns the error that a run ends with: one that says its exit code.
func (u *upgrade) ended(err error) error {
	switch {
	case err == nil:
		return nil
	case u.result.Outcome == outcomeRestored:
		u.out.say("%s", err)
		return errDegraded
	case u.result.Outcome == outcomeStopped:
		u.out.say("Error: %s", err)
		u.out.say("%s", u.howToGoOn())
		return errStopped
	}
	return err
}

// howToGoOn says where an upgrade stands and what can be done.
func (u *upgrade) howToGoOn() string {
	where := map[spec.UpgradeStep]string{
		spec.UpgradeSnapshot: "nothing was changed yet; go on with: atoll upgrade resume -- COMMAND",
		spec.UpgradeChange:   "the change was begun, and may be made in part; look, then go on with: atoll upgrade resume --changed, or resume --again -- COMMAND",
		spec.UpgradeVerify:   "the change is made; go on with: atoll upgrade resume",
		spec.UpgradeRestore:  "it is being taken back; go on",
	}[u.state.Step]
	return fmt.Sprintf("Upgrade %s on %s: all nodes are in maintenance; %s; take it back with: atoll upgrade abort", u.state.ID, u.state.Node, where)
}

// look asks all nodes how they are, and which upgrade is under way.
func (u *upgrade) look(ctx context.Context) error {
	u.answers = gather(ctx, u.key, u.targets, askWithin)
	r, err := combine(u.answers)
	if err != nil {
		return err
	}
	// Of what different nodes know the newest counts.
	generations := map[spec.Ref]uint64{}
	maps.Copy(generations, r.Generations)
	r.Generations = generations
	for name, v := range r.Nodes {
		ref := spec.Ref{Kind: spec.KindMaintenance, Name: name}
		for _, a := range u.answers {
			if a.err == nil && a.status.Generations[ref] > r.Generations[ref] {
				r.Generations[ref] = a.status.Generations[ref]
				v.Maintenance = a.status.Nodes[name].Maintenance
			}
		}
		r.Nodes[name] = v
	}
	u.report = r
	return nil
}

// found returns the upgrade that is under way, nil for none.
func (u *upgrade) found() (*spec.Upgrade, error) {
	var out *spec.Upgrade
	for _, name := range slices.Sorted(maps.Keys(u.report.Nodes)) {
		m := u.report.Nodes[name].Maintenance
		switch {
		case m == nil || m.Upgrade == nil:
		case out == nil:
			out = m.Upgrade
		case out.ID != m.Upgrade.ID:
			return nil, fmt.Errorf("two upgrades are under way, %s on %s and %s on %s: take the nodes of one of them out of it with atoll maintenance leave NODE --force",
				out.ID, out.Node, m.Upgrade.ID, m.Upgrade.Node)
		case slices.Index(spec.UpgradeSteps(), m.Upgrade.Step) > slices.Index(spec.UpgradeSteps(), out.Step):
			// The program was interrupted before it had told every node.
			out = m.Upgrade
		}
	}
	return out, nil
}

// goOnWith takes the upgrade that is under way for this run's.
func (u *upgrade) goOnWith(ctx context.Context) error {
	if err := u.look(ctx); err != nil {
		return err
	}
	have, err := u.found()
	if err != nil {
		return err
	}
	if have == nil {
		return fmt.Errorf("no upgrade of cluster %q is under way", u.report.Cluster)
	}
	u.state = *have
	u.result.Outcome = outcomeStopped
	return nil
}

// record puts it down on the nodes that a step begins, all of which are in maintenance then. It returns when those that answer say so.
func (u *upgrade) record(ctx context.Context, step spec.UpgradeStep) error {
	if err := u.look(ctx); err != nil {
		return err
	}
	have, err := u.found()
	if err != nil {
		return err
	}
	if have != nil && have.ID != u.state.ID {
		return fmt.Errorf("somebody else has begun upgrade %s on %s", have.ID, have.Node)
	}
	u.state.Step, u.state.At = step, u.env.Now().UTC().Truncate(time.Second)
	err = u.order(ctx, func(_ string, now *spec.Maintenance) (*spec.Maintenance, bool) {
		body := spec.Maintenance{Reason: u.reason(), Since: u.state.At}
		state := u.state
		if now != nil {
			body.Since = now.Since
			state.Stays = now.Upgrade == nil || now.Upgrade.Stays
		}
		if state.Stays {
			body.Reason = now.Reason
		}
		body.Upgrade = &state
		return &body, true
	})
	if err != nil {
		return fmt.Errorf("put all nodes into maintenance (%s): %w", step, err)
	}
	return nil
}

// reason is what other people read of it.
func (u *upgrade) reason() string {
	doing := map[spec.UpgradeStep]string{
		spec.UpgradeSnapshot: "before the change", spec.UpgradeChange: "changing", spec.UpgradeVerify: "changed, verifying", spec.UpgradeRestore: "taking it back",
	}[u.state.Step]
	return fmt.Sprintf("upgrade %s on %s, %s; if nobody is at it: atoll upgrade resume or abort", u.state.ID, u.state.Node, doing)
}

// leave puts the nodes back into service that were in service before.
func (u *upgrade) leave(ctx context.Context) error {
	if err := u.look(ctx); err != nil {
		return err
	}
	err := u.order(ctx, func(_ string, now *spec.Maintenance) (*spec.Maintenance, bool) {
		switch {
		case now == nil || now.Upgrade == nil || now.Upgrade.ID != u.state.ID:
			return now, false
		case now.Upgrade.Stays:
			return &spec.Maintenance{Reason: now.Reason, Since: now.Since}, true
		}
		return nil, true
	})
	if err != nil {
		return fmt.Errorf("put the nodes back into service: %w", err)
	}
	u.out.say("all nodes are back in service; each serves when its trees were found equal once more")
	return nil
}

const (
	// effectWithin is how long nodes that are up may take until they act on an order, effectLook how often they are asked.
	effectWithin = 30 * time.Second
	effectLook   = 500 * time.Millisecond
)

// order tells every node of the cluster how it is to be, and waits until those that are up say that they are.
func (u *upgrade) order(ctx context.Context, want func(name string, now *spec.Maintenance) (*spec.Maintenance, bool)) error {
	o := &maintenanceOptions{timeout: askWithin, wait: effectWithin}
	// Who has not answered just now hears of it from the others.
	targets := answering(u.answers)
	generations := map[string]uint64{}
	for _, name := range slices.Sorted(maps.Keys(u.report.Nodes)) {
		body, changes := want(name, u.report.Nodes[name].Maintenance)
		if !changes {
			continue
		}
		done := &maintained{Cluster: u.report.Cluster, Node: name, Maintenance: body}
		generation, err := o.order(ctx, u.env, u.key, targets, u.report, done)
		if err != nil {
			return err
		}
		for _, w := range done.Warnings {
			u.warn("%s", w)
		}
		if generation > 0 {
			generations[name] = generation
		}
	}
	return u.await(ctx, targets, generations)
}

// await waits until nodes say that they act on their orders, of those generations.
func (u *upgrade) await(ctx context.Context, targets []api.Target, generations map[string]uint64) error {
	waiting, cancel := context.WithTimeout(ctx, effectWithin)
	defer cancel()
	tick := time.NewTicker(effectLook)
	defer tick.Stop()
	for {
		r, err := ask(waiting, u.key, targets, askWithin)
		if err == nil {
			maps.DeleteFunc(generations, func(name string, generation uint64) bool {
				return r.Nodes[name].Applied[spec.Ref{Kind: spec.KindMaintenance, Name: name}] >= generation
			})
			if len(generations) == 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-waiting.Done():
			return errors.Join(fmt.Errorf("%s have not said within %s that they act on it (atoll status shows when they do)", strings.Join(slices.Sorted(maps.Keys(generations)), ", "), effectWithin), err)
		case <-tick.C:
		}
	}
}

func (u *upgrade) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(u.result.Warnings, text) {
		u.result.Warnings = append(u.result.Warnings, text)
		u.out.say("Warning: %s", text)
	}
}

// choose chooses the pairs and the node of a new upgrade.
func (u *upgrade) choose() error {
	names, err := u.report.choosePairs(u.pairs)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("cluster %q has no pairs: there is nothing that its nodes share", u.report.Cluster)
	}
	u.state.Pairs, u.state.Node = names, u.on
	if u.on == "" {
		var leaders []string
		for _, name := range names {
			leaders = append(leaders, u.report.Pairs[name].Leader)
		}
		slices.Sort(leaders)
		if leaders = slices.Compact(leaders); len(leaders) > 1 {
			return fmt.Errorf("the pairs are led by different nodes (%s): say with --on where the change is made", strings.Join(leaders, ", "))
		}
		u.state.Node = leaders[0]
	}
	if _, known := u.report.Nodes[u.state.Node]; !known {
		return fmt.Errorf("cluster %q has no node %q; it has %s", u.report.Cluster, u.state.Node, strings.Join(slices.Sorted(maps.Keys(u.report.Nodes)), ", "))
	}
	if len(u.here()) == 0 {
		return fmt.Errorf("none of the pairs %s has a tree on %s", strings.Join(names, ", "), u.state.Node)
	}
	return nil
}

// here returns the pairs that have a tree where the change is made.
func (u *upgrade) here() []string {
	var out []string
	for _, name := range u.state.Pairs {
		if _, is := u.report.Pairs[name].Sides[u.state.Node]; is {
			out = append(out, name)
		}
	}
	return out
}

// reachable wants every node of the pairs to answer, and be well enough to come to an end.
func (u *upgrade) reachable() error {
	for _, pair := range u.state.Pairs {
		for _, node := range slices.Sorted(maps.Keys(u.report.Pairs[pair].Sides)) {
			if c := u.client(node); c == nil {
				return fmt.Errorf("node %s of pair %s cannot be asked: it is not in the Terraform state, or give its --endpoint, too", node, pair)
			}
			for _, a := range u.answers {
				if a.target.Node == node && a.err != nil {
					return fmt.Errorf("node %s of pair %s does not answer, so that its tree would not be equal: %w", node, pair, a.err)
				}
			}
			if side := u.report.Pairs[pair].Sides[node]; side.State == spec.PairFailed {
				return fmt.Errorf("pair %s has failed on %s: %s", pair, node, cmp.Or(side.Problem, "see atoll status"))
			}
		}
	}
	return nil
}

// client returns a client of a node, nil for one that cannot be asked.
func (u *upgrade) client(node string) *api.Client {
	return operatorClients(u.key, u.answers, u.clients)(node)
}
