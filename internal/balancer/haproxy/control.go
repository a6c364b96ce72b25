package haproxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// askPatience bounds one question to HAProxy, which answers from memory.
const askPatience = 2 * time.Second

// ask sends a command to one of HAProxy's sockets and returns the answer (HAProxy's management guide, "Unix Socket commands").
func (d *Driver) ask(ctx context.Context, socket, command string, patience time.Duration) (_ []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := d.dial(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSilent, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// errSilent says that nobody is at a socket.
var errSilent = errors.New("HAProxy does not answer")

// refusal begins what the first process answers when the new configuration did not work out; what HAProxy said follows. HAProxy
// 2.6 answers nothing, later ones do when it is over.
const refusal = "Success=0"

// tellMaster makes the first process read the configuration again. A signal would do the same but is lost when it comes while the
// process is still busy with the one before; a command waits until it is heard.
func (d *Driver) tellMaster(ctx context.Context) error {
	var answer []byte
	var err error
	heard := d.waitFor(ctx, min(d.settle, startPatience), func(context.Context) bool {
		answer, err = d.ask(ctx, masterPath, "reload", d.settle)
		return !errors.Is(err, errSilent) // it is away for a moment while it replaces itself
	})
	if !heard {
		return err
	}
	if rest, refused := strings.CutPrefix(strings.TrimSpace(string(answer)), refusal); refused {
		words := strings.Join(strings.FieldsFunc(rest, func(r rune) bool { return r == '\n' }), " / ")
		return fmt.Errorf("HAProxy cannot serve its new configuration: %s", strings.TrimPrefix(words, "-- / "))
	}
	// How else the connection ended says nothing: that process has just replaced itself.
	return nil
}

// runningMark returns what the running HAProxy says of its configuration, "" when none runs.
func (d *Driver) runningMark(ctx context.Context) string {
	out, err := d.ask(ctx, socketPath, "show info", askPatience)
	if err != nil {
		return "" // it does not run, or it is just being replaced
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.EqualFold(key, "description") {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// unknownServer begins the answer to a command about a backend or server that is not in the configuration.
const unknownServer = "No such "

// hangUp ends a conversation with the first process, which takes one command after another until it is told that there is none any
// more.
const hangUp = "\nquit"

// Release implements balancer.Driver. Workers that have been replaced hold what they had begun, so they are told as well.
func (d *Driver) Release(ctx context.Context, hostname, node string) error {
	fail := func(err error) error { return fmt.Errorf("end requests at %s: %w", node, err) }
	backends := []string{backendPrefix + hostname, resortPrefix + hostname}
	for _, backend := range backends {
		answer, err := d.ask(ctx, socketPath, "shutdown sessions server "+backend+"/"+node, askPatience)
		text := strings.TrimSpace(string(answer))
		switch {
		case errors.Is(err, errSilent): // whatever does not run has no requests
		case err != nil:
			return fail(err)
		case text != "" && !strings.HasPrefix(text, unknownServer):
			return fail(fmt.Errorf("HAProxy says %q", text))
		}
	}
	old, err := d.oldWorkers(ctx)
	if err != nil && !errors.Is(err, errSilent) {
		return fail(err)
	}
	for _, pid := range old {
		if err := d.releaseOld(ctx, pid, backends, node); err != nil {
			return fail(err)
		}
	}
	return nil
}

// releaseOld is Release for one worker that has been replaced. That takes no commands for servers any more, but for sessions (HAProxy's
// management guide, "show sess", "shutdown session"). One that has ended meanwhile has nothing to end.
func (d *Driver) releaseOld(ctx context.Context, pid string, backends []string, node string) error {
	out, err := d.ask(ctx, masterPath, "@!"+pid+" show sess"+hangUp, askPatience)
	if err != nil {
		return err
	}
	var commands []string
	for line := range strings.Lines(string(out)) {
		id, rest, _ := strings.Cut(line, ": ")
		fields := strings.Fields(rest)
		at := slices.ContainsFunc(backends, func(b string) bool { return slices.Contains(fields, "be="+b) })
		if at && slices.Contains(fields, "srv="+node) {
			commands = append(commands, "@!"+pid+" shutdown session "+id)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	_, err = d.ask(ctx, masterPath, strings.Join(commands, "\n")+hangUp, askPatience)
	return err
}

// oldWorkers returns the process ids of the workers that end with their last connection (HAProxy's management guide, "show proc").
func (d *Driver) oldWorkers(ctx context.Context) ([]string, error) {
	out, err := d.ask(ctx, masterPath, "show proc"+hangUp, askPatience)
	if err != nil {
		return nil, err
	}
	var pids []string
	old := false
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "#"):
			old = strings.HasPrefix(line, "# old workers")
		case old && len(fields) > 1 && fields[1] == "worker":
			pids = append(pids, fields[0])
		}
	}
	return pids, nil
}

// timedOut ends what the last check of a server came to when it got no answer in time, at whatever layer: L4TOUT, L6TOUT, L7TOUT
// (HAProxy's management guide, "CSV format", check_status).
const timedOut = "TOUT"

// Status implements balancer.Driver.
func (d *Driver) Status(ctx context.Context) (balancer.Status, error) {
	d.mu.Lock()
	mark := d.mark
	d.mu.Unlock()
	out := balancer.Status{Services: map[string]map[string]bool{}, Hanging: map[string][]string{}}
	running := d.runningMark(ctx)
	if running == "" {
		return out, nil
	}
	out.Running = running == mark
	text, err := d.ask(ctx, socketPath, "show stat -1 4 -1", askPatience)
	if err != nil {
		return out, fmt.Errorf("ask the proxy for its servers: %w", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(bytes.TrimSpace(text), []byte("# ")))).ReadAll()
	if err != nil || len(rows) == 0 {
		return out, fmt.Errorf("read what the proxy says of its servers: %w", err)
	}
	proxy, server := slices.Index(rows[0], "pxname"), slices.Index(rows[0], "svname")
	status, check := slices.Index(rows[0], "status"), slices.Index(rows[0], "check_status")
	if min(proxy, server, status, check) < 0 {
		return out, fmt.Errorf("read what the proxy says of its servers: no columns pxname, svname, status and check_status in %q", rows[0])
	}
	for _, row := range rows[1:] {
		hostname, ours := strings.CutPrefix(row[proxy], backendPrefix)
		if !ours {
			continue
		}
		if out.Services[hostname] == nil {
			out.Services[hostname] = map[string]bool{}
		}
		well := strings.HasPrefix(row[status], "UP")
		out.Services[hostname][row[server]] = well
		if !well && strings.HasSuffix(row[check], timedOut) {
			out.Hanging[hostname] = append(out.Hanging[hostname], row[server])
		}
	}
	return out, nil
}

var bindLine = regexp.MustCompile(`(?m)^\tbind \*:(\d+)`)

// takenPorts returns the ports of a configuration that another program listens on, and an error that names them.
//
// HAProxy is not to find out by itself: while it tries for two seconds to get a port that it does not have, it lets go of all
// its others.
func (d *Driver) takenPorts(ctx context.Context, want config, old string, running bool) ([]int, error) {
	fresh := slices.Clone(want.ports)
	if running {
		for _, m := range bindLine.FindAllStringSubmatch(old, -1) {
			if port, err := strconv.Atoi(m[1]); err == nil {
				fresh = slices.DeleteFunc(fresh, func(p int) bool { return p == port })
			}
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	out, err := d.sys.Run(ctx, host.Command{Name: "ss", Args: []string{"-H", "-l", "-t", "-n"}, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("look for programs that have the proxy's ports: %w", err)
	}
	taken := map[int]string{}
	for line := range strings.Lines(string(out.Stdout)) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		port, err := strconv.Atoi(fields[3][strings.LastIndex(fields[3], ":")+1:])
		if err == nil && slices.Contains(fresh, port) {
			taken[port] = fields[3]
		}
	}
	if len(taken) == 0 {
		return nil, nil
	}
	return slices.Sorted(maps.Keys(taken)), &balancer.PortsTakenError{At: taken}
}
