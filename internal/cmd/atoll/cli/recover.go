package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// recoverOptions are the flags of atoll recover.
type recoverOptions struct {
	nodes    nodeFlags
	database string
	loss     []string
	reason   string
	yes      bool
	json     bool
	timeout  time.Duration
	wait     time.Duration
}

func recoverCommand(env Environment) *cobra.Command {
	var o recoverOptions
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "See what a database waits for after an outage of all members, and end it without some of them",
		Long: `Shows what a database waits for after an outage of all its members: what each of them has, and when it was last heard of.
Without --accept-loss-from it changes nothing.

A database comes back by itself once all voting members have been heard and the data of one of them has that of all others in
it. Start the machines that are missing; that is the way that loses nothing.

Where a machine or its disk is gone for good, or where members have data that contradicts each other's, --accept-loss-from
names the members whose data is given up as far as no other member has it. What is known to be lost is shown, and it asks before
it signs the decision. The decision holds for this outage alone. A member that is named and comes back later with its data shows
as failed and is kept apart until that is moved aside, whatever it has: nobody could tell it from what was written since. Nothing
of it is deleted.

Before you name a member that does not answer, make sure that it is off: if it runs and only cannot be reached from here, the
others and it may hold two truths.

The exit code is 0 when the database takes writes, 1 when it does not and nothing was decided, and 2 when something failed.`,
		Example: `  atoll recover --database app
  atoll recover --database app --accept-loss-from hk2 --reason "disk of hk2 is gone"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.StringVar(&o.database, "database", "", "the database's `name`, needed when the cluster has several")
	flags.StringSliceVar(&o.loss, "accept-loss-from", nil, "`node` whose data is given up as far as no other member has it; may be repeated")
	flags.StringVar(&o.reason, "reason", "", "`text` for other people, kept with the decision")
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	flags.DurationVar(&o.wait, "wait", 5*time.Minute, "how long to wait until the database takes writes; 0 does not wait")
	return cmd
}

// recovered is what a run has found and done.
type recovered struct {
	Cluster  string `json:"cluster"`
	Database string `json:"database"`
	// Writable tells whether the database takes writes now, at Primary.
	Writable bool   `json:"writable"`
	Primary  string `json:"primary,omitempty"`
	// Members are the voting members as they said themselves last, by node.
	Members map[string]memberEvidence `json:"members"`
	// Waiting says what the recovery waits for, and Losses what a decision gives up, in sentences.
	Waiting []string `json:"waiting,omitempty"`
	Losses  []string `json:"losses,omitempty"`
	// Decision is what was signed, nil for nothing; Told is how many nodes have taken it from here.
	Decision *spec.Recovery `json:"decision,omitempty"`
	Told     int            `json:"told,omitempty"`
}

// memberEvidence is what one member has.
type memberEvidence struct {
	State       spec.MemberState `json:"state"`
	Heard       bool             `json:"heard"`
	Seen        time.Time        `json:"seen,omitzero"`
	Incarnation uint64           `json:"incarnation"`
	Position    string           `json:"position,omitempty"`
	Problem     string           `json:"problem,omitempty"`
}

func (o *recoverOptions) run(ctx context.Context, env Environment) error {
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return err
	}
	targets, err := o.nodes.targets(env)
	if err != nil {
		return err
	}
	answers := gather(ctx, key, targets, o.timeout)
	r, err := combine(answers)
	if err != nil {
		return err
	}
	name, v, err := r.chooseDatabase(o.database)
	if err != nil {
		return err
	}
	c := newOutageCase(name, v, answers)
	done := c.found(r.Cluster)
	if len(o.loss) == 0 {
		return o.show(env, r, c, done)
	}
	decision, err := c.decide(o.loss, o.reason, env.Now().UTC().Truncate(time.Second))
	if err != nil {
		return err
	}
	done.Losses = c.losses(decision.AcceptLossFrom)
	if !o.json {
		if _, err := fmt.Fprint(env.Stdout, c.text(r)+c.warning(decision.AcceptLossFrom, done.Losses)); err != nil {
			return err
		}
	}
	if !o.yes {
		if err := confirm(env, name); err != nil {
			return err
		}
	}
	return o.order(ctx, env, key, targets, answering(answers), c, decision, done)
}

// show prints the evidence and what would happen. Nothing changes.
func (o *recoverOptions) show(env Environment, r report, c outageCase, done recovered) error {
	if o.json {
		if err := o.print(env, done); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(env.Stdout, c.text(r)); err != nil {
		return err
	}
	if !done.Writable {
		return errDegraded
	}
	return nil
}

// confirm lets the operator type the database's name, so that nobody gives up data by a habit of the fingers.
func confirm(env Environment, name string) error {
	if _, err := fmt.Fprintf(env.Stderr, "\nThis cannot be undone. Type the name of the database to go on: "); err != nil {
		return err
	}
	line, err := bufio.NewReader(env.Stdin).ReadString('\n')
	switch {
	case strings.TrimSpace(line) == name:
		return nil
	case err != nil:
		return errors.New("nothing was decided: there is nobody to ask; --yes goes on without asking")
	default:
		return errors.New("nothing was decided: that is not the database's name")
	}
}

// order signs the decision, gives it to every node that has answered, and waits until the database takes writes. The others hear of it
// from these; asking one of them again would take all of --timeout.
func (o *recoverOptions) order(ctx context.Context, env Environment, key *trust.SigningKey, targets, answering []api.Target, c outageCase, decision spec.Recovery, done recovered) error {
	now := uint64(max(env.Now().UnixMilli(), 0))
	object, err := spec.NewObject(done.Cluster, c.name, max(now, c.generation+1), now, decision)
	if err != nil {
		return err
	}
	signed, err := trust.SignObject(key, object)
	if err != nil {
		return err
	}
	told, err := tellAll(ctx, key, answering, o.timeout, store.ObjectRecord(signed))
	if told == 0 {
		return fmt.Errorf("no node has taken the decision; nothing has changed: %w", err)
	}
	done.Decision, done.Told = &decision, told
	if o.wait > 0 {
		primary, err := o.waitFor(ctx, env, key, targets, answering, c.name, decision.Incarnation)
		if err != nil {
			return errors.Join(o.jsonOnly(env, done), fmt.Errorf(
				"%d of %d nodes have taken the decision, but database %s does not take writes after %s (it holds and goes on to be carried out; atoll recover --database %s shows what is in the way): %w",
				told, len(targets), c.name, o.wait, c.name, err))
		}
		done.Primary, done.Writable = primary, true
	}
	if o.json {
		return o.print(env, done)
	}
	text := fmt.Sprintf("decided: %d nodes know; atoll status shows how it goes", told)
	if done.Writable {
		text = fmt.Sprintf("database %s takes writes at %s", c.name, done.Primary)
	}
	_, err = fmt.Fprintln(env.Stdout, text)
	return err
}

// waitFor waits until a member takes writes in that life of the group or a later one, and returns its node. It asks the nodes that
// answered last, and all of them when none does any more.
func (o *recoverOptions) waitFor(ctx context.Context, env Environment, key *trust.SigningKey, all, asked []api.Target, name string, incarnation uint64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	said := ""
	for {
		answers := gather(ctx, key, asked, o.timeout)
		if asked = answering(answers); len(asked) == 0 {
			asked = all
		}
		r, err := combine(answers)
		v := r.Databases[name]
		if err == nil && v.Primary != "" && v.Incarnation >= incarnation {
			return v.Primary, nil
		}
		if err == nil {
			doing := strings.Join(append([]string{"waiting for the members"}, r.story(v)...), "\n  ")
			err = errors.New(doing)
			if doing != said && !o.json {
				said = doing
				_, _ = fmt.Fprintln(env.Stderr, doing) // what cannot be shown is no reason to stop
			}
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-tick.C:
		}
	}
}

func (o *recoverOptions) jsonOnly(env Environment, done recovered) error {
	if o.json {
		return o.print(env, done)
	}
	return nil
}

func (o *recoverOptions) print(env Environment, done recovered) error {
	encoder := json.NewEncoder(env.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(done)
}
