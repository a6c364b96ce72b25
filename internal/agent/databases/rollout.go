package databases

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
)

// roll takes part in a change that restarts members, and tells whether something is being done for it.
func (p *part) roll(ctx context.Context, v view) bool {
	own := p.last
	own.State, own.Writable, own.Primary, own.View, own.Lag = v.st.State, v.st.Writable, v.st.Primary, v.st.View, v.st.Lag.Seconds()
	own.Rollout = p.rollout(v.st)
	e := recovery.RolloutEvidence{
		Self: v.evidence.Self, Votes: v.evidence.Votes, Members: v.evidence.Members, Own: own, Heard: v.evidence.Heard,
		Late: p.turn.Turn != "" && time.Since(p.turnSince) > p.m.cfg.RestartPatience,
	}
	if v.st.Unfit == "" || v.st.Primary != e.Self {
		p.unfitAt = time.Time{}
	} else if p.stepDown(ctx, v, e) {
		return true
	}
	if !v.st.Writable {
		p.turn = recovery.RolloutStep{}
		if !recovery.MayRestart(e) {
			return false
		}
		p.begin(ctx, act{name: "restarts with other settings", membership: true}, restartPatience, p.driver.Restart)
		return true
	}
	step := recovery.Rollout(e)
	if step.Turn != p.turn.Turn || step.TurnFor != p.turn.TurnFor {
		p.turnSince = time.Now()
		if step.Turn != "" {
			p.log.Info("rollout: a member restarts", "member", step.Turn)
		}
	}
	if step.SwitchOver == "" {
		p.turn = step
		return false
	}
	if time.Now().Before(p.handAt) {
		return false
	}
	p.begin(ctx, act{name: "hands over to " + step.SwitchOver + ", to be restarted", after: func(err error) {
		p.turn, p.handAt = recovery.RolloutStep{}, time.Now().Add(pauseMost)
		if err != nil {
			p.turn.Stopped = fmt.Sprintf("%s is the last one and has to hand over before it restarts, which fails: %v", e.Self, err)
		}
	}}, 2*handPatience, func(ctx context.Context) error { return p.driver.SwitchOver(ctx, step.SwitchOver, handPatience) })
	return true
}

// stepDown makes another member the primary in place of this one, which is unfit: by handing over, and by leaving the group where
// that fails or writes stand still already. It tells whether something is being done.
func (p *part) stepDown(ctx context.Context, v view, e recovery.RolloutEvidence) bool {
	to := recovery.Successor(e)
	if to == "" {
		return false
	}
	if v.st.Writable && p.unfitAt.IsZero() {
		p.begin(ctx, act{name: "hands over to " + to + ", being unfit: " + v.st.Unfit, after: func(error) {
			p.unfitAt = time.Now()
		}}, 2*stepDownPatience, func(ctx context.Context) error { return p.driver.SwitchOver(ctx, to, stepDownPatience) })
		return true
	}
	if p.unfitAt.IsZero() {
		p.unfitAt = time.Now()
	}
	if time.Since(p.unfitAt) < stuckPatience {
		return false
	}
	p.unfitAt = time.Time{}
	p.begin(ctx, act{name: "leaves the group, being unfit: " + v.st.Unfit, membership: true}, leavePatience, p.driver.Leave)
	return true
}
