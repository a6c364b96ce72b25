package demo

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// NotesPath takes a note by POST, in the form value "text", and shows the last ones by GET. It is there when App.Notes is.
const NotesPath = "/notes"

// What notes are kept in: the reference topology's database, by way of the router on the application's own node.
const (
	notesAddress = "127.0.0.1:6446"
	notesUser    = "app"
	notesSchema  = "app"
	longestNote  = 200
	lastNotes    = 5
)

// notesPatience bounds what one request waits for the database. A failover takes some seconds: whoever comes at its beginning is
// told to come again.
const notesPatience = 4 * time.Second

// Notes keeps notes in a database. Its methods may be called from several goroutines.
type Notes struct{ db *sql.DB }

// OpenNotes returns the notes in the database on this node, which is connected to when it is needed. The password is not logged.
func OpenNotes(password string) (*Notes, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", notesAddress, notesUser, password, notesSchema
	c.Timeout = time.Second
	c.TLSConfig = "preferred" // whose certificate it is does not matter on loopback
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("open the notes: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(20)
	// A connection does not outlive a failover for long without being used.
	db.SetConnMaxIdleTime(30 * time.Second)
	return &Notes{db: db}, nil
}

// Close ends the connections.
func (n *Notes) Close() error { return n.db.Close() }

// add writes a note and returns its number. The table is made when it is not there.
func (n *Notes) add(ctx context.Context, node, text string) (int64, error) {
	const table = `CREATE TABLE IF NOT EXISTS notes (
  id BIGINT AUTO_INCREMENT PRIMARY KEY, node VARCHAR(64) NOT NULL, text VARCHAR(200) NOT NULL, written TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)`
	if _, err := n.db.ExecContext(ctx, table); err != nil {
		return 0, err
	}
	result, err := n.db.ExecContext(ctx, `INSERT INTO notes (node, text) VALUES (?, ?)`, node, text)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// last returns the newest notes, one a line, and how many there are.
func (n *Notes) last(ctx context.Context) (lines string, total int, err error) {
	rows, err := n.db.QueryContext(ctx, `SELECT id, node, text, (SELECT COUNT(*) FROM notes) FROM notes ORDER BY id DESC LIMIT ?`, lastNotes)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = rows.Close() }()
	var b strings.Builder
	for rows.Next() {
		var id int64
		var node, text string
		if err := rows.Scan(&id, &node, &text, &total); err != nil {
			return "", 0, err
		}
		fmt.Fprintf(&b, "\n%d %s, by way of %s", id, text, node)
	}
	return b.String(), total, rows.Err()
}

// write takes a note. It answers when the note is in the database for good.
func (a *App) write(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	text := strings.TrimSpace(r.FormValue("text"))
	if text == "" || len(text) > longestNote {
		http.Error(w, fmt.Sprintf("text: a note of 1 to %d bytes", longestNote), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), notesPatience)
	defer cancel()
	id, err := a.Notes.add(ctx, a.Node, text)
	if err != nil {
		http.Error(w, "the note may not be written: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	a.say(w, "note %d is written", id)
}

func (a *App) read(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), notesPatience)
	defer cancel()
	lines, total, err := a.Notes.last(ctx)
	if err != nil {
		http.Error(w, "the notes cannot be read: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	a.say(w, "%d notes%s", total, lines)
}
