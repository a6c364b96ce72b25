package tunnel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/linkstate"
)

const (
	// lookEvery is how often the program looks whether a neighbour has fallen silent.
	lookEvery = 50 * time.Millisecond
	// repairEvery is how often it looks whether somebody has changed the interface.
	repairEvery = 5 * time.Second
	// A neighbour that knows something else is told everything, at first at once, then with pauses up to pushPause.
	pushPause = 2 * time.Second
)

// helloInterval is how often a node says hello to each of so many peers: ten times a second to up to 10, then less often,
// so that hellos never take more than 13 KB/s each way. A hello takes 128 bytes with all headers over IPv4.
func helloInterval(peers int) time.Duration {
	return 100 * time.Millisecond * time.Duration(max(peers, 10)) / 10
}

// engine is the program while it runs. One goroutine has it.
type engine struct {
	o       Options
	iface   *iface
	config  Config
	private wgtypes.Key
	state   State

	table     *linkstate.Table
	neighbors map[netip.Addr]*neighbor
	interval  time.Duration
	volleys   linkstate.Volleys
	conn      *net.UDPConn
	packets   chan packet
	ways      map[netip.Addr]netip.Addr

	nextHello, nextRepair, nextAlive, looked time.Time
}

type neighbor struct {
	linkstate.Neighbor
	// session and seq are of the hellos to it.
	session, seq uint32

	peer   Peer
	caller caller
	heard  time.Time
	// known is when the neighbour was first called.
	known  time.Time
	pushed time.Time
	pause  time.Duration
}

type packet struct {
	from    netip.Addr
	message linkstate.Message
	at      time.Time
}

// Run runs the tunnel until ctx ends. SIGHUP makes it read its configuration again. It needs CAP_NET_ADMIN.
func Run(ctx context.Context, o Options) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	defer signal.Stop(hup)
	config, digest, err := readConfig(o.ConfigPath)
	if err != nil {
		return err
	}
	private, err := readKey(o.KeyPath)
	if err != nil {
		return err
	}
	e := &engine{
		o: o, private: private,
		neighbors: map[netip.Addr]*neighbor{}, packets: make(chan packet, 1024),
	}
	e.table = linkstate.NewTable(config.Address.Addr(), uint64(time.Now().UnixMicro())) //nolint:gosec // positive since 1970
	if e.iface, err = openInterface(config.Interface, config.MTU, o.Log); err != nil {
		return err
	}
	e.state.Kernel = e.iface.kernel
	defer func() {
		if e.conn != nil {
			_ = e.conn.Close()
		}
		if err := e.iface.close(); err != nil {
			o.Log.Warn("the interface was not closed in order", "error", err)
		}
	}()
	if err := e.adopt(config); err != nil {
		return err
	}
	e.state.Read = digest
	e.writeState()
	if o.Ready != nil {
		o.Ready()
	}
	return e.loop(ctx, hup)
}

func (e *engine) loop(ctx context.Context, hup <-chan os.Signal) error {
	every := lookEvery
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if pace := e.pace(); pace != every {
			every = pace
			tick.Reset(every)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.iface.lost():
			return fmt.Errorf("interface %s was taken away", e.config.Interface)
		case <-hup:
			e.reload()
		case p := <-e.packets:
			e.take(p)
		case <-tick.C:
			e.look(time.Now())
		}
	}
}

// reload reads the configuration again and applies it. One that does not hold is refused, and the old one stays.
func (e *engine) reload() {
	config, digest, err := readConfig(e.o.ConfigPath)
	if err == nil {
		e.private, err = readKey(e.o.KeyPath)
	}
	if err == nil && config.Interface != e.config.Interface {
		err = errors.New("the interface's name cannot change while it runs")
	}
	if err == nil {
		err = e.adopt(config)
	}
	e.state.Read, e.state.Problem = digest, ""
	e.state.Repairs++
	if err != nil {
		e.state.Problem = err.Error()
		e.o.Log.Error("the configuration is refused", "error", err)
	}
	e.writeState()
}

