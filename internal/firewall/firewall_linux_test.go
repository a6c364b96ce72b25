package firewall_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/firewall"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// patience is for what takes a moment on a quiet machine.
const patience = 2 * time.Minute

// street is a node and two machines that call it, each with an address of its own.
type street struct {
	t                      *testing.T
	node, friend, stranger *machinetest.Machine
	at, from, strange      netip.Addr
}

const stateDir = "/run/atoll"

func newStreet(t *testing.T) *street {
	t.Helper()
	machinetest.Require(t)
	s := &street{t: t, node: machinetest.New(t, "node"), friend: machinetest.New(t, "friend"), stranger: machinetest.New(t, "stranger")}
	s.at, s.from, s.strange = netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12"), netip.MustParseAddr("192.0.2.13")
	internet := machinetest.NewInternet(t)
	internet.Attach(t, s.node, s.at)
	internet.Attach(t, s.friend, s.from)
	internet.Attach(t, s.stranger, s.strange)
	// The mesh: a pair of interfaces, of which the node's has the mesh's name.
	// In the friend's network but this process's view of process ids.
	command := exec.CommandContext(t.Context(), "nsenter", "--target", strconv.Itoa(s.friend.PID), "--net", "--",
		"ip", "link", "add", firewall.MeshInterface, "type", "veth", "peer", "name", firewall.MeshInterface, "netns", strconv.Itoa(s.node.PID))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("lay the mesh: %v: %s", err, out)
	}
	for m, address := range map[*machinetest.Machine]string{s.node: "10.66.0.1/24", s.friend: "10.66.0.2/24"} {
		m.Run(t, "ip", "address", "add", address, "dev", firewall.MeshInterface)
		m.Run(t, "ip", "link", "set", "dev", firewall.MeshInterface, "up")
	}
	return s
}

// serve answers at TCP ports of the node, at every address, with one byte for each that comes.
func (s *street) serve(ports ...int) {
	s.t.Helper()
	for _, port := range ports {
		listener, err := s.node.Listen(s.t.Context(), fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = conn.Close() }()
					b := make([]byte, 1)
					for {
						if _, err := conn.Read(b); err != nil {
							return
						}
						if _, err := conn.Write(b); err != nil {
							return
						}
					}
				}()
			}
		}()
	}
}

// open tells whether a machine gets a connection. What is filtered is silent, and silence is as long as a lost packet would take
// to be sent again twice.
func (s *street) open(from *machinetest.Machine, addr netip.Addr, port int) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(addr, uint16(port)).String()) //nolint:gosec // a port
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// echo tells whether a connection still carries what is sent.
func echo(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{'x'}); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

// knock wants a port to be open to a machine, or closed.
func (s *street) knock(what string, want bool, from *machinetest.Machine, addr netip.Addr, port int) {
	s.t.Helper()
	if want {
		machinetest.Eventually(s.t, patience, what+" gets in", func(context.Context) bool { return s.open(from, addr, port) })
		return
	}
	if s.open(from, addr, port) {
		s.t.Errorf("%s gets in\n%s", what, s.node.Run(s.t, "nft", "list", "ruleset"))
	}
}

// lets returns a filter with SSH open to networks, or to everybody, and the openings.
func lets(within time.Duration, operators []netip.Prefix, more ...topology.Opening) *topology.HostFirewall {
	ssh := topology.Opening{Protocol: topology.TCP, First: 22, Last: 22, Service: topology.ServiceSSH, Anybody4: operators == nil, Anybody6: operators == nil, From: operators}
	return &topology.HostFirewall{Openings: append([]topology.Opening{ssh}, more...), Operators: operators, ConfirmWithin: within}
}

func tcp(port int, mesh bool, networks ...netip.Prefix) topology.Opening {
	return topology.Opening{
		Protocol: topology.TCP, First: port, Last: port, Service: topology.ServiceApplication, Mesh: mesh,
		Anybody4: networks == nil, Anybody6: networks == nil, From: networks,
	}
}

