package linode

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// JobError is a failed job of Linode's, such as an image that could not be written to the instance's disk.
type JobError struct {
	Instance int
	Action   string
	Message  string
}

// Error says which job of which instance failed.
func (e *JobError) Error() string {
	text := fmt.Sprintf("instance %d: Linode's job %s failed", e.Instance, e.Action)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// jobsEvery is how many looks at an instance that is on its way there are for one at its jobs.
const jobsEvery = 5

// WaitRunning returns the instance once it runs. An instance that is there but powered off is booted. *JobError when Linode
// reports that creating or booting it failed, ErrNotFound when it vanished, the context's error otherwise.
func (c *Client) WaitRunning(ctx context.Context, id int) (Instance, error) {
	booted, boots := false, 0
	for look := 1; ; look++ {
		inst, err := c.Instance(ctx, id)
		if err != nil {
			return Instance{}, err
		}
		switch linodego.InstanceStatus(inst.Status) {
		case linodego.InstanceRunning:
			return inst, nil
		case linodego.InstanceOffline:
			busy, err := c.checkJobs(ctx, id)
			if err != nil {
				return inst, err
			}
			if !busy && !booted {
				boots++
				if booted, err = c.boot(ctx, id); err != nil && boots == tries {
					return inst, err
				}
				if failure, ok := asError(err); ok && !failure.ambiguous() {
					return inst, err
				}
			}
		default:
			// Lists have a limit that many instances at once would reach.
			if look%jobsEvery == 0 {
				if _, err := c.checkJobs(ctx, id); err != nil {
					return inst, err
				}
			}
		}
		if err := rest.Sleep(ctx, c.poll); err != nil {
			return inst, fmt.Errorf("wait for instance %d to run, it is %s: %w", id, inst.Status, err)
		}
	}
}

// boot tells whether the instance boots. After an error it may do so all the same, since an answer was lost or somebody else
// has booted it meanwhile.
func (c *Client) boot(ctx context.Context, id int) (bool, error) {
	_, err := call(ctx, "boot instance "+strconv.Itoa(id), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.api.BootInstance(ctx, id, 0)
	})
	if err == nil {
		return true, nil
	}
	if now, lookErr := c.Instance(ctx, id); lookErr == nil && now.Status != string(linodego.InstanceOffline) {
		return true, nil
	}
	return false, err
}

// checkJobs returns whether a job of the instance is under way, and a *JobError when the newest create or boot failed.
func (c *Client) checkJobs(ctx context.Context, id int) (busy bool, err error) {
	filter, err := json.Marshal(map[string]any{
		"entity.type": string(linodego.EntityLinode), "entity.id": id, "+order": "desc", "+order_by": "created",
	})
	if err != nil {
		return false, fmt.Errorf("list events of instance %d: %w", id, err)
	}
	events, err := call(ctx, fmt.Sprintf("list events of instance %d", id), func(ctx context.Context) ([]linodego.Event, error) {
		return c.api.ListEvents(ctx, linodego.NewListOptions(1, string(filter)))
	})
	if err != nil {
		return false, err
	}
	for i, e := range events {
		switch e.Status {
		case linodego.EventScheduled, linodego.EventStarted:
			busy = true
		case linodego.EventFailed:
			if i == 0 && (e.Action == linodego.ActionLinodeCreate || e.Action == linodego.ActionLinodeBoot) {
				return false, &JobError{Instance: id, Action: string(e.Action), Message: e.Message}
			}
		default:
		}
	}
	return busy, nil
}
