package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// report is the status that atoll shows: the best of the answers it got.
type report struct {
	api.ClusterStatus
	// Unanswered says for each node that did not answer from here why; that may be this machine's fault.
	Unanswered map[string]string `json:"unanswered,omitempty"`
}

// answer is what one target said.
type answer struct {
	target api.Target
	status api.ClusterStatus
	err    error
}

// ask asks all targets at once and returns the report, or an error when none answers.
func ask(ctx context.Context, key *trust.SigningKey, targets []api.Target, timeout time.Duration) (report, error) {
	return combine(gather(ctx, key, targets, timeout))
}

// gather asks all targets at once and returns what each said.
func gather(ctx context.Context, key *trust.SigningKey, targets []api.Target, timeout time.Duration) []answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan answer)
	for _, target := range targets {
		go func() {
			client := api.NewOperatorClient(key, target)
			defer client.Close()
			status, err := client.Status(ctx)
			answers <- answer{target, status, err}
		}()
	}
	var all []answer
	for range targets {
		all = append(all, <-answers)
	}
	return all
}

// answering returns the targets that have answered.
func answering(answers []answer) []api.Target {
	var out []api.Target
	for _, a := range answers {
		if a.err == nil {
			out = append(out, a.target)
		}
	}
	return out
}

// tellAll gives a record to every node at once and returns how many took it.
func tellAll(ctx context.Context, key *trust.SigningKey, targets []api.Target, timeout time.Duration, record store.Record) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type outcome struct {
		told int
		err  error
	}
	outcomes := make(chan outcome)
	for _, target := range targets {
		go func() {
			client := api.NewOperatorClient(key, target)
			defer client.Close()
			told, err := tell(ctx, []*api.Client{client}, record)
			outcomes <- outcome{told, err}
		}()
	}
	told := 0
	var errs []error
	for range targets {
		o := <-outcomes
		told += o.told
		errs = append(errs, o.err)
	}
	return told, errors.Join(errs...)
}

// combine chooses the answer that the report is made of. In a cluster that has fallen apart each part calls the rest lost:
// the part that most nodes are in is believed, and what others find wrong is mentioned.
func combine(answers []answer) (report, error) {
	var good []api.ClusterStatus
	var errs []error
	r := report{Unanswered: map[string]string{}}
	for _, a := range answers {
		if a.err != nil {
			r.Unanswered[name(a.target)] = a.err.Error()
			errs = append(errs, a.err)
			continue
		}
		good = append(good, a.status)
	}
	if len(good) == 0 {
		return report{}, fmt.Errorf("no node of the cluster could be asked:\n%w", errors.Join(errs...))
	}
	slices.SortFunc(good, func(a, b api.ClusterStatus) int {
		return cmp.Or(cmp.Compare(ready(b), ready(a)), strings.Compare(a.Seen, b.Seen))
	})
	r.ClusterStatus = good[0]
	for _, other := range good[1:] {
		if r.Healthy && !other.Healthy {
			r.Healthy = false
			for _, reason := range other.Reasons {
				r.Reasons = append(r.Reasons, fmt.Sprintf("as %s sees it: %s", other.Seen, reason))
			}
		}
	}
	// Two halves that never met are each content with themselves. Who is asked for belongs to the cluster.
	slices.SortFunc(answers, func(a, b answer) int { return strings.Compare(a.target.Node, b.target.Node) })
	for _, a := range answers {
		if _, known := r.Nodes[a.target.Node]; !known && a.target.Node != "" {
			r.Healthy = false
			r.Reasons = append(r.Reasons, fmt.Sprintf("%s does not know node %s: introduce it with an atoll_mesh_link or a seed of the cluster, or remove it", r.Seen, a.target.Node))
		}
	}
	return r, nil
}

// ready counts the nodes that are.
func ready(s api.ClusterStatus) int {
	n := 0
	for _, v := range s.Nodes {
		if v.State == api.NodeReady {
			n++
		}
	}
	return n
}

// name is how a target is called in a report.
func name(t api.Target) string {
	return cmp.Or(t.Node, strings.Join(t.Endpoints, ","))
}