func (s *street) apply(f *firewall.Firewall, want *topology.HostFirewall, phase firewall.Phase) firewall.State {
	s.t.Helper()
	state, err := f.Apply(s.t.Context(), want)
	if err != nil {
		s.t.Fatal(err)
	}
	if state.Phase != phase {
		s.t.Fatalf("it is %s, want %s", state.Phase, phase)
	}
	return state
}

// confirmed brings a filter on trial and through it.
func (s *street) confirmed(f *firewall.Firewall, want *topology.HostFirewall) {
	s.t.Helper()
	s.apply(f, want, firewall.OnTrial)
	f.Passed(true, time.Now().Add(time.Minute))
	s.apply(f, want, firewall.Enforced)
}

// TestWhoGetsIn loads a filter into a real kernel and knocks at it from three sides.
func TestWhoGetsIn(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.serve(22, 80, 3306, 9999)
	old, err := s.stranger.Dial(t.Context(), "tcp", netip.AddrPortFrom(s.at, 9999).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	if err := echo(old); err != nil {
		t.Fatal(err)
	}
	f := firewall.New(s.node.Sys, stateDir, nil)
	s.confirmed(f, lets(time.Minute, from("192.0.2.12/32"), tcp(80, false), tcp(3306, true, from("10.66.0.2/32")...)))
	inMesh := netip.MustParseAddr("10.66.0.1")
	for _, tt := range []struct {
		who  string
		from *machinetest.Machine
		to   netip.Addr
		port int
		want bool
	}{
		{"the operator at SSH", s.friend, s.at, 22, true},
		{"a stranger at SSH", s.stranger, s.at, 22, false},
		{"a stranger at the application", s.stranger, s.at, 80, true},
		{"a node at the database from outside", s.friend, s.at, 3306, false},
		{"a node at the database over the mesh", s.friend, inMesh, 3306, true},
		{"what is not in the model", s.friend, s.at, 9999, false},
		{"what is not in the model, over the mesh", s.friend, inMesh, 9999, false},
		{"what is for outside, over the mesh", s.friend, inMesh, 80, false},
		{"the node itself", s.node, inMesh, 9999, true},
	} {
		s.knock(tt.who, tt.want, tt.from, tt.to, tt.port)
	}
	if err := echo(old); err != nil {
		t.Errorf("a connection from before has ended: %v", err)
	}
	s.friend.Run(t, "ping", "-c", "1", "-w", "60", s.at.String())
	s.friend.Run(t, "ping", "-c", "1", "-w", "60", inMesh.String())
	before := dropped(t, s, "dropped_public")
	if before == "packets 0 bytes 0" {
		t.Error("nothing was counted")
	}

	// A service more: it opens at once and nothing else changes, the counters go on.
	s.apply(f, lets(time.Minute, from("192.0.2.12/32"), tcp(80, false), tcp(9999, false)), firewall.Enforced)
	s.knock("a new service", true, s.stranger, s.at, 9999)
	s.knock("a service that is gone", false, s.friend, inMesh, 3306)
	if after := dropped(t, s, "dropped_public"); after != before {
		t.Errorf("the counter went from %q to %q", before, after)
	}
	s.node.Sys.TakeChanges()
	s.apply(f, lets(time.Minute, from("192.0.2.12/32"), tcp(80, false), tcp(9999, false)), firewall.Enforced)
	if changes := s.node.Sys.TakeChanges(); len(changes) != 0 {
		t.Errorf("the same again changed %v", changes)
	}

	// Somebody else changes it, or takes it away.
	s.node.Run(t, "nft", "insert", "rule", "inet", "atoll", "input", "accept")
	s.apply(f, lets(time.Minute, from("192.0.2.12/32"), tcp(80, false), tcp(9999, false)), firewall.Enforced)
	s.knock("after a rule of somebody's", false, s.stranger, s.at, 22)
	s.node.Run(t, "nft", "flush", "ruleset")
	s.apply(f, lets(time.Minute, from("192.0.2.12/32"), tcp(80, false), tcp(9999, false)), firewall.Enforced)
	s.knock("after a flush", false, s.stranger, s.at, 22)

	s.apply(f, nil, firewall.Off)
	s.knock("without a filter", true, s.stranger, s.at, 3306)
	if text := s.node.Run(t, "nft", "list", "ruleset"); text != "" {
		t.Errorf("this is left:\n%s", text)
	}
	if names, err := s.node.Sys.ReadDir(stateDir); err != nil || len(names) != 0 {
		t.Errorf("these are left: %v, %v", names, err)
	}
	s.node.Sys.TakeChanges()
	s.apply(f, nil, firewall.Off)
	if changes := s.node.Sys.TakeChanges(); len(changes) != 0 {
		t.Errorf("nothing again changed %v", changes)
	}
}

func dropped(t *testing.T, s *street, name string) string {
	t.Helper()
	text := s.node.Run(t, "nft", "list", "counter", "inet", "atoll", name)
	_, text, _ = strings.Cut(text, "{")
	_, text, _ = strings.Cut(text, "{")
	text, _, _ = strings.Cut(text, "}")
	return strings.TrimSpace(text)
}

// TestNobodyComesThrough locks the operator out and lets the agent die: the kernel goes back by itself, and the same filter is not
// tried again.
func TestNobodyComesThrough(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.serve(22, 80)
	f := firewall.New(s.node.Sys, stateDir, nil)
	right := lets(time.Minute, from("192.0.2.12/32"))
	s.confirmed(f, right)
	wrong := lets(25*time.Second, from("198.51.100.0/24"), tcp(80, false))
	state := s.apply(f, wrong, firewall.OnTrial)
	if !state.Operator || !state.Before {
		t.Errorf("the trial is %+v", state)
	}
	// Another node came through, but it is the operator who is concerned; and somebody whose connection is older than the trial.
	f.Passed(false, time.Now().Add(time.Minute))
	f.Passed(true, time.Now().Add(-time.Minute))
	s.apply(f, wrong, firewall.OnTrial)
	s.knock("the operator on trial", false, s.friend, s.at, 22)
	if f.Trying() != true {
		t.Error("it is not on trial")
	}
	// From here on nobody of the agent's does anything.
	machinetest.Eventually(t, patience, "the operator is let in again", func(context.Context) bool { return s.open(s.friend, s.at, 22) })
	s.knock("a stranger at the old rules", false, s.stranger, s.at, 80)

	// Now the operator calls, through the old rules, before the agent has noticed.
	f.Passed(true, time.Now().Add(time.Minute))
	s.apply(f, wrong, firewall.TakenBack)

	// The agent starts again.
	f = firewall.New(s.node.Sys, stateDir, nil)
	state = s.apply(f, wrong, firewall.TakenBack)
	if !state.Operator || !state.Before || state.Interrupted || state.Since.IsZero() {
		t.Errorf("it is %+v", state)
	}
	s.apply(f, wrong, firewall.TakenBack)
	s.knock("the operator afterwards", true, s.friend, s.at, 22)
	if script, err := s.node.Sys.ReadFile(stateDir + "/firewall.nft"); err != nil || strings.Contains(string(script), "198.51.100.0") {
		t.Errorf("the next boot has %v:\n%s", err, script)
	}
	// What is right is in force at once, and what is new is tried.
	s.apply(f, right, firewall.Enforced)
	s.apply(f, wrong, firewall.OnTrial)
	s.apply(f, right, firewall.Enforced)
	s.knock("the operator who has changed it back", true, s.friend, s.at, 22)
}

// TestMachineRestarts takes the table away while a filter is on trial, as a reboot does: the boot has what was confirmed, and after
// three trials that were cut short the filter counts as taken back.
func TestMachineRestarts(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.serve(22)
	right, wrong := lets(time.Minute, from("192.0.2.12/32")), lets(10*time.Minute, from("198.51.100.0/24"))
	f := firewall.New(s.node.Sys, stateDir, nil)
	s.confirmed(f, right)
	for range 3 {
		s.apply(f, wrong, firewall.OnTrial)
		s.knock("the operator on trial", false, s.friend, s.at, 22)
		// The agent alone dies, and goes on.
		f = firewall.New(s.node.Sys, stateDir, nil)
		s.apply(f, wrong, firewall.OnTrial)
		s.node.Run(t, "nft", "flush", "ruleset")
		if unit, err := s.node.Sys.ReadFile("/etc/systemd/system/" + firewall.UnitName); err != nil || !strings.Contains(string(unit), "ExecStart=nft -f "+stateDir+"/firewall.nft\n") {
			t.Fatalf("the unit is %v:\n%s", err, unit)
		}
		s.node.Run(t, "nft", "-f", stateDir+"/firewall.nft")
		s.knock("the operator after the boot", true, s.friend, s.at, 22)
		s.knock("a stranger after the boot", false, s.stranger, s.at, 22)
		f = firewall.New(s.node.Sys, stateDir, nil)
	}
	if state := s.apply(f, wrong, firewall.TakenBack); !state.Interrupted {
		t.Errorf("it is %+v", state)
	}
	s.knock("the operator afterwards", true, s.friend, s.at, 22)
}

// TestNobodyElse has a node that is alone: what concerns other nodes only needs nobody, what concerns the operator does.
func TestNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	alone := func(operators []netip.Prefix) *topology.HostFirewall {
		f := lets(time.Minute, operators)
		f.Alone = true
		return f
	}
	f := firewall.New(s.node.Sys, stateDir, nil)
	s.apply(f, alone(nil), firewall.Enforced)
	api := tcp(7443, false, from("192.0.2.12/32")...)
	api.Service = topology.ServiceAPI
	s.apply(f, lets(time.Minute, nil, api), firewall.Enforced)
	s.apply(f, alone(nil), firewall.Enforced)
	s.apply(f, alone(from("192.0.2.12/32")), firewall.OnTrial)
	f.Passed(false, time.Now().Add(time.Minute))
	s.apply(f, alone(from("192.0.2.12/32")), firewall.OnTrial)
	f.Passed(true, time.Now().Add(time.Minute))
	s.apply(f, alone(from("192.0.2.12/32")), firewall.Enforced)
}

