package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// switchoverOptions are the flags of atoll switchover.
type switchoverOptions struct {
	nodes    nodeFlags
	database string
	to       string
	patience time.Duration
	timeout  time.Duration
	dryRun   bool
	json     bool
}

func switchoverCommand(env Environment) *cobra.Command {
	var o switchoverOptions
	cmd := &cobra.Command{
		Use:   "switchover --to NODE",
		Short: "Let another member of a database take the writes",
		Long: `Lets another member of a database take the writes, and returns when it does.

Before anything changes, the member must be online and nearly up to date, and no transaction may be under way that would not
end within --patience; what stands in the way is printed. Transactions that are under way may end, new ones wait: for
applications it takes well below a second. If it cannot be finished in time it is taken back, and the primary is the one that
it was. A member stays primary until it fails or the next switchover.

With --dry-run nothing changes: it shows what the look beforehand finds now, for the member that --to names, or for each that
could take the writes.

The exit code is 0 when the member takes writes, also when it did before, and 2 when it does not. With --dry-run it is 0 when
the switchover would begin, to some member if none is named, and 2 when it would be refused.`,
		Example: `  atoll switchover --database app --to sg1
  atoll switchover --dry-run
  atoll switchover --to hk1 --patience 2m --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.StringVar(&o.database, "database", "", "the database's `name`, needed when the cluster has several")
	flags.StringVar(&o.to, "to", "", "the `node` that is to take writes")
	flags.DurationVar(&o.patience, "patience", api.DefaultSwitchoverPatience, "how long transactions that are under way may take to end")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	flags.BoolVar(&o.dryRun, "dry-run", false, "show what would be in the way, and change nothing")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "patience")
	cmd.MarkFlagsOneRequired("dry-run", "to")
	return cmd
}

// switched is what a run has done.
type switched struct {
	Cluster  string `json:"cluster"`
	Database string `json:"database"`
	From     string `json:"from,omitempty"`
	To       string `json:"to"`
	// Changed tells whether another member took writes before.
	Changed bool `json:"changed"`
	// TookMS is how long it took, in milliseconds.
	TookMS int64 `json:"took_ms"`
	// Reason and Message say why it was not done, "" when it was.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func (o *switchoverOptions) run(ctx context.Context, env Environment) error {
	if o.patience <= 0 || o.patience > api.MaxSwitchoverPatience {
		return fmt.Errorf("--patience %s is not above 0 and up to %s", o.patience, api.MaxSwitchoverPatience)
	}
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return err
	}
	targets, err := o.nodes.targets(env)
	if err != nil {
		return err
	}
	r, err := ask(ctx, key, targets, o.timeout)
	if err != nil {
		return err
	}
	name, v, err := r.chooseDatabase(o.database)
	if err != nil {
		return err
	}
	if o.dryRun {
		return o.look(ctx, env, key, targets, r, name, v)
	}
	done := switched{Cluster: r.Cluster, Database: name, From: v.Primary, To: o.to}
	if v.Primary == o.to {
		return o.print(env, done)
	}
	if err := precheck(name, v, o.to); err != nil {
		return err
	}
	o.say(env, "database %s: %s takes writes; %s is %s, lag %s", name, dash(v.Primary), o.to, stateOf(v.Members[o.to]), lagOf(v.Members[o.to]))
	result, err := o.order(ctx, env, key, targets, name)
	done.TookMS = result.Took
	var failed *api.SwitchoverFailedError
	switch {
	case err == nil:
		done.Changed = true
		if result.From != "" {
			done.From = result.From
		}
	case errors.As(err, &failed):
		done.Reason, done.Message = failed.Result.Reason, failed.Result.Message
		if o.json {
			return errors.Join(o.print(env, done), err)
		}
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: the members finish the switchover, or take it back, by themselves; atoll status shows who takes writes: %w", err)
	default:
		return err
	}
	return o.print(env, done)
}

// chooseDatabase returns the database of that name, or the only one when none is named.
func (r report) chooseDatabase(name string) (string, api.DatabaseView, error) {
	names := slices.Sorted(maps.Keys(r.Databases))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	v, known := r.Databases[name]
	switch {
	case known:
		return name, v, nil
	case len(names) == 0:
		return "", v, fmt.Errorf("cluster %q has no database", r.Cluster)
	case name == "":
		return "", v, fmt.Errorf("cluster %q has several databases (%s): say which one with --database", r.Cluster, strings.Join(names, ", "))
	default:
		return "", v, fmt.Errorf("cluster %q has no database %q; it has %s", r.Cluster, name, strings.Join(names, ", "))
	}
}

// precheck returns what every node can see that keeps a member from taking writes. What only the members know they find themselves.
func precheck(name string, v api.DatabaseView, to string) error {
	m, known := v.Members[to]
	voters := slices.DeleteFunc(slices.Sorted(maps.Keys(v.Members)), func(n string) bool { return v.Members[n].Role != spec.MemberVoter })
	switch {
	case !known || m.Role != spec.MemberVoter:
		return fmt.Errorf("node %q has no data of database %q; its voting members are %s", to, name, strings.Join(voters, ", "))
	case v.Outage:
		return fmt.Errorf("no member of database %q is online, so there is nothing to switch over: atoll recover --database %s shows what it waits for", name, name)
	case m.Stale || m.State != spec.MemberOnline:
		text := fmt.Sprintf("member %s of database %q is %s, not online", to, name, stateOf(m))
		if m.Problem != "" && !m.Stale {
			text += ": " + m.Problem
		}
		return errors.New(text)
	}
	return nil
}

// order asks one member after the other until one answers. The order has a number, so that asking again is no second order.
func (o *switchoverOptions) order(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target, database string) (api.SwitchoverResult, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return api.SwitchoverResult{}, err
	}
	request := api.SwitchoverRequest{ID: hex.EncodeToString(id[:]), To: o.to, Patience: o.patience.Milliseconds()}
	ctx, cancel := context.WithTimeout(ctx, o.patience+o.timeout+30*time.Second)
	defer cancel()
	said := ""
	var errs []error
	for _, target := range firstOf(targets, o.to) {
		client := api.NewOperatorClient(key, target)
		result, err := client.Switchover(ctx, database, request, func(p api.SwitchoverResult) {
			if p.Progress != said {
				said = p.Progress
				o.say(env, "%s", p.Progress)
			}
		})
		client.Close()
		var failed *api.SwitchoverFailedError
		if err == nil || errors.As(err, &failed) || ctx.Err() != nil {
			return result, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", name(target), err))
	}
	return api.SwitchoverResult{}, fmt.Errorf("no member of database %q could be asked:\n%w", database, errors.Join(errs...))
}

// firstOf returns targets with a node's before the others: whoever is to take writes knows best how that goes.
func firstOf(targets []api.Target, node string) []api.Target {
	targets = slices.Clone(targets)
	slices.SortStableFunc(targets, func(a, b api.Target) int {
		switch {
		case a.Node == node && b.Node != node:
			return -1
		case b.Node == node && a.Node != node:
			return 1
		}
		return 0
	})
	return targets
}

// say tells people what goes on; programs read the result alone.
func (o *switchoverOptions) say(env Environment, format string, args ...any) {
	if !o.json {
		_, _ = fmt.Fprintf(env.Stderr, format+"\n", args...) // what cannot be shown is no reason to stop
	}
}

func (o *switchoverOptions) print(env Environment, done switched) error {
	if o.json {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(done)
	}
	text := fmt.Sprintf("%s takes the writes of database %s, as before", done.To, done.Database)
	if done.Changed {
		text = fmt.Sprintf("%s takes the writes of database %s, %s before; it took %s", done.To, done.Database, dash(done.From), (time.Duration(done.TookMS) * time.Millisecond).String())
	}
	_, err := fmt.Fprintln(env.Stdout, text)
	return err
}
