package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
)

// The accounts that a database has for itself.
const (
	// replicationUser is how members come to each other, and how an agent asks another member.
	replicationUser = "atoll_replication"
	// routerUser is how routers ask members who is the primary.
	routerUser = "atoll_router"
)

// replicationGrants are what the members need of each other: to replicate, to go on when there are no connections left, to copy
// everything, to be in a group over the server's own port; and, for the agents, to see the group and what runs.
const replicationGrants = "REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, CLONE_ADMIN, GROUP_REPLICATION_STREAM, PROCESS, SERVICE_CONNECTION_ADMIN"

// mark is what an account's attribute tells of the account, so that it is compared without knowing its password. It changes in
// the same statement as the password.
type mark struct {
	// Database is the database that the account is for, "" for the database's own accounts.
	Database string `json:"database,omitempty"`
	// Password identifies the password: the version that it was given, or a digest of one with 256 random bits.
	Password string `json:"password"`
}

// readMark returns the mark of an account. None is there when the account is not, or is not Atoll's.
func readMark(ctx context.Context, db *sql.DB, user string) (m mark, exists bool, err error) {
	var attribute sql.NullString
	err = db.QueryRowContext(ctx, `SELECT (SELECT attribute FROM information_schema.user_attributes a WHERE a.user = u.user AND a.host = u.host)
FROM mysql.user u WHERE u.user = ? AND u.host = '%'`, user).Scan(&attribute)
	if errors.Is(err, sql.ErrNoRows) {
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, fmt.Errorf("look for account %s: %w", user, err)
	}
	var all struct {
		Atoll mark `json:"atoll"`
	}
	if attribute.Valid {
		// An attribute that somebody else has written is no mark.
		_ = json.Unmarshal([]byte(attribute.String), &all)
	}
	return all.Atoll, true, nil
}

func (m mark) attribute() (string, error) {
	text, err := json.Marshal(struct {
		Atoll mark `json:"atoll"`
	}{m})
	return string(text), err
}

// execer runs statements, in a pool or in one session.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// quietly runs statements that hold passwords, in a session that is not logged. The server writes hashes into its binary log by
// itself; into the log of slow statements, it writes START GROUP_REPLICATION as it came.
func quietly(ctx context.Context, conn *sql.Conn, run func() error) error {
	// A year is the most that there is.
	if err := inOrder(ctx, conn, "SET SESSION long_query_time = 31536000, sql_log_off = ON"); err != nil {
		return err
	}
	err := run()
	if ctx.Err() != nil {
		// The connection has been closed with the statement.
		return err
	}
	restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), peerPatience)
	defer cancel()
	return errors.Join(err, inOrder(restore, conn, "SET SESSION long_query_time = DEFAULT, sql_log_off = DEFAULT"))
}

// putAccountQuietly is putAccount in a session of its own that is not logged.
func (d *Driver) putAccountQuietly(ctx context.Context, user, password, options string, exists bool, m mark) error {
	conn, err := d.local.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return quietly(ctx, conn, func() error { return putAccount(ctx, conn, user, password, options, exists, m) })
}

// putAccount makes an account or gives it another password.
func putAccount(ctx context.Context, db execer, user, password, options string, exists bool, m mark) error {
	attribute, err := m.attribute()
	if err != nil {
		return err
	}
	verb := "CREATE USER IF NOT EXISTS "
	if exists {
		verb = "ALTER USER "
	}
	_, err = db.ExecContext(ctx, verb+quote(user)+"@'%' IDENTIFIED WITH caching_sha2_password BY "+quote(password)+" "+options+
		" PASSWORD EXPIRE NEVER ACCOUNT UNLOCK ATTRIBUTE "+quote(attribute))
	if err != nil {
		return fmt.Errorf("make account %s: %w", user, scrub(err, password))
	}
	return nil
}

// scrub keeps a password out of an error that quotes a statement.
func scrub(err error, password string) error {
	if password == "" || !strings.Contains(err.Error(), password) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), password, "…"))
}

// replicationPassword is the password of the account that members share. The server takes 32 characters of one for its own use,
// which are 192 random bits here.
func replicationPassword(m *database.Member) string {
	const most = 32
	return m.Secrets.Replication[:min(most, len(m.Secrets.Replication))]
}

// fingerprint identifies a password that nobody can guess.
func fingerprint(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:8])
}

// localAccounts makes the account that members share, without which a server cannot be in a group. Only this server gets it:
// it is not part of the data. In a group it is Maintain that mends it.
func (d *Driver) localAccounts(ctx context.Context, m *database.Member) error {
	want := mark{Password: fingerprint(replicationPassword(m))}
	have, exists, err := readMark(ctx, d.local, replicationUser)
	if err != nil || have == want {
		return err
	}
	if in, err := d.inGroup(ctx); err != nil || in {
		return err
	}
	conn, err := d.local.Conn(ctx)
	if err != nil {
		return fmt.Errorf("reach the local server: %w", err)
	}
	defer func() { _ = conn.Close() }()
	// While the server can be written to, nobody but administrators is let in: what an application wrote here would be this
	// member's alone.
	err = inOrder(ctx, conn, "SET SESSION sql_log_bin = OFF", "SET GLOBAL offline_mode = ON", "SET GLOBAL super_read_only = OFF")
	if err == nil {
		err = quietly(ctx, conn, func() error { return putReplicationAccount(ctx, conn, m, exists, want) })
	}
	restore := context.WithoutCancel(ctx)
	err = errors.Join(err, inOrder(restore, conn, "SET GLOBAL super_read_only = ON", "SET GLOBAL offline_mode = OFF", "SET SESSION sql_log_bin = ON"))
	if err != nil {
		return fmt.Errorf("make the account for members at the local server: %w", err)
	}
	return nil
}

func putReplicationAccount(ctx context.Context, db execer, m *database.Member, exists bool, want mark) error {
	if err := putAccount(ctx, db, replicationUser, replicationPassword(m), "REQUIRE SSL", exists, want); err != nil {
		return err
	}
	return inOrder(ctx, db,
		"GRANT "+replicationGrants+" ON *.* TO "+quote(replicationUser)+"@'%'",
		"GRANT SELECT ON performance_schema.* TO "+quote(replicationUser)+"@'%'",
	)
}

// inOrder runs statements until one fails.
func inOrder(ctx context.Context, db execer, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// silence switches the log of slow statements off: a server that copies everything from another one writes the statement for
// that into it, password and all, if it takes long. It is as configured again when the server has started with the copy.
func (d *Driver) silence(ctx context.Context, conn *sql.Conn) error {
	var on bool
	if err := conn.QueryRowContext(ctx, "SELECT @@GLOBAL.slow_query_log").Scan(&on); err != nil || !on {
		return err
	}
	if err := inOrder(ctx, conn, "SET GLOBAL slow_query_log = OFF"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logOff = true
	return nil
}

// speak switches the log of slow statements on again when it was switched off for a copy that was not needed.
func (d *Driver) speak(ctx context.Context) error {
	d.mu.Lock()
	off := d.logOff
	d.mu.Unlock()
	if !off {
		return nil
	}
	g, err := readGroup(ctx, d.local)
	if err != nil || g.self().state != stateOnline {
		return err
	}
	if err := inOrder(ctx, d.local, "SET GLOBAL slow_query_log = ON"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logOff = false
	return nil
}
