package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// askPatience bounds one command, which HAProxy answers from memory.
const askPatience = time.Second

// ask sends a command to a database's HAProxy and returns the answer (HAProxy's management guide, "Unix Socket commands").
func (d *Driver) ask(ctx context.Context, database, command string) (_ string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	conn, err := d.dial(ctx, "unix", socketPath(database))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return strings.TrimSpace(string(answer)), err
}

// runningMark returns what a database's HAProxy says of its configuration, "" when none runs.
func (d *Driver) runningMark(ctx context.Context, database string) string {
	out, err := d.ask(ctx, database, "show info")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, "description") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// runningServers returns what a database's HAProxy knows of its servers, without what it asks them.
func (d *Driver) runningServers(ctx context.Context, database string) ([]server, error) {
	out, err := d.ask(ctx, database, "show servers state")
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy for its servers: %w", err)
	}
	var columns []string
	var servers []server
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "#" {
			columns = fields[1:]
			continue
		}
		if len(fields) < len(columns) || len(columns) == 0 {
			continue
		}
		value := func(column string) string {
			if i := slices.Index(columns, column); i >= 0 {
				return fields[i]
			}
			return ""
		}
		join := func(host, port string) string {
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			return host + ":" + port
		}
		servers = append(servers, server{
			backend: value("be_name"), name: value("srv_name"), address: join(value("srv_addr"), value("srv_port")),
			check: join(value("srv_agent_addr"), value("srv_agent_port")),
		})
	}
	return servers, nil
}

// syncServers makes the servers of a running HAProxy those of a configuration, without a word to the connections of others.
func (d *Driver) syncServers(ctx context.Context, database string, want []server) error {
	have, err := d.runningServers(ctx, database)
	if err != nil {
		return err
	}
	same := func(a server) func(server) bool {
		return func(b server) bool {
			return a.backend == b.backend && a.name == b.name && a.address == b.address && a.check == b.check
		}
	}
	for _, s := range have {
		if !slices.ContainsFunc(want, same(s)) {
			if err := d.removeServer(ctx, database, s); err != nil {
				return err
			}
		}
	}
	for _, s := range want {
		if !slices.ContainsFunc(have, same(s)) {
			if err := d.addServer(ctx, database, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// command is one whose answer must have one of these texts, "" for none at all.
func (d *Driver) command(ctx context.Context, database, command string, good ...string) error {
	answer, err := d.ask(ctx, database, command)
	if err != nil {
		return fmt.Errorf("tell HAProxy to %s: %w", command, err)
	}
	for _, text := range good {
		if answer == "" || text != "" && strings.Contains(answer, text) {
			return nil
		}
	}
	if answer == "" {
		return nil
	}
	return fmt.Errorf("tell HAProxy to %s: it answers %q", command, answer)
}

// addServer lets a server in. It is disabled until its agent has answered.
func (d *Driver) addServer(ctx context.Context, database string, s server) error {
	at := s.backend + "/" + s.name
	if err := d.command(ctx, database, "add server "+at+" "+s.address+" "+s.options(database), "New server registered"); err != nil {
		return err
	}
	for _, command := range []string{"enable health ", "enable agent "} {
		if err := d.command(ctx, database, command+at); err != nil {
			return err
		}
	}
	return nil
}

// removeServer cuts a server's connections and removes it. HAProxy does so only when the last of them has ended.
func (d *Driver) removeServer(ctx context.Context, database string, s server) error {
	at := s.backend + "/" + s.name
	for _, command := range []string{"disable agent ", "disable health ", "disable server "} {
		if err := d.command(ctx, database, command+at); err != nil {
			return err
		}
	}
	var err error
	gone := d.waitFor(ctx, removePatience, func(ctx context.Context) bool {
		if err = d.command(ctx, database, "shutdown sessions server "+at); err != nil {
			return false
		}
		err = d.command(ctx, database, "del server "+at, "Server deleted")
		return err == nil
	})
	if !gone {
		return err
	}
	return nil
}

// removePatience is how long a server's connections may take to end once they are cut.
const removePatience = 3 * time.Second
