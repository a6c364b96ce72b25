package databasemember

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/database"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// How many looks in a row a fault must last until it is believed: what agents report is some moments old, and they try again by
// themselves.
const (
	shortly = 15
	forLong = 60
	// together is how long a member that is not the last one waits for the others that the same run makes.
	together = 30
)

// look is what is known of the member at one moment.
type look struct {
	status api.ClusterStatus
	db     api.DatabaseView
	member api.DatabaseMemberView
	node   api.NodeView
	// described tells that the node that answers has heard of the member.
	described bool
}

func (t *task) look(ctx context.Context) (look, error) {
	status, err := t.crew.StatusBy(ctx, t.Node)
	if err != nil {
		return look{}, err
	}
	l := look{status: status, db: status.Databases[t.Database], node: status.Nodes[t.Node]}
	l.member, l.described = l.db.Members[t.Node]
	return l, nil
}

// alive tells whether the member's node is there.
func (l look) alive() bool { return l.node.State == api.NodeReady || l.node.State == api.NodeNotReady }

// verdict is what a look says of what is waited for.
type verdict struct {
	done bool
	// fault is what is wrong for good if it lasts, kind the sort of it, since the text may go on to change; patience is for how many
	// looks it may last.
	kind     string
	fault    string
	patience int
	at       path.Path
	// warning ends the wait without success.
	warning string
	// doing is what goes on, for the log.
	doing string
}

// wait looks again and again until judge is done or a fault lasts.
func (t *task) wait(ctx context.Context, summary string, judge func(look) verdict) diag.Diagnostics {
	var diags diag.Diagnostics
	var last look
	var lastErr error
	begin := time.Now()
	kind, lasted := "", 0
	for {
		l, err := t.look(ctx)
		if err != nil {
			if ctx.Err() == nil {
				lastErr = err
			}
		} else {
			last, lastErr = l, nil
			v := judge(l)
			switch {
			case v.done:
				return diags
			case v.warning != "":
				diags.AddAttributeWarning(path.Root("node"), summary, v.warning)
				return diags
			case v.kind == "":
				kind, lasted = "", 0
			case v.kind == kind:
				lasted++
			default:
				kind, lasted = v.kind, 1
			}
			if kind != "" && lasted >= v.patience {
				diags.AddAttributeError(v.at, summary, v.fault+"\n\n"+t.explain(l))
				return diags
			}
			t.progress(ctx, v.doing, begin)
		}
		if !operator.Pause(ctx, t.patience.Poll) {
			diags.AddAttributeError(path.Root("node"), summary, t.gaveUp(last, lastErr, time.Since(begin)))
			return diags
		}
	}
}

// progress tells what goes on, each thing once.
func (t *task) progress(ctx context.Context, doing string, begin time.Time) {
	if doing == t.told {
		return
	}
	t.told = doing
	tflog.Info(ctx, "waiting for a member of a database", map[string]any{
		"database": t.Database, "node": t.Node, "doing": doing, "waited": time.Since(begin).Round(time.Second).String(),
	})
}

func (t *task) gaveUp(l look, err error, after time.Duration) string {
	text := fmt.Sprintf("After %s, node %q is not what it is to be in database %q.\n\n%s", after.Round(time.Second), t.Node, t.Database, t.explain(l))
	if err != nil {
		text += fmt.Sprintf("\n\nThe nodes do not answer any more: %v.", err)
	}
	return text + fmt.Sprintf("\n\nThe nodes go on by themselves; nothing is undone. Apply again to go on waiting. To take a new member back instead: "+
		"`terraform import ADDRESS '%s@HOST:PORT'`, with the API of any node, and then remove it.", memberID(t.cluster, t.Member))
}

