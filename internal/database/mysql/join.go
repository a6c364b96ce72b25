package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// donor is a member of the group that answers, and what it says.
type donor struct {
	node    string
	address netip.AddrPort
	// position is all that it has, version and id those of its server, bytes what a copy of its data takes.
	position, version string
	id                uint32
	bytes             uint64
	primary           bool
	// members are the addresses of those whom it sees in the group.
	members []netip.AddrPort
}

// NoGroupError says that no member of the group could be asked to let this one in.
type NoGroupError struct {
	// Asked is what became of each try.
	Asked []error
}

// Error says what became of each try.
func (e *NoGroupError) Error() string {
	return "no member of the group lets this one in: " + strings.ReplaceAll(errors.Join(e.Asked...).Error(), "\n", "; ")
}

// Unwrap returns what became of each try.
func (e *NoGroupError) Unwrap() []error { return e.Asked }

// donors asks the other members, all at once, and returns those that are online in a group with a majority, the primary first.
func (d *Driver) donors(ctx context.Context, m *database.Member) ([]donor, error) {
	type answer struct {
		donor donor
		err   error
	}
	answers := make(chan answer, len(m.Peers))
	for _, p := range m.Peers {
		go func() {
			var a answer
			a.err = d.askPeer(ctx, m, p.Address, func(ctx context.Context, db *sql.DB) error {
				var err error
				a.donor, err = readDonor(ctx, db)
				return err
			})
			a.donor.node, a.donor.address = p.Node, p.Address
			if a.err != nil {
				a.err = fmt.Errorf("%s: %w", p.Node, a.err)
			}
			answers <- a
		}()
	}
	var out []donor
	var failed []error
	for range m.Peers {
		a := <-answers
		switch {
		case a.err != nil:
			failed = append(failed, a.err)
		case a.donor.primary:
			out = append([]donor{a.donor}, out...)
		default:
			out = append(out, a.donor)
		}
	}
	if len(out) == 0 {
		return nil, &NoGroupError{failed}
	}
	return out, nil
}

// lastLife is how long the group may take to find out that the member's last life is over: it suspects after 5 s, and then has to
// agree.
const lastLife = 12 * time.Second

// errLastLife says that the group has not noticed yet that the member was gone.
var errLastLife = errors.New("the group has not noticed yet that the member was away, try again")

// forgotten returns the donors when none of them takes the member for one of theirs any more. A server that comes back before its
// group has put it out would wait for a minute to be let in, and for half a one more to give up.
func (d *Driver) forgotten(ctx context.Context, m *database.Member) (donors []donor, err error) {
	gone, err := waitFor(ctx, lastLife, func(ctx context.Context) (bool, error) {
		all, err := d.donors(ctx, m)
		if err != nil {
			return false, err
		}
		donors = all
		return !slices.ContainsFunc(all, func(o donor) bool { return slices.Contains(o.members, m.Address) }), nil
	})
	if err == nil && !gone {
		err = errLastLife
	}
	return donors, err
}

// errNotInGroup says that a server is no member of a group that goes on.
var errNotInGroup = errors.New("it is not online in a group with a majority")

func readDonor(ctx context.Context, db *sql.DB) (donor, error) {
	var out donor
	g, err := readGroup(ctx, db)
	if err != nil {
		return out, err
	}
	p, ok := g.primary()
	if !ok || g.self().state != stateOnline {
		return out, errNotInGroup
	}
	out.primary = p.id == g.own
	for _, other := range g.members {
		out.members = append(out.members, other.address)
	}
	err = db.QueryRowContext(ctx, "SELECT "+positionOf+`, @@GLOBAL.version, @@GLOBAL.server_id,
COALESCE((SELECT SUM(file_size) FROM information_schema.innodb_tablespaces), 0)`).Scan(&out.position, &out.version, &out.id, &out.bytes)
	return out, err
}

// cloneThreshold is how many transactions a member may have missed and still takes them over one by one. Beyond that a copy of
// everything is quicker: a secondary applies some thousand a second.
const cloneThreshold = 500_000

// Join implements database.Driver.
func (d *Driver) Join(ctx context.Context) error {
	d.change.Lock()
	defer d.change.Unlock()
	m, err := d.applied()
	if err != nil {
		return err
	}
	err = d.join(ctx, m)
	d.setJoinError(err)
	if err != nil {
		return fmt.Errorf("join the group of database %s: %w", m.Database, err)
	}
	return nil
}

func (d *Driver) join(ctx context.Context, m *database.Member) error {
	g, err := readGroup(ctx, d.local)
	if err != nil || g.in() {
		return err
	}
	donors, err := d.forgotten(ctx, m)
	if err != nil {
		return err
	}
	own, err := d.Position(ctx)
	if err != nil {
		return err
	}
	if err := d.notDiverged(ctx, m, own, donors); err != nil {
		return err
	}
	findings, err := d.preflight(ctx, m, donors)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Severity == database.Blocks {
			return fmt.Errorf("%s: %s", f.Check, f.Message)
		}
	}
	// A member without data takes a copy whatever its size; others only when they have missed much. Data that the group does not
	// have, which a copy would replace, has been ruled out.
	threshold := uint64(cloneThreshold)
	if own == "" {
		threshold = 1
		d.log.Info("the member has no data and takes a copy", "size", size(donors[0].bytes))
	}
	conn, err := d.local.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if g.self().state == stateError {
		if _, err := conn.ExecContext(ctx, "STOP GROUP_REPLICATION"); err != nil {
			return fmt.Errorf("end the last life in the group: %w", err)
		}
	}
	if err := d.silence(ctx, conn); err != nil {
		return err
	}
	err = inOrder(ctx, conn,
		// The group lifts that for its primary. Nobody else may write here before.
		"SET GLOBAL super_read_only = ON",
		"SET GLOBAL group_replication_bootstrap_group = OFF",
		"SET GLOBAL offline_mode = OFF",
		fmt.Sprintf("SET GLOBAL group_replication_clone_threshold = %d", threshold),
	)
	if err != nil {
		return err
	}
	return d.startGroup(ctx, conn, m)
}

