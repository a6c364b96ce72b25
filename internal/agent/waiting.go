package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// How often first-boot data is looked for: a file is cheap to look at, the other carriers less and less often.
const (
	pollFile   = 2 * time.Second
	pollAllMax = 30 * time.Second
	// clockPatience is how long a wrong clock is expected to be set by the machine's time service.
	clockPatience = 5 * time.Minute
)

// The states that the health endpoint shows.
const (
	stateWaiting = "waiting"
	stateJoined  = "joined"
	stateLeaving = "leaving"
	stateStopped = "stopped"
)

// waitForMembership looks for first-boot data until the node has joined.
func (a *Agent) waitForMembership(ctx context.Context) (*membership, error) {
	w := waiting{a: a, pause: pollFile}
	var nextGuard time.Time
	for {
		// The clock of the machine may jump while it boots, so pauses are measured on the monotonic one.
		if !time.Now().Before(nextGuard) {
			a.guard(ctx, false)
			nextGuard = time.Now().Add(resyncInterval)
		}
		m, err := w.look(ctx)
		if m != nil || err != nil {
			return m, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollFile):
		}
	}
}

// waiting is the search for first-boot data.
type waiting struct {
	a *Agent
	// nextFull is when all carriers are looked at again, pause how long after that the next time is.
	nextFull time.Time
	pause    time.Duration
	// file is what the last look at the file gave, which is looked at more often than the others.
	file platform.Finding
	// clockWrong is since when the clock of this machine keeps a ticket from being used; zero when it does not.
	clockWrong time.Time
}

// look looks once and joins if it finds a payload that is good for this machine. The other carriers are looked at when it
// is time for that, and when there is news of the file. An error is one that ends the agent.
func (w *waiting) look(ctx context.Context) (*membership, error) {
	a := w.a
	sources, err := a.cfg.Machine.Sources()
	complaint := ""
	if err != nil {
		complaint = err.Error()
	}
	if time.Now().Before(w.nextFull) {
		found, findings := platform.Look(ctx, []platform.Source{a.cfg.Machine.File()})
		if found == nil && findings[0] == w.file {
			// What the agent waits for has not changed; it may be time to say it again.
			a.tellWaiting()
			return nil, nil
		}
	}
	found, findings := platform.Look(ctx, sources)
	w.file = findings[0]
	// A look may take long while the network is not there; the pause comes after it.
	w.nextFull = time.Now().Add(w.pause)
	w.pause = min(2*w.pause, pollAllMax)
	if found == nil {
		w.clockWrong = time.Time{}
		a.waitFor(w.nothingUsable(complaint, findings))
		return nil, nil
	}
	m, err := a.join(ctx, found)
	if err == nil {
		return m, nil
	}
	if isPowerCut(err) || ctx.Err() != nil {
		return nil, err
	}
	// There is something to use, and what keeps it from being used may pass at any moment.
	w.pause = pollFile
	findings[len(findings)-1].Problem = err.Error()
	a.waitFor(w.notUsable(complaint, findings, err))
	return nil, nil
}

// wish is what an agent waits for.
type wish struct {
	// key is what is the same for as long as the wish is, whatever its text says of the moment.
	key string
	// text is one line for people, and detail what follows it where only those read who are at the machine.
	text, detail string
	parts        map[string]string
}

// nothingUsable is the wish of an agent that has no complete payload.
func (w *waiting) nothingUsable(complaint string, findings []platform.Finding) wish {
	out := newWish(findings)
	var problems, empty []string
	for _, f := range findings {
		if f.Problem != "" {
			problems = append(problems, f.Source+": "+f.Problem)
		} else {
			empty = append(empty, f.Source)
		}
	}
	if complaint != "" {
		problems = append(problems, complaint)
		out.parts["platform"] = complaint
	}
	network := w.a.cfg.Network()
	if network != "" {
		out.parts["network"] = network
	}
	out.key += complaint
	switch {
	case len(problems) == 0:
		out.text = fmt.Sprintf("no first-boot data yet: nothing in %s", strings.Join(empty, ", "))
	default:
		out.text = "no first-boot data yet: " + strings.Join(problems, "; ")
		if len(empty) > 0 {
			out.text += "; nothing in " + strings.Join(empty, ", ")
		}
	}
	if network != "" {
		out.key += network
		out.text += "; no network: " + network
	}
	return out
}

// notUsable is the wish of an agent that has a payload and cannot join by it.
func (w *waiting) notUsable(complaint string, findings []platform.Finding, cause error) wish {
	out := newWish(findings)
	reason := trust.ReasonOf(cause)
	out.key += complaint + string(reason)
	source := findings[len(findings)-1].Source
	if reason != trust.ReasonNotYetValid {
		w.clockWrong = time.Time{}
	}
	switch {
	case isDiskTrouble(cause):
		out.key += "disk"
		out.text = fmt.Sprintf("first-boot data of %s cannot be used until there is space on the disk, nothing is half done: %v", source, cause)
	case reason == trust.ReasonNotYetValid:
		if w.clockWrong.IsZero() {
			w.clockWrong = time.Now()
		}
		out.text = fmt.Sprintf("first-boot data of %s cannot be used before the clock is set: %v", source, cause)
		if network := w.a.cfg.Network(); network != "" {
			out.key += network
			out.parts["network"] = network
			out.text += "; no network to set it by: " + network
		} else if waited := time.Since(w.clockWrong); waited >= clockPatience {
			out.key += "patience"
			out.text += fmt.Sprintf("; the time service has not set it for %s: does it reach a time server (UDP port 123)? By hand: timedatectl set-time, or chronyc makestep",
				waited.Round(time.Minute))
		}
	default:
		out.text = fmt.Sprintf("first-boot data of %s cannot be used: %v", source, cause)
	}
	return out
}

// newWish returns a wish whose parts are what was found in each carrier.
func newWish(findings []platform.Finding) wish {
	w := wish{parts: map[string]string{}}
	for _, f := range findings {
		switch {
		case f.Problem != "":
			w.parts[f.Source] = f.Problem
		case f.SHA256 != "":
			w.parts[f.Source] = "found, sha256 " + f.SHA256
		default:
			w.parts[f.Source] = "nothing there"
		}
		w.key += fmt.Sprintf("%s %s %t;", f.Source, f.SHA256, f.Problem == "")
	}
	return w
}

// isDiskTrouble tells whether an error is a disk that takes nothing at the moment.
func isDiskTrouble(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// waitFor shows on health endpoint, log and console what the agent waits for.
func (a *Agent) waitFor(w wish) {
	a.mu.Lock()
	maps.Copy(w.parts, a.guardProblems)
	a.health = api.Health{State: stateWaiting, Waiting: w.text, Parts: w.parts}
	a.wish = w
	a.mu.Unlock()
	a.tellWaiting()
}

// tellWaiting tells people what the agent waits for, if it is time for that.
func (a *Agent) tellWaiting() {
	a.mu.Lock()
	w := a.wish
	a.mu.Unlock()
	if w.text != "" {
		a.herald.tell(w.key, "waiting: "+w.text+w.detail)
	}
}

// waitForDisk waits a moment for a disk that takes nothing, and says so.
func (a *Agent) waitForDisk(ctx context.Context, cause error) {
	text := fmt.Sprintf("the disk takes nothing: %v; it is tried again and again: make space on it", cause)
	a.waitFor(wish{key: "disk", text: text, parts: map[string]string{"disk": cause.Error()}})
	select {
	case <-ctx.Done():
	case <-time.After(pollFile):
	}
}
