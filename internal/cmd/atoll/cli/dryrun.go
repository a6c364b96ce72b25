package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// switchable is what a dry run has found. Nothing was changed.
type switchable struct {
	Cluster  string `json:"cluster"`
	Database string `json:"database"`
	// Primary takes writes now, "" for nobody.
	Primary string `json:"primary,omitempty"`
	// Checks are of the member that was named, or of all that could take the writes, the preferred ones first.
	Checks []switchoverCheck `json:"checks"`
}

// switchoverCheck is what a switchover to one member would find.
type switchoverCheck struct {
	To     string `json:"to"`
	Weight int    `json:"weight"`
	// Possible tells that it would begin; Reason and Message say why not otherwise.
	Possible bool   `json:"possible"`
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	// Lag is how far the member was behind when it last said so, in seconds. Queue is how many transactions it has to apply before,
	// MostQueue how many it may have.
	Lag       float64 `json:"lag"`
	Queue     int     `json:"queue"`
	MostQueue int     `json:"most_queue,omitempty"`
	// Transactions are those that would be lost.
	Transactions []string `json:"transactions,omitempty"`

	view api.DatabaseMemberView
}

// look shows what a switchover would find, and changes nothing.
func (o *switchoverOptions) look(ctx context.Context, env Environment, key *trust.SigningKey, targets []api.Target, r report, name string, v api.DatabaseView) error {
	found := switchable{Cluster: r.Cluster, Database: name, Primary: v.Primary, Checks: []switchoverCheck{}}
	nodes := []string{o.to}
	if o.to == "" {
		nodes = candidates(v)
	}
	for _, node := range nodes {
		if node == v.Primary {
			continue
		}
		m := v.Members[node]
		check := switchoverCheck{To: node, Weight: m.Weight, Lag: m.Lag, view: m}
		err := precheck(name, v, node)
		switch {
		case err != nil && o.to != "":
			return err
		case err != nil:
			check.Reason, check.Message = "not-online", err.Error()
		default:
			if err := o.check(ctx, key, targets, name, &check); err != nil {
				return err
			}
		}
		found.Checks = append(found.Checks, check)
	}
	if err := o.printChecks(env, found); err != nil {
		return err
	}
	return found.refused()
}

// candidates returns the voting members, the preferred ones first.
func candidates(v api.DatabaseView) []string {
	var out []string
	for node, m := range v.Members {
		if m.Role == spec.MemberVoter {
			out = append(out, node)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(v.Members[b].Weight, v.Members[a].Weight), cmp.Compare(a, b))
	})
	return out
}

// check asks one member after the other until one answers.
func (o *switchoverOptions) check(ctx context.Context, key *trust.SigningKey, targets []api.Target, database string, c *switchoverCheck) error {
	var errs []error
	for _, target := range firstOf(targets, c.To) {
		got, err := askCheck(ctx, o, key, target, database, c.To)
		if err == nil {
			c.Queue, c.MostQueue, c.Transactions = got.Queue, got.MostQueue, got.Transactions
			c.Possible, c.Reason, c.Message = got.Reason == "", got.Reason, got.Message
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var answered *api.Error
		if errors.As(err, &answered) && answered.StatusCode == http.StatusMethodNotAllowed {
			err = errors.New("its agent is older than this command and knows no dry run: update it")
		}
		errs = append(errs, fmt.Errorf("%s: %w", name(target), err))
	}
	return fmt.Errorf("no member of database %q could be asked:\n%w", database, errors.Join(errs...))
}

func askCheck(ctx context.Context, o *switchoverOptions, key *trust.SigningKey, target api.Target, database, to string) (api.SwitchoverCheck, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	client := api.NewOperatorClient(key, target)
	defer client.Close()
	return client.SwitchoverCheck(ctx, database, to)
}

func (o *switchoverOptions) printChecks(env Environment, found switchable) error {
	if o.json {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(found)
	}
	_, err := fmt.Fprint(env.Stdout, found.text())
	return err
}

func (s switchable) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "database %s: %s takes writes; nothing is changed\n", s.Database, dash(s.Primary))
	if len(s.Checks) == 0 {
		return b.String()
	}
	b.WriteByte('\n')
	t := newTable("Node", "Weight", "Behind", "To apply", "Switchover")
	var why []string
	for _, c := range s.Checks {
		apply, verdict := fmt.Sprintf("%d, may be %d", c.Queue, c.MostQueue), "would begin"
		if c.MostQueue == 0 {
			apply = "-"
		}
		if !c.Possible {
			verdict = "would be refused: " + c.Reason
			why = append(why, c.To+": "+c.Message)
		}
		t.AppendRow(table.Row{c.To, c.Weight, lagOf(c.view), apply, verdict})
	}
	render(&b, t)
	list(&b, "in the way", why)
	return b.String()
}

// refused is the error of a dry run that finds that nobody could take the writes.
func (s switchable) refused() error {
	var errs []error
	for _, c := range s.Checks {
		if c.Possible {
			return nil
		}
		errs = append(errs, fmt.Errorf("a switchover of database %q to %s would be refused (%s)", s.Database, c.To, c.Reason))
	}
	return errors.Join(errs...)
}
