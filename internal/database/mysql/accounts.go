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

// putAccount makes an account or gives it another password. The server keeps passwords out of its logs, in all of which it
// writes such a statement with the password's hash.
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
		err = putReplicationAccount(ctx, conn, m, exists, want)
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
