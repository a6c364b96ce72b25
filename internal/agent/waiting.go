package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// How often first-boot data is looked for: a file is cheap to look at, the other carriers less and less often.
const (
	pollFile   = 2 * time.Second
	pollAllMax = 30 * time.Second
	// tellAgain is how often what the agent waits for is said again.
	tellAgain = 10 * time.Minute
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
	pause := pollFile
	var nextFull, nextGuard time.Time
	for {
		if !time.Now().Before(nextGuard) {
			a.guard(ctx)
			nextGuard = time.Now().Add(resyncInterval)
		}
		// The clock of the machine may jump while it boots, so the pause is measured on the monotonic one.
		full := !time.Now().Before(nextFull)
		m, err := a.look(ctx, full)
		if m != nil || err != nil {
			return m, err
		}
		if full {
			nextFull = time.Now().Add(pause)
			pause = min(2*pause, pollAllMax)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollFile):
		}
	}
}

// look looks once, at all sources or only at the file, and joins if it finds a payload that is good for it. An error is
// one that ends the agent.
func (a *Agent) look(ctx context.Context, full bool) (*membership, error) {
	sources, err := a.cfg.Machine.Sources()
	var complaint string
	if err != nil {
		complaint = err.Error()
	}
	if !full {
		sources = []platform.Source{a.cfg.Machine.File()}
	}
	found, findings := platform.Look(ctx, sources)
	if found == nil {
		a.waitFor("no first-boot data yet", complaint, findings, nil, full)
		return nil, nil
	}
	m, err := a.join(ctx, found)
	if err == nil {
		return m, nil
	}
	if isPowerCut(err) || ctx.Err() != nil {
		return nil, err
	}
	findings[len(findings)-1].Problem = err.Error()
	a.waitFor("first-boot data cannot be used", complaint, findings, err, true)
	return nil, nil
}

// waitFor shows on health endpoint, log and console what the agent waits for; on the latter two when it changes, and once
// in tellAgain. Cause is why data that was found was refused. A partial look keeps what the full look before it has found in
// the other carriers.
func (a *Agent) waitFor(what, complaint string, findings []platform.Finding, cause error, full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !full && a.health.State == stateWaiting && a.looked == what {
		return
	}
	a.looked = what
	parts := map[string]string{}
	lines := []string{}
	// Messages may name the time or a port of the moment, which is no reason to say them again.
	key := what + complaint + string(trust.ReasonOf(cause))
	for _, f := range findings {
		result := "nothing there"
		switch {
		case f.Problem != "":
			result = f.Problem
		case f.SHA256 != "":
			result = "found, sha256 " + f.SHA256
		}
		parts[f.Source] = result
		lines = append(lines, f.Source+": "+result)
		key += fmt.Sprintf(" %s %s %t", f.Source, f.SHA256, f.Problem == "")
	}
	if a.guardProblem != "" {
		parts[guardStep{}.name()] = a.guardProblem
	}
	if complaint != "" {
		parts["platform"] = complaint
		lines = append(lines, complaint)
	}
	waiting := fmt.Sprintf("%s (looked at %s)", what, strings.Join(lines, "; "))
	a.health = api.Health{State: stateWaiting, Waiting: waiting, Parts: parts}
	if key == a.told && time.Since(a.toldAt) < tellAgain {
		return
	}
	a.told, a.toldAt = key, time.Now()
	a.log.Info("waiting", "for", waiting)
	a.cfg.Console("waiting: " + waiting)
}
