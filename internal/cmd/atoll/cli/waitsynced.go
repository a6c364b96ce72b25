package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/barrier"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// askWithin is how long a node may take to say how its cluster is.
const askWithin = 8 * time.Second

// waitSyncedOptions are the flags of atoll wait-synced.
type waitSyncedOptions struct {
	nodes    nodeFlags
	pairs    []string
	hotOnly  bool
	timeout  time.Duration
	interval time.Duration
	json     bool
}

func waitSyncedCommand(env Environment) *cobra.Command {
	var o waitSyncedOptions
	cmd := &cobra.Command{
		Use:   "wait-synced",
		Short: "Wait until both trees of replication pairs are equal",
		Long: `Waits until both trees of every pair are equal, or of those that --pair names, and shows meanwhile how many files and bytes each
side is behind.

What the synchronization says of itself does not count: both nodes make a digest of their tree, of names, types, permissions and
contents of everything that the pair does not exclude. Cheap digests, of what is known to have changed, are compared until they are equal
for all pairs at once; then every file is looked at once more on both nodes, and only that has the last word. Equal trees stay equal
only while nobody writes: take the nodes out of service first (atoll maintenance enter --all).

So are the cold roots of pairs that move old directories. Where these differ, what was written there is brought over at once, and not
only with the next run. The first time each file in them is read, which may take long: --hot-only leaves them out.

A side that has failed, or a node that does not answer, is said at once and waited for; it may come back.

The exit code is 0 when the trees of all pairs are equal, 1 when some are not when the timeout ends, with the first paths that
differ, and 2 when it could not be found out, such as for a node that was not reached.`,
		Example: `  atoll wait-synced
  atoll wait-synced --pair uploads --pair photos --timeout 30m
  atoll wait-synced --timeout 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.StringArrayVar(&o.pairs, "pair", nil, "the `name` of a pair, instead of all; may be repeated")
	flags.BoolVar(&o.hotOnly, "hot-only", false, "do not look at the cold roots of pairs that move old directories")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait; 0 is for ever")
	flags.DurationVar(&o.interval, "interval", time.Second, "how long to wait between two looks")
	flags.BoolVar(&o.json, "json", false, "print JSON, and nothing while it waits")
	return cmd
}

func (o *waitSyncedOptions) run(ctx context.Context, env Environment) error {
	if o.timeout < 0 || o.interval <= 0 {
		return errors.New("--timeout is not 0 or above, or --interval is not above 0")
	}
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return err
	}
	targets, err := o.nodes.targets(env)
	if err != nil {
		return err
	}
	answers := gather(ctx, key, targets, askWithin)
	r, err := combine(answers)
	if err != nil {
		return err
	}
	names, err := r.choosePairs(o.pairs)
	if err != nil {
		return err
	}
	clients := map[string]*api.Client{}
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	pairs, err := r.sidesOf(names, o.hotOnly, operatorClients(key, answers, clients))
	if err != nil {
		return err
	}
	progress := newWaitProgress(env, o.json)
	for _, name := range names {
		progress.known(name, r.Pairs[name])
	}
	return o.wait(ctx, env, r.Cluster, pairs, progress)
}

// wait waits for pairs and says how it ended.
func (o *waitSyncedOptions) wait(ctx context.Context, env Environment, cluster string, pairs []barrier.Pair, progress *waitProgress) error {
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if o.timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, o.timeout)
	}
	defer cancel()
	began := time.Now()
	states, err := barrier.Wait(waiting, pairs, barrier.Options{Interval: o.interval, Report: progress.report, Hopeless: hopeless})
	took := time.Since(began)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted before the trees were equal: %w", ctx.Err())
	case err != nil && waiting.Err() == nil:
		return err
	}
	result := waitedFor(cluster, states, took)
	if err := printWaited(env, result, states, o.json); err != nil {
		return err
	}
	if result.Equal {
		return nil
	}
	for _, s := range states {
		for i, side := range s.Sides {
			if errors.Is(side.Err, api.ErrUnreachable) {
				return fmt.Errorf("pair %s: node %s was not reached: %w", partName(s), s.Nodes[i], side.Err)
			}
		}
	}
	return errDegraded
}

// hopeless tells whether a node's answer stays what it is: an agent that is too old, or that does not take the order.
func hopeless(err error) bool {
	var refused *api.Error
	return errors.As(err, &refused) && (refused.Reason == api.ReasonNotFound || refused.Reason == trust.ReasonNotAllowed)
}

// choosePairs returns the pairs of those names, sorted, or all when none is named.
func (r report) choosePairs(wanted []string) ([]string, error) {
	all := slices.Sorted(maps.Keys(r.Pairs))
	if len(wanted) == 0 {
		return all, nil
	}
	for _, name := range wanted {
		if _, known := r.Pairs[name]; known {
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("cluster %q has no pair", r.Cluster)
		}
		return nil, fmt.Errorf("cluster %q has no pair %q; it has %s", r.Cluster, name, strings.Join(all, ", "))
	}
	return slices.Compact(slices.Sorted(slices.Values(wanted))), nil
}

// operatorClients returns what makes, and puts into clients, a client for a node that is known, nil for another one.
func operatorClients(key *trust.SigningKey, answers []answer, clients map[string]*api.Client) func(node string) *api.Client {
	return func(node string) *api.Client {
		if c := clients[node]; c != nil {
			return c
		}
		for _, a := range answers {
			// Who was asked by an endpoint alone has said who it is.
			if a.target.Node == node || a.target.Node == "" && a.err == nil && a.status.Seen == node {
				target := a.target
				target.Node = node
				clients[node] = api.NewOperatorClient(key, target)
				return clients[node]
			}
		}
		return nil
	}
}

// sidesOf returns pairs as they are to be asked, with their cold roots unless hotOnly.
func (r report) sidesOf(names []string, hotOnly bool, client func(node string) *api.Client) ([]barrier.Pair, error) {
	var out []barrier.Pair
	for _, name := range names {
		p, cold := barrier.Pair{Name: name}, barrier.Pair{Name: name, Part: digest.Cold}
		movesOld := false
		nodes := slices.Sorted(maps.Keys(r.Pairs[name].Sides))
		if len(nodes) != len(p.Nodes) {
			return nil, fmt.Errorf("pair %s has %d sides, not two", name, len(nodes))
		}
		for i, node := range nodes {
			c := client(node)
			if c == nil {
				return nil, fmt.Errorf("node %s of pair %s cannot be asked: it is not in the Terraform state, or give its --endpoint, too", node, name)
			}
			p.Nodes[i], p.Sides[i] = node, treeSide{c, name, digest.Hot}
			cold.Nodes[i], cold.Sides[i] = node, treeSide{c, name, digest.Cold}
			movesOld = movesOld || r.Pairs[name].Sides[node].ColdPath != ""
		}
		out = append(out, p)
		if movesOld && !hotOnly {
			out = append(out, cold)
		}
	}
	return out, nil
}

// treeSide is one of a pair's trees on the node that a client calls.
type treeSide struct {
	client *api.Client
	pair   string
	part   digest.Part
}

// Digest implements barrier.Side.
func (s treeSide) Digest(ctx context.Context, full bool, progress func(digest.Progress)) (*digest.Snapshot, error) {
	return s.client.Digest(ctx, s.pair, s.part, full, progress)
}

// Directory implements digest.Lister.
func (s treeSide) Directory(ctx context.Context, path string) (digest.Directory, error) {
	return s.client.Directory(ctx, s.pair, s.part, path)
}

// known says what the cluster says of a pair that somebody should look at.
func (p *waitProgress) known(name string, v api.PairView) {
	for _, node := range slices.Sorted(maps.Keys(v.Sides)) {
		side := v.Sides[node]
		switch {
		case side.Stale:
		case side.Problem != "":
			p.say("pair %s: %s: %s", name, node, side.Problem)
		case side.State == spec.PairFailed || side.State == spec.PairDisconnected:
			p.say("pair %s: %s is %s", name, node, side.State)
		}
	}
}