// adopt makes everything as a configuration says.
func (e *engine) adopt(c Config) error {
	moved := e.config.Address != c.Address
	if e.config.Address.IsValid() && moved {
		e.table = linkstate.NewTable(c.Address.Addr(), uint64(time.Now().UnixMicro())) //nolint:gosec // positive since 1970
	}
	e.config, e.interval = c, helloInterval(len(c.Peers))
	now := time.Now()
	var members []netip.Addr
	move := map[netip.Addr]netip.AddrPort{}
	for _, p := range c.Peers {
		members = append(members, p.MeshAddress)
		n := e.neighbors[p.MeshAddress]
		if n == nil || !n.is(p) {
			n = &neighbor{session: rand.Uint32(), known: now} //nolint:gosec // tells runs apart, keeps no secret
			e.neighbors[p.MeshAddress] = n
		}
		n.peer = p
		if !slices.Equal(n.caller.candidates, p.Endpoints) {
			n.caller = caller{candidates: p.Endpoints}
			if len(p.Endpoints) > 0 {
				move[p.MeshAddress] = n.caller.take(now)
			}
		}
	}
	maps.DeleteFunc(e.neighbors, func(a netip.Addr, _ *neighbor) bool { return !slices.Contains(members, a) })
	e.table.SetMembers(members)
	e.hear(now)
	e.ways = e.table.Routes()
	if err := e.iface.setPeers(c, e.private, e.ways, move); err != nil {
		return err
	}
	if err := setNetwork(c, e.ways); err != nil {
		return err
	}
	if e.conn == nil || moved {
		if err := e.listen(); err != nil {
			return err
		}
	}
	e.state.Routes = e.routes()
	e.nextHello, e.nextRepair = now, now.Add(repairEvery)
	return nil
}

// listen opens the socket of hellos and reads it in a goroutine, which ends with the socket.
func (e *engine) listen() error {
	if e.conn != nil {
		_ = e.conn.Close()
	}
	own := netip.AddrPortFrom(linkAddress(e.config.Address.Addr()).WithZone(e.config.Interface), HelloPort)
	conn, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(own))
	if err != nil {
		return fmt.Errorf("listen for hellos: %w", err)
	}
	e.conn = conn
	go func() {
		buffer := make([]byte, 1<<12)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				// The interface is away for a moment; an error that stays must not spin.
				time.Sleep(lookEvery)
				continue
			}
			if message, err := linkstate.Parse(buffer[:size]); err == nil && from.Port() == HelloPort {
				e.packets <- packet{from: nodeOf(from.Addr()), message: message, at: time.Now()}
			}
		}
	}()
	return nil
}

// take takes a message in. Who sent it is certain: the interface takes a link-local address from its own peer only.
func (e *engine) take(p packet) {
	n := e.neighbors[p.from]
	if n == nil {
		return
	}
	if h := p.message.Hello; h != nil {
		n.Heard(h.Session, h.Seq, e.interval, p.at)
		n.heard = p.at
		if n.Doubt(p.at) {
			e.send(p.from, linkstate.EncodeMore())
		}
		e.compare(p.from, n, h.Digest, p.at)
		return
	}
	if p.message.More {
		e.volleys.Asked(p.from, p.at)
		return
	}
	var news []linkstate.Advert
	for _, a := range p.message.Adverts {
		if e.table.Merge(a) {
			news = append(news, a)
		}
	}
	if len(news) > 0 {
		e.flood(news, p.from)
		e.reroute()
	}
}

// compare tells a neighbour everything if it knows something else.
func (e *engine) compare(to netip.Addr, n *neighbor, digest uint64, now time.Time) {
	if digest == e.table.Digest() {
		n.pause = 0
		return
	}
	if now.Sub(n.pushed) < n.pause {
		return
	}
	n.pushed, n.pause = now, min(pushPause, max(e.interval, 2*n.pause))
	for _, m := range linkstate.EncodeAdverts(e.table.Adverts()) {
		e.send(to, m)
	}
}

// flood tells everybody but one.
func (e *engine) flood(adverts []linkstate.Advert, but netip.Addr) {
	for _, m := range linkstate.EncodeAdverts(adverts) {
		for _, p := range e.config.Peers {
			if p.MeshAddress != but {
				e.send(p.MeshAddress, m)
			}
		}
	}
}

// send sends a message the direct way. One that is lost is made up for by hellos.
func (e *engine) send(to netip.Addr, message []byte) {
	address := netip.AddrPortFrom(linkAddress(to).WithZone(e.config.Interface), HelloPort)
	_, _ = e.conn.WriteToUDPAddrPort(message, address)
}

