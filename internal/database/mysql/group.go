package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// The states of members, as the server calls them (performance_schema.replication_group_members).
const (
	stateOnline      = "ONLINE"
	stateRecovering  = "RECOVERING"
	stateOffline     = "OFFLINE"
	stateError       = "ERROR"
	stateUnreachable = "UNREACHABLE"
)

// peerState is a member as a server sees it.
type peerState struct {
	id      string
	address netip.AddrPort
	state   string
	primary bool
}

// group is the members as one server sees them.
type group struct {
	// own is that server's id.
	own     string
	members []peerState
}

// querier asks, in a pool or in one session.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readGroup asks a server for the members that it sees. A server in no group sees itself, without an address.
func readGroup(ctx context.Context, db querier) (group, error) {
	var g group
	rows, err := db.QueryContext(ctx, `SELECT @@GLOBAL.server_uuid, member_id, member_host, COALESCE(member_port, 0), member_state, member_role
FROM performance_schema.replication_group_members ORDER BY member_host, member_port`)
	if err != nil {
		return g, fmt.Errorf("ask a server for its group: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p peerState
		var host, role string
		var port uint16
		if err := rows.Scan(&g.own, &p.id, &host, &port, &p.state, &role); err != nil {
			return g, fmt.Errorf("read a server's group: %w", err)
		}
		if at, err := netip.ParseAddr(host); err == nil {
			p.address = netip.AddrPortFrom(at, port)
		}
		p.primary = role == "PRIMARY"
		g.members = append(g.members, p)
	}
	return g, rows.Err()
}

// self returns the server's own state, OFFLINE when it does not see itself.
func (g group) self() peerState {
	for _, p := range g.members {
		if p.id == g.own {
			return p
		}
	}
	return peerState{id: g.own, state: stateOffline}
}

// in tells whether the server is in the group, with or without a majority.
func (g group) in() bool {
	s := g.self().state
	return s == stateOnline || s == stateRecovering
}

// majority tells whether the server sees more than half of the group's members.
func (g group) majority() bool {
	seen := 0
	for _, p := range g.members {
		if p.state != stateUnreachable {
			seen++
		}
	}
	return g.in() && 2*seen > len(g.members)
}

// primary returns the member that takes writes, which there is only with a majority.
func (g group) primary() (peerState, bool) {
	if g.majority() {
		for _, p := range g.members {
			if p.primary && p.state == stateOnline {
				return p, true
			}
		}
	}
	return peerState{}, false
}

// memberState is what the contract calls the server's own state.
func (g group) memberState() spec.MemberState {
	switch {
	case !g.in():
		return spec.MemberStranded
	case !g.majority():
		return spec.MemberBlocked
	case g.self().state == stateRecovering:
		return spec.MemberRecovering
	default:
		return spec.MemberOnline
	}
}

// view is how the server sees each member, by node.
func (g group) view(m *database.Member) map[string]spec.MemberState {
	if !g.in() {
		return nil
	}
	out := map[string]spec.MemberState{}
	for _, p := range g.members {
		state := spec.MemberDown
		switch p.state {
		case stateOnline:
			state = spec.MemberOnline
		case stateRecovering:
			state = spec.MemberRecovering
		case stateError:
			state = spec.MemberFailed
		}
		out[nodeAt(m, p.address)] = state
	}
	return out
}

// groupPatience is how long a server that is busy may take to say whether it is in a group.
const groupPatience = 5 * time.Second

// inGroup tells whether the local server is in a group. It fails when the server does not say: then it is to be left alone.
func (d *Driver) inGroup(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, groupPatience)
	defer cancel()
	g, err := readGroup(ctx, d.local)
	return err == nil && g.in(), err
}

// harmless makes a server that is in no group take no writes and begin no group: whoever was about to change that may have died
// before it was done.
func (d *Driver) harmless(ctx context.Context) error {
	in, err := d.inGroup(ctx)
	if err != nil || in {
		return err
	}
	var readOnly, bootstraps bool
	err = d.local.QueryRowContext(ctx, "SELECT @@GLOBAL.super_read_only, @@GLOBAL.group_replication_bootstrap_group").Scan(&readOnly, &bootstraps)
	if err != nil || readOnly && !bootstraps {
		return err
	}
	return inOrder(ctx, d.local, "SET GLOBAL super_read_only = ON", "SET GLOBAL group_replication_bootstrap_group = OFF")
}
