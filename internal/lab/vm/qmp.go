//go:build linux

package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// errMonitorClosed means that QEMU is gone, and with it everything that could be asked of it.
var errMonitorClosed = errors.New("QEMU has closed its monitor")

// CommandError is QEMU's refusal of a command.
type CommandError struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

// Error names the command and QEMU's reason.
func (e *CommandError) Error() string { return fmt.Sprintf("QEMU refuses %s: %s", e.Command, e.Desc) }

// event is something that QEMU tells without being asked.
type event struct {
	Name string
	Data json.RawMessage
}

// monitor speaks the QEMU Machine Protocol (https://www.qemu.org/docs/master/interop/qmp-spec.html) on one connection.
// It is safe for concurrent use.
type monitor struct {
	conn    net.Conn
	replies chan reply
	closed  chan struct{} // closed when nothing can arrive any more

	mu sync.Mutex // held from a command to its reply
	id uint64
}

type reply struct {
	ID     uint64          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *CommandError   `json:"error"`
}

// dialMonitor connects to QEMU's socket and makes it accept commands. happened is called for each event, one after
// another, until the monitor is closed.
func dialMonitor(ctx context.Context, socket string, happened func(event)) (*monitor, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU: %w", err)
	}
	m := &monitor{conn: conn, replies: make(chan reply, 1), closed: make(chan struct{})}
	go m.listen(happened)
	if err := m.run(ctx, "qmp_capabilities", nil); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// listen reads whatever arrives: the greeting, events, and replies, each a line.
func (m *monitor) listen(happened func(event)) {
	defer close(m.closed)
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said struct {
			reply
			Event string          `json:"event"`
			Data  json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			continue // not for us: QMP is extensible
		}
		switch {
		case said.Event != "":
			happened(event{Name: said.Event, Data: said.Data})
		case said.Return != nil || said.Error != nil:
			// Never full for long: at most one command waits, and it drops what is not its own.
			select {
			case m.replies <- said.reply:
			case <-time.After(time.Second):
			}
		}
	}
}

// run executes a command. Nothing that the lab asks for returns anything of interest.
func (m *monitor) run(ctx context.Context, command string, arguments map[string]any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id++
	request, err := json.Marshal(struct {
		Execute   string         `json:"execute"`
		Arguments map[string]any `json:"arguments,omitempty"`
		ID        uint64         `json:"id"`
	}{command, arguments, m.id})
	if err != nil {
		return fmt.Errorf("ask QEMU: %w", err)
	}
	if _, err := m.conn.Write(append(request, '\n')); err != nil {
		return fmt.Errorf("ask QEMU: %w: %w", errMonitorClosed, err)
	}
	for {
		select {
		case r := <-m.replies:
			if r.ID != m.id {
				continue // to a command that nobody waited for
			}
			if r.Error != nil {
				r.Error.Command = command
				return r.Error
			}
			return nil
		case <-m.closed:
			return errMonitorClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for QEMU's answer to %s: %w", command, ctx.Err())
		}
	}
}

// close hangs up and waits until no event is delivered any more.
func (m *monitor) close() error {
	err := m.conn.Close()
	<-m.closed
	return err
}