// look does what is due.
func (e *engine) look(now time.Time) {
	e.drain()
	if late := now.Sub(e.looked) - lookEvery; !e.looked.IsZero() && late > e.interval/2 {
		// This process was not allowed to run, and has not heard what was said meanwhile.
		for _, n := range e.neighbors {
			n.Excuse(late)
		}
	}
	e.looked = now
	if !now.Before(e.nextHello) {
		if e.nextHello = e.nextHello.Add(e.interval); e.nextHello.Before(now) {
			e.nextHello = now.Add(e.interval)
		}
		digest := e.table.Digest()
		for _, p := range e.config.Peers {
			if n := e.neighbors[p.MeshAddress]; n == nil || n.speakTo(now, p.MeshAddress.Less(e.config.Address.Addr())) {
				e.hello(p.MeshAddress, digest)
			}
		}
	}
	if to, due := e.volleys.Due(now); due {
		e.hello(to, e.table.Digest())
	}
	if e.hear(now) {
		e.reroute()
	}
	move := map[netip.Addr]netip.AddrPort{}
	for a, n := range e.neighbors {
		if place, due := n.caller.due(n.heard, now); due {
			move[a] = place
		}
	}
	e.repair(now, move)
	if e.o.Alive != nil && !now.Before(e.nextAlive) {
		e.nextAlive = now.Add(time.Second)
		e.o.Alive()
	}
}

// repair makes the interface as it should be, from time to time and when places are to be tried, and its peers all the time while
// some node changes its key.
func (e *engine) repair(now time.Time, move map[netip.Addr]netip.AddrPort) {
	due := len(move) > 0 || !now.Before(e.nextRepair)
	if !due && !e.config.changes() {
		return
	}
	err := e.iface.setPeers(e.config, e.private, e.ways, move)
	if due {
		e.nextRepair = now.Add(repairEvery)
		err = errors.Join(setNetwork(e.config, e.ways), err)
	}
	if err != nil {
		e.o.Log.Warn("the interface is not as it should be", "error", err)
	}
}

// hello says hello to a neighbour. Its numbers are its own, since some get more hellos than others.
func (e *engine) hello(to netip.Addr, digest uint64) {
	if n := e.neighbors[to]; n != nil {
		n.seq++
		e.send(to, linkstate.Hello{Session: n.session, Seq: n.seq, Digest: digest}.Encode())
	}
}

// pace is how often the program looks.
func (e *engine) pace() time.Duration {
	if e.volleys.Going() {
		return linkstate.VolleyEvery
	}
	return lookEvery
}

// drain takes in everything that has come, before anybody is judged by his silence.
func (e *engine) drain() {
	for {
		select {
		case p := <-e.packets:
			e.take(p)
		default:
			return
		}
	}
}

// hear brings the node's own advert up to date, and tells everybody if it changed.
func (e *engine) hear(now time.Time) bool {
	var links []linkstate.Link
	for a, n := range e.neighbors {
		if cost, ok := n.Cost(e.interval, now); ok {
			links = append(links, linkstate.Link{From: a, Cost: cost})
		}
	}
	if !e.table.Hear(links) {
		return false
	}
	if e.conn != nil {
		e.flood([]linkstate.Advert{e.table.Own()}, netip.Addr{})
	}
	return true
}

// reroute makes packets go as the table says.
func (e *engine) reroute() {
	ways := e.table.Routes()
	if maps.Equal(ways, e.ways) {
		return
	}
	if err := e.iface.setPeers(e.config, e.private, ways, nil); err != nil {
		// What is not done now is done with the next change, or at the next repair.
		e.o.Log.Warn("packets could not be sent another way", "error", err)
		return
	}
	e.ways = ways
	if err := fitRoutes(e.config, ways); err != nil {
		e.o.Log.Warn("packets may be too large for another way", "error", err) // until the next repair
	}
	routes := e.routes()
	e.o.Log.Info("ways changed", "ways", routes)
	e.state.Routes = routes
	e.writeState()
}

// routes returns the ways by name.
func (e *engine) routes() map[string]string {
	names := map[netip.Addr]string{}
	for _, p := range e.config.Peers {
		names[p.MeshAddress] = p.Name
	}
	out := map[string]string{}
	for to, by := range e.ways {
		out[names[to]] = names[by]
	}
	return out
}

// writeState replaces the state file at once.
func (e *engine) writeState() {
	if err := replaceFile(e.o.StatePath, e.state); err != nil {
		e.o.Log.Error("the tunnel's state cannot be written", "error", err, "directory", filepath.Dir(e.o.StatePath))
	}
}