// explain says how the members are, this one first, and what the node says of itself.
func (t *task) explain(l look) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Members of database %q, as %s sees them:", t.Database, l.status.Seen)
	nodes := slices.Sorted(maps.Keys(l.db.Members))
	slices.SortStableFunc(nodes, func(a, _ string) int {
		if a == t.Node {
			return -1
		}
		return 0
	})
	if len(nodes) == 0 {
		b.WriteString(" none is known yet")
	}
	for _, node := range nodes {
		m := l.db.Members[node]
		fmt.Fprintf(&b, "\n- %s: %s, %s", node, database.RoleOf(m), database.StateOfMember(m))
		for _, more := range []string{m.Progress, m.Problem} {
			if more != "" {
				fmt.Fprintf(&b, "; %s", more)
			}
		}
		for _, f := range m.Findings {
			fmt.Fprintf(&b, "\n  %s: %s", f.Check, f.Message)
		}
	}
	for _, c := range l.node.Conditions {
		if !c.Good() && (c.Type == spec.ConditionDatabaseReady || c.Type == spec.ConditionApplied) {
			fmt.Fprintf(&b, "\n- %s says: %s is %s (%s): %s", t.Node, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	if r := l.db.Rollout; r != nil && r.Stopped != "" {
		fmt.Fprintf(&b, "\n- the rollout has stopped: %s", r.Stopped)
	}
	return b.String()
}

// voters returns how many voting members are described, as far as the nodes and this run know.
func (t *task) voters(l look) int {
	nodes := map[string]bool{}
	for node, m := range l.db.Members {
		if m.Role == spec.MemberVoter {
			nodes[node] = true
		}
	}
	for _, node := range t.crew.Op().Cluster(t.cluster).PushedMembers(t.Database) {
		nodes[node] = true
	}
	return len(nodes)
}

// awaitOnline waits until a new member is what it is to be.
func (t *task) awaitOnline(ctx context.Context) diag.Diagnostics {
	// A database begins when all voting members are there: whoever makes the last one waits for all.
	begins, alone := false, 0
	return t.wait(ctx, "Member is not online", func(l look) verdict {
		begins = begins || l.db.Incarnation == 0
		v := t.failing(l)
		v.doing = t.doing(l)
		switch {
		case !l.described:
			v.doing = "the node has not heard of it yet"
		case t.Role == spec.MemberClient:
			v.done = l.alive() && l.member.Router.Running && (l.member.Router.Writable || l.db.Primary == "")
		case l.db.Incarnation == 0 && t.voters(l) < l.db.Votes:
			v.doing = fmt.Sprintf("%d of %d voting members are described", t.voters(l), l.db.Votes)
			if l.node.Applied[t.ref] < t.memory.Generation {
				break
			}
			if alone++; alone >= together {
				v.warning = t.incomplete(t.voters(l), l.db.Votes) + " If the others are still to be made in this run, nothing is left to do."
			}
		case begins:
			v.done = t.online(l) && l.db.Online >= l.db.Votes
		default:
			v.done = t.online(l)
		}
		return v
	})
}

// incomplete says what a database does not do with fewer members than it has votes.
func (t *task) incomplete(voters, votes int) string {
	return fmt.Sprintf("Database %q has %d of its %d voting members. It begins, restarts members for new settings, and comes back from an outage of all members "+
		"only when all are described: add the missing %s. Fewer votes are refused, since two members cannot tell a dead peer from a cut line, and the loss of either would stop all writes.",
		t.Database, voters, votes, ResourceType)
}

func (t *task) online(l look) bool { return database.StateOfMember(l.member) == spec.MemberOnline }

func (t *task) doing(l look) string {
	text := string(database.StateOfMember(l.member))
	if l.member.Progress != "" {
		text += ": " + l.member.Progress
	}
	if l.db.Incarnation == 0 {
		text += "; the database has not begun"
	}
	return text
}

// failing returns what the member cannot get over by itself.
func (t *task) failing(l look) verdict {
	v := verdict{at: path.Root("node"), patience: forLong}
	c, reported := l.node.Condition(spec.ConditionDatabaseReady)
	switch {
	case reported && !c.Good() && c.Reason == database.ReasonSettingsRefused:
		v.kind, v.fault, v.patience = c.Reason, "The server refuses the settings: "+c.Message+".", shortly
		v.at = path.Root("database")
	case reported && !c.Good() && c.Reason == "Diverged":
		v.kind, v.fault, v.patience = c.Reason, "The member cannot join: "+c.Message+".", shortly
	case reported && !c.Good() && c.Reason == "Failed":
		v.kind, v.fault = c.Reason, "The node cannot make its member: "+c.Message+"."
	case l.member.State == spec.MemberFailed && !l.member.Stale:
		v.kind, v.fault = string(spec.MemberFailed), "The member cannot join: "+l.member.Problem+"."
	}
	return v
}

// away returns the voting members but one that are not online while no member restarts, and for how many looks that is waited for: a
// node that is gone is not expected back soon.
func away(db api.DatabaseView, but string) (who []string, patience int) {
	if db.Rollout != nil && db.Rollout.Turn != "" {
		return nil, 0
	}
	patience = forLong
	for _, node := range slices.Sorted(maps.Keys(db.Members)) {
		m := db.Members[node]
		state := database.StateOfMember(m)
		if node == but || m.Role != spec.MemberVoter || state == spec.MemberOnline {
			continue
		}
		if m.Stale {
			patience = shortly
		}
		who = append(who, fmt.Sprintf("%s is %s", node, state))
	}
	return who, patience
}

// awaitCurrent waits until the member has put the newest objects into effect, in its turn. A node that is gone is not waited for.
func (t *task) awaitCurrent(ctx context.Context) diag.Diagnostics {
	ref := spec.Ref{Kind: spec.KindDatabase, Name: t.Database}
	wanted := t.crew.Op().Cluster(t.cluster).PushedAt(ref)
	gone, held := 0, 0
	return t.wait(ctx, "Member has not taken over the change", func(l look) verdict {
		newest := max(wanted, l.status.Generations[ref])
		if gone++; l.alive() || l.node.State == api.NodeJoining {
			gone = 0
		}
		if gone >= shortly {
			return verdict{warning: fmt.Sprintf("Node %q is %s, so nobody knows how its part in database %q is. It takes over what has changed when it comes back.", t.Node, l.node.State, t.Database)}
		}
		v := t.failing(l)
		if r := l.db.Rollout; r != nil && r.Stopped != "" {
			v.kind, v.fault, v.patience = "stopped", "The rollout has stopped, and no further member restarts: "+r.Stopped+".", shortly
			v.at = path.Root("database")
		}
		told := l.described && l.node.Applied[ref] >= newest && l.node.Applied[t.ref] >= t.memory.Generation
		current := told && !l.member.RestartNeeded
		v.doing = t.doing(l)
		switch {
		case told && t.Role == spec.MemberVoter && t.voters(l) < l.db.Votes && (l.member.RestartNeeded || !t.online(l)):
			// Who is missing may be made after this one.
			v.warning = t.incomplete(t.voters(l), l.db.Votes) + " Until then what is new is known to the member and waits."
		case l.db.Rollout != nil && l.db.Rollout.Turn == t.Node:
			v.doing = "it is its turn to restart: " + v.doing
		case l.member.RestartNeeded:
			v.doing = "it waits for its turn to restart"
		}
		// Nobody restarts while somebody is away, and whoever is may stay so for days.
		if who, patience := away(l.db, t.Node); told && l.member.RestartNeeded && len(who) > 0 {
			if held++; held >= patience {
				v.warning = fmt.Sprintf("Members restart for new settings one at a time and only while all of them are online, and that is not so: %s. "+
					"What is new is known to the member and takes effect by itself when all are back.", strings.Join(who, ", "))
			}
		} else {
			held = 0
		}
		if t.Role == spec.MemberClient {
			v.done = current && l.alive() && l.member.Router.Running
		} else {
			v.done = current && t.online(l) && (l.db.Rollout == nil || l.db.Rollout.Turn != t.Node)
		}
		return v
	})
}
