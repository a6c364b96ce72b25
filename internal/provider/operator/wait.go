package operator

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// NotReadyError is returned when a node did not become what was waited for in time. It says what the node itself gives as
// the cause.
type NotReadyError struct {
	Node   string
	Wanted string
	// Waiting is what the node's health endpoint says it waits for; empty when it does not answer.
	Waiting string
	// Conditions are those that do not hold.
	Conditions []spec.Condition
	// Err is the last error of the agent's API, nil when it answers.
	Err error
	// After is how long was waited.
	After time.Duration
}

// Error says what was waited for and everything that is known of the cause.
func (e *NotReadyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %q is not %s after %s", e.Node, e.Wanted, e.After.Round(time.Second))
	if e.Waiting != "" {
		fmt.Fprintf(&b, "; the node says: %s", e.Waiting)
	}
	for _, c := range e.Conditions {
		fmt.Fprintf(&b, "; %s is %s (%s): %s", c.Type, c.Status, c.Reason, c.Message)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, "; its API: %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the last error of the agent's API.
func (e *NotReadyError) Unwrap() error { return e.Err }

// AwaitAgent waits until the agent of a node answers and has proved that it is that node. HealthPort is asked for the cause
// when it does not in time.
func (o *Operator) AwaitAgent(ctx context.Context, agent *api.Client, node string, addresses []string, healthPort int) (api.Info, error) {
	return o.await(ctx, agent, node, "answering", addresses, healthPort, func(api.Info) []spec.Condition { return nil })
}

// AwaitConditions waits until the node reports that it has joined and that all the conditions hold.
func (o *Operator) AwaitConditions(
	ctx context.Context, agent *api.Client, node string, addresses []string, healthPort int, wanted ...spec.ConditionType,
) (api.Info, error) {
	return o.await(ctx, agent, node, "ready", addresses, healthPort, func(info api.Info) []spec.Condition {
		return missing(info.Conditions, wanted)
	})
}

func (o *Operator) await(
	ctx context.Context, agent *api.Client, node, wanted string, addresses []string, healthPort int,
	lacks func(api.Info) []spec.Condition,
) (api.Info, error) {
	begin := time.Now()
	failure := &NotReadyError{Node: node, Wanted: wanted}
	for {
		info, err := o.info(ctx, agent)
		if err == nil {
			failure.Err, failure.Waiting = nil, ""
			if failure.Conditions = lacks(info); len(failure.Conditions) == 0 {
				return info, nil
			}
		} else if ctx.Err() == nil || failure.Err == nil {
			failure.Err = err
		}
		if ctx.Err() == nil {
			if text := o.waitingFor(ctx, addresses, healthPort); text != "" {
				failure.Waiting = text
			}
		}
		if !Pause(ctx, o.cfg.Patience.Poll) {
			failure.After = time.Since(begin)
			return api.Info{}, failure
		}
	}
}

func (o *Operator) info(ctx context.Context, agent *api.Client) (api.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Patience.Dial)
	defer cancel()
	return agent.Info(ctx)
}

// waitingFor asks the health endpoint, which answers also before the node has joined.
func (o *Operator) waitingFor(ctx context.Context, addresses []string, port int) string {
	ctx, cancel := context.WithTimeout(ctx, min(o.cfg.Patience.Dial, 3*time.Second))
	defer cancel()
	for _, a := range addresses {
		if h, err := api.FetchHealth(ctx, net.JoinHostPort(a, strconv.Itoa(port))); err == nil {
			return h.Waiting
		}
	}
	return ""
}

// missing returns the wanted conditions that do not hold, a condition that is not reported as unknown.
func missing(have []spec.Condition, wanted []spec.ConditionType) []spec.Condition {
	var out []spec.Condition
	for _, w := range wanted {
		c, found := spec.Status{Conditions: have}.Condition(w)
		if !found {
			c = spec.Condition{Type: w, Status: spec.ConditionUnknown, Reason: "NotReported", Message: "the node has not reported it yet"}
		}
		if !c.Good() {
			out = append(out, c)
		}
	}
	return out
}
