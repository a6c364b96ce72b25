//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// powerActions are what load can do to a node meanwhile.
var powerActions = []string{"kill", "power-on", "shutdown", "freeze", "thaw"}

// deed is something that is done to the lab while the load runs.
type deed struct {
	after  time.Duration
	action string
	ends   []string
}

func (d deed) String() string { return d.action + " " + strings.Join(d.ends, " ") }

// parseDeed reads "10s kill sg1", "10s cut hk1 sg1" or "20s heal hk1 sg1".
func parseDeed(text string) (deed, error) {
	words := strings.Fields(text)
	if len(words) < 3 {
		return deed{}, fmt.Errorf("%w: --then %q is not \"AFTER ACTION NODE\"", errUsage, text)
	}
	after, err := time.ParseDuration(words[0])
	if err != nil || after < 0 {
		return deed{}, fmt.Errorf("%w: --then %q: %q is no time such as 10s", errUsage, text, words[0])
	}
	d := deed{after: after, action: words[1], ends: words[2:]}
	wanted := 1
	switch {
	case d.action == "cut" || d.action == "heal":
		wanted = 2
	case !slices.Contains(powerActions, d.action):
		return deed{}, fmt.Errorf("%w: --then %q: %q is none of %s, cut and heal", errUsage, text, d.action, strings.Join(powerActions, ", "))
	}
	if len(d.ends) != wanted {
		return deed{}, fmt.Errorf("%w: --then %q: %s takes %d names", errUsage, text, d.action, wanted)
	}
	return d, nil
}

func (d deed) do(ctx context.Context, client *lab.Client) error {
	switch d.action {
	case "cut":
		_, err := client.Impair(ctx, d.ends[0], d.ends[1], 100, false)
		return err
	case "heal":
		_, err := client.Heal(ctx, d.ends[0], d.ends[1])
		return err
	}
	return client.Power(ctx, d.ends[0], d.action)
}

func (a *app) loadCommand() *cobra.Command {
	plan := load.Plan{}
	var then []string
	path, url, maxFailed := "/", lab.EdgeURL, -1
	cmd := &cobra.Command{
		Use:   "load HOSTNAME",
		Short: "Ask the edge steadily, and say what visitors saw",
		Long: `Ask the edge for a hostname at a steady rate, as visitors do, and say what they saw: how many requests failed, for how long,
how long the others took, which nodes answered, and whose session moved. A request failed when there was no answer, or one
of status 500 or above. Each takes a connection of its own. --then does something to the lab meanwhile and says how long
requests failed after it. Interrupting it ends the load and shows the figures.`,
		Example: `  atoll-lab load www.example.com --duration 1m --sessions 20 --then "10s kill sg1"
  atoll-lab load www.example.com --path /account --login /login --sessions 30 --then "10s kill sg1"
  atoll-lab load www.example.com --then "5s cut edge sg1" --then "25s heal edge sg1"`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan.Host, plan.URL = args[0], strings.TrimSuffix(url, "/")+path
			var deeds []deed
			for _, text := range then {
				d, err := parseDeed(text)
				if err != nil {
					return err
				}
				deeds = append(deeds, d)
			}
			return a.load(cmd.Context(), plan, deeds, maxFailed)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&plan.Rate, "rate", 50, "requests per `second`")
	flags.DurationVar(&plan.Duration, "duration", 30*time.Second, "how long requests begin; 0 until interrupted")
	flags.IntVar(&plan.Sessions, "sessions", 0, "`number` of visitors that keep their cookies; 0 makes every request a new visitor's")
	flags.DurationVar(&plan.Timeout, "timeout", 30*time.Second, "how long a visitor waits for an answer")
	flags.StringVar(&plan.Login, "login", "", "`path` that each of the sessions asks for by POST first, to log in; then 401 counts as failed")
	flags.StringVar(&path, "path", path, "what is asked for")
	flags.StringVar(&url, "url", url, "who is asked, in the operator's network")
	flags.StringVar(&plan.NodeHeader, "node-header", "", "`header` of an answer that names its node (default: the first line of the body)")
	flags.StringArrayVar(&then, "then", nil, "do something meanwhile, as `\"AFTER ACTION NODE\"`, repeatable: kill, power-on, shutdown, freeze, thaw; cut and heal take two ends")
	flags.IntVar(&maxFailed, "max-failed", maxFailed, "fail when more requests than that `number` fail; negative allows any")
	return cmd
}

func (a *app) load(ctx context.Context, plan load.Plan, deeds []deed, maxFailed int) error {
	client := lab.Connect(a.name)
	d, err := client.Describe(ctx)
	if err != nil {
		return err
	}
	plan.Dial = network.Namespace(d.Operator).Connect
	plan.Progress = func(s load.Second) { a.say("%4.0f s  %4d good  %4d failed", s.At.Seconds()+1, s.Good, s.Failed) }
	working, done := context.WithCancel(ctx)
	defer done()

	type event struct {
		at   time.Duration
		what string
	}
	var (
		mu     sync.Mutex
		events []event
		failed error
		work   sync.WaitGroup
	)
	var began time.Time
	ready := make(chan struct{})
	plan.Began = func(at time.Time) {
		began = at
		close(ready)
	}
	for _, d := range deeds {
		work.Go(func() {
			select {
			case <-ready:
			case <-working.Done():
				return
			}
			timer := time.NewTimer(d.after)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-working.Done():
				return
			}
			at := time.Since(began)
			a.say("%s", d)
			err := d.do(ctx, client)
			mu.Lock()
			defer mu.Unlock()
			events, failed = append(events, event{at, d.String()}), errors.Join(failed, err)
		})
	}
	report, err := load.Run(ctx, plan)
	done()
	work.Wait()
	if login := (*load.LoginError)(nil); errors.As(err, &login) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	slices.SortFunc(events, func(a, b event) int { return int(a.at - b.at) })
	for _, e := range events {
		report.Note(e.at, e.what)
	}
	if a.json {
		err = a.printJSON(report)
	} else {
		err = report.WriteText(a.out)
	}
	if maxFailed >= 0 && report.Failed > maxFailed {
		failed = errors.Join(failed, fmt.Errorf("%d requests failed, more than %d", report.Failed, maxFailed))
	}
	return errors.Join(failed, err)
}