// starting tells whether the server asks to be let into a group at this moment. It goes on with that by itself, whatever becomes of who
// told it to, for more than a minute if nobody answers; no statement ends it. To end the server instead leaves the group with a member that
// it has half let in, which keeps the server out for minutes.
func starting(ctx context.Context, db querier) (bool, error) {
	var is bool
	err := db.QueryRowContext(ctx, `SELECT COUNT(*) > 0 FROM performance_schema.threads
WHERE processlist_command = 'Query' AND processlist_info LIKE 'START GROUP\_REPLICATION%'`).Scan(&is)
	return is, err
}

// startGroup makes the server a member.
func (d *Driver) startGroup(ctx context.Context, conn *sql.Conn, m *database.Member) error {
	err := quietly(ctx, conn, func() error {
		_, err := conn.ExecContext(ctx, "START GROUP_REPLICATION USER = "+quote(replicationUser)+", PASSWORD = "+quote(replicationPassword(m)))
		return err
	})
	if err == nil {
		return nil
	}
	why := scrub(err, replicationPassword(m))
	// The statement only says where to read on.
	var said string
	if logErr := conn.QueryRowContext(ctx, `SELECT GROUP_CONCAT(DISTINCT data SEPARATOR ' / ') FROM performance_schema.error_log
WHERE prio = 'Error' AND subsystem = 'Repl' AND logged > NOW(6) - INTERVAL 2 MINUTE`).Scan(&said); logErr == nil && said != "" {
		return fmt.Errorf("%w: %s", why, said)
	}
	return why
}

// settling is how long members may take to apply what they have received of a primary that is gone. Until then its own data may
// look as if nobody else had it.
const settling = 5 * time.Second

// notDiverged fails with *database.DivergedError when the member has what no member of the group has.
func (d *Driver) notDiverged(ctx context.Context, m *database.Member, own string, donors []donor) error {
	if own == "" {
		return nil
	}
	var more string
	same, err := waitFor(ctx, settling, func(ctx context.Context) (bool, error) {
		theirs := make([]string, len(donors))
		for i := range donors {
			theirs[i] = donors[i].position
		}
		err := d.local.QueryRowContext(ctx, "SELECT REPLACE(GTID_SUBTRACT(?, ?), '\n', '')", own, strings.Join(theirs, ",")).Scan(&more)
		if err != nil || more == "" {
			return err == nil, err
		}
		if again, err := d.donors(ctx, m); err == nil {
			donors = again
		}
		return false, nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case more != "":
		return &database.DivergedError{Node: m.Node, Own: more}
	case err != nil || !same:
		return fmt.Errorf("compare the member's data with the group's: %w", err)
	}
	return nil
}

// Bootstrap implements database.Driver.
func (d *Driver) Bootstrap(ctx context.Context) error {
	d.change.Lock()
	defer d.change.Unlock()
	m, err := d.applied()
	if err != nil {
		return err
	}
	if err := d.bootstrap(ctx, m); err != nil {
		return fmt.Errorf("begin the group of database %s: %w", m.Database, err)
	}
	d.setJoinError(nil)
	return nil
}

func (d *Driver) bootstrap(ctx context.Context, m *database.Member) (err error) {
	conn, err := d.local.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	g, err := readGroup(ctx, conn)
	if err != nil {
		return err
	}
	if g.in() {
		return fmt.Errorf("the member is in a group already (%s)", g.self().state)
	}
	if g.self().state == stateError {
		if _, err := conn.ExecContext(ctx, "STOP GROUP_REPLICATION"); err != nil {
			return fmt.Errorf("end the last life in the group: %w", err)
		}
	}
	// The permission must not outlive this call, however it ends.
	defer func() {
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), peerPatience)
		defer cancel()
		_, offErr := d.local.ExecContext(restore, "SET GLOBAL group_replication_bootstrap_group = OFF")
		err = errors.Join(err, offErr)
	}()
	if err := inOrder(ctx, conn, "SET GLOBAL super_read_only = ON", "SET GLOBAL offline_mode = OFF", "SET GLOBAL group_replication_bootstrap_group = ON"); err != nil {
		return err
	}
	if err := d.startGroup(ctx, conn, m); err != nil {
		return err
	}
	// It takes writes when it has applied what it had received.
	online, err := waitFor(ctx, startPatience, func(ctx context.Context) (bool, error) {
		g, err := readGroup(ctx, conn)
		return err == nil && g.self().state == stateOnline && g.self().primary, err
	})
	if err == nil && !online {
		err = fmt.Errorf("the member has begun the group but is not its primary after %s", startPatience)
	}
	return err
}
