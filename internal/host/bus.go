package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// bus asks the systemd of this machine by its private socket, which needs no D-Bus daemon: a process for each look at a
// unit was most of what an idle agent used. Its zero value is ready; it is safe for concurrent use.
type bus struct {
	// off is for machines whose systemd is not this one's.
	off bool

	mu   sync.Mutex
	conn *dbus.Conn
}

// busTimeout bounds one answer of systemd's.
const busTimeout = 5 * time.Second

// status returns a unit as it is. Any error means that it is not known this way.
func (b *bus) status(ctx context.Context, name string) (UnitStatus, error) {
	if b == nil || b.off {
		return UnitStatus{}, errors.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	st, err := b.ask(ctx, name)
	if err != nil && b.conn != nil {
		// systemd closes the connection when it starts itself anew.
		b.conn.Close()
		b.conn = nil
	}
	return st, err
}

func (b *bus) ask(ctx context.Context, name string) (UnitStatus, error) {
	if b.conn == nil {
		// The connection outlives the question, so the question's context must not end it.
		conn, err := dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
		if err != nil {
			return UnitStatus{}, err
		}
		b.conn = conn
	}
	unit, err := b.conn.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return UnitStatus{}, err
	}
	st := UnitStatus{
		Exists: property[string](unit, "LoadState") != "not-found", Enabled: property[string](unit, "UnitFileState") == "enabled",
		State: property[string](unit, "ActiveState"), Stale: property[bool](unit, "NeedDaemonReload"),
	}
	if st.State == "" {
		return UnitStatus{}, errors.New("systemd does not tell the state of " + name)
	}
	if st.Active = st.State == "active" || st.State == "reloading"; !st.Active {
		return st, nil
	}
	if micros := property[uint64](unit, "ActiveEnterTimestamp"); micros > 0 {
		st.Since = time.UnixMicro(int64(micros)).Truncate(time.Second) //nolint:gosec // a date
	}
	pid, err := b.conn.GetServicePropertyContext(ctx, name, "MainPID")
	if err != nil {
		return UnitStatus{}, err
	}
	if number, ok := pid.Value.Value().(uint32); ok {
		st.MainPID = int(number)
	}
	return st, nil
}

// property returns a property of a unit, its zero value when there is none of that type.
func property[T any](unit map[string]any, name string) T {
	value, _ := unit[name].(T)
	return value
}