// TestNodesConfirm has changes that concern other nodes alone: any of them may come through, and what none did is tried again later.
func TestNodesConfirm(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	now := time.Now()
	f := firewall.New(s.node.Sys, stateDir, func() time.Time { return now })
	api := func(nodes ...string) topology.Opening {
		o := tcp(7443, false, from(nodes...)...)
		o.Service = topology.ServiceAPI
		return o
	}
	two, one := lets(15*time.Second, nil, api("192.0.2.12/32", "192.0.2.13/32")), lets(15*time.Second, nil, api("192.0.2.12/32"))
	if state := s.apply(f, two, firewall.OnTrial); state.Operator || state.Before {
		t.Errorf("the first trial is %+v", state)
	}
	f.Passed(false, time.Now().Add(time.Minute))
	s.apply(f, two, firewall.Enforced)
	s.apply(f, one, firewall.OnTrial)
	machinetest.Eventually(t, patience, "the trial is over", func(ctx context.Context) bool {
		state, err := f.Apply(ctx, one)
		return err == nil && state.Phase == firewall.TakenBack
	})
	now = now.Add(9 * time.Minute)
	s.apply(f, one, firewall.TakenBack)
	now = now.Add(2 * time.Minute)
	s.apply(f, one, firewall.OnTrial)
	f.Passed(false, time.Now().Add(time.Minute))
	s.apply(f, one, firewall.Enforced)
	if diff := cmp.Diff(true, strings.Contains(s.node.Run(t, "nft", "list", "table", "inet", "atoll"), "192.0.2.12 tcp dport 7443")); diff != "" {
		t.Error("the new filter does not hold")
	}
}
