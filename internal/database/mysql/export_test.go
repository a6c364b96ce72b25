package mysql

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// What the tests look at.
var (
	Parse      = parse
	Digest     = digest
	MemoryOf   = memoryOf
	Changed    = changed
	Quote      = quote
	Amount     = amount
	LiteralOf  = literalOf
	Complaints = complaints
	Pattern    = pattern
	Prepare    = prepare
	HexAddress = hexAddress
	Statements = func() []string { return statements(metadata) }
	UnitText   = func() string { return string(serviceUnit().Content) }
)

// Config returns the server's configuration on a machine with that much memory.
func Config(m *database.Member, memory uint64) string { return render(settings(m, memory)) }

// Patience is how long a look at the server may take.
type Patience struct{ p patience }

// Limit begins a look.
func (p *Patience) Limit(ctx context.Context) (context.Context, context.CancelFunc, time.Duration) {
	return p.p.limit(ctx)
}

// TooShort ends one that had no answer, Took one that had.
func (p *Patience) TooShort() { p.p.tooShort() }

// Took is how long an answer took.
func (p *Patience) Took(d time.Duration) { p.p.took(d) }

// Names returns the names of what the driver sets.
func Names(m *database.Member) []string {
	var out []string
	for _, s := range settings(m, 0) {
		out = append(out, s.name)
	}
	return out
}

// Room returns what the driver makes of the room on a machine's disk: why it does not let the member be the primary, and whether
// there is none at all.
func Room(ctx context.Context, sys host.System) (unfit string, none bool) {
	var r room
	unfit = r.unfit(ctx, sys)
	return unfit, r.none()
}

// Donor is a member of a group that a new one is compared with.
type Donor struct {
	Version string
	ID      uint32
	Bytes   uint64
}

func donorsOf(list []Donor) []donor {
	var out []donor
	for _, one := range list {
		out = append(out, donor{node: "hk2", version: one.Version, id: one.ID, bytes: one.Bytes})
	}
	return out
}

// CheckDonors returns what is found when hk1, with that version and ID, is compared with members of a group.
func CheckDonors(version string, id uint32, others ...Donor) []database.Finding {
	var out []database.Finding
	checkDonors("hk1", version, id, donorsOf(others), func(check string, severity database.Severity, format string, args ...any) {
		out = append(out, database.Finding{Check: check, Severity: severity, Message: fmt.Sprintf(format, args...)})
	})
	return out
}

// CheckMachine returns what is found at hk1's machine; own is what its server has.
func CheckMachine(ctx context.Context, sys host.System, own string, others ...Donor) (out []database.Finding, err error) {
	d := &Driver{sys: sys}
	err = d.checkMachine(ctx, &database.Member{Node: "hk1"}, own, donorsOf(others), func(check string, severity database.Severity, format string, args ...any) {
		out = append(out, database.Finding{Check: check, Severity: severity, Message: fmt.Sprintf(format, args...)})
	})
	return out, err
}

// Seen is a member as a server sees it.
type Seen struct {
	ID, Address, State string
	Primary            bool
}

// View returns what the driver makes of what the server own sees.
func View(m *database.Member, own string, seen ...Seen) (state spec.MemberState, primary string, view map[string]spec.MemberState) {
	g := group{own: own}
	for _, s := range seen {
		at, _ := netip.ParseAddrPort(s.Address)
		g.members = append(g.members, peerState{s.ID, at, s.State, s.Primary})
	}
	if p, ok := g.primary(); ok {
		primary = nodeAt(m, p.address)
	}
	return g.memberState(), primary, g.view(m)
}
