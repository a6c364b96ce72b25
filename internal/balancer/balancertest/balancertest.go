package balancertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/balancer"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

// Run runs every conformance test. Unit is the service that the driver keeps.
func Run(t *testing.T, newDriver NewDriver, unit string) {
	machinetest.Require(t)
	s := &suite{world: newWorld(t), newDriver: newDriver, unit: unit}
	s.driver = newDriver(t, s.hk.Machine)
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"NothingYet", s.nothingYet},
		{"Serves", s.serves},
		{"Idempotent", s.idempotent},
		{"SharedPort", s.sharedPort},
		{"TLS", s.tls},
		{"RefusedConfiguration", s.refusedConfiguration},
		{"PortOfAnotherProgram", s.portOfAnother},
		{"ChangeUnderLoad", s.changeUnderLoad},
		{"ApplicationDies", s.applicationDies},
		{"UnderWay", func(t *testing.T) { underWay(t, s) }},
		{"Hangs", func(t *testing.T) { hangs(t, s) }},
		{"AllUnwell", s.allUnwell},
		{"NothingSentTwice", s.nothingSentTwice},
		{"Gate", s.gate},
		{"Repair", s.repair},
		{"NothingLeft", s.nothingLeft},
	} {
		if !t.Run(test.name, test.run) {
			return // each goes on from where the one before it has left the node
		}
	}
}

type suite struct {
	*world
	newDriver NewDriver
	driver    balancer.Driver
	unit      string
}

const hostname = "www.example.com"

func (s *suite) apply(t *testing.T, services ...balancer.Service) {
	t.Helper()
	if err := s.driver.Apply(t.Context(), &balancer.Config{Services: services}); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) status(ctx context.Context, t *testing.T) balancer.Status {
	t.Helper()
	st, err := s.driver.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (s *suite) mainPID(t *testing.T) int {
	t.Helper()
	st, err := s.hk.Sys.Units().Status(t.Context(), s.unit)
	if err != nil {
		t.Fatal(err)
	}
	return st.MainPID
}

func (s *suite) nothingYet(t *testing.T) {
	if st := s.status(t.Context(), t); st.Running || len(st.Services) != 0 {
		t.Errorf("before the first Apply: %+v", st)
	}
	if err := s.driver.Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func (s *suite) serves(t *testing.T) {
	s.apply(t, s.service(hostname, 80))
	if !s.status(t.Context(), t).Running {
		t.Error("it does not run when Apply has returned")
	}
	outside := from(s.stranger, s.hk.addr, 80)
	a := outside.get(t, "anything.example")
	if a.body != hk {
		t.Errorf("the answer came from %q; the node's own application is well", a.body)
	}
	for name, want := range map[string]string{"Seen-Forwarded-For": "203.0.113.9", "Seen-Forwarded-Proto": "http", "Seen-Host": "anything.example"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	machinetest.Eventually(t, 5*time.Second, "all servers are well", func(ctx context.Context) bool {
		return cmp.Equal(s.status(ctx, t).Services, map[string]map[string]bool{hostname: {hk: true, sg: true}})
	})
}

func (s *suite) idempotent(t *testing.T) {
	pid := s.mainPID(t)
	s.hk.Sys.TakeChanges()
	s.apply(t, s.service(hostname, 80))
	s.driver = s.newDriver(t, s.hk.Machine)
	s.apply(t, s.service(hostname, 80))
	if got := s.hk.Sys.TakeChanges(); len(got) != 0 {
		t.Errorf("changes: %s", strings.Join(got, "; "))
	}
	if got := s.mainPID(t); got != pid {
		t.Errorf("process %d was replaced by %d", pid, got)
	}
}

// sharedPort has two hostnames on one port, of which one goes by a further name.
func (s *suite) sharedPort(t *testing.T) {
	other := s.service("api.example.com", 80)
	other.Hosts = []string{"origin.example.com"}
	other.Servers = other.Servers[1:]
	s.apply(t, s.service(hostname, 80), other)
	outside := from(s.stranger, s.hk.addr, 80)
	for host, want := range map[string]string{hostname: hk, "WWW.example.com": hk, "api.example.com": sg, "api.example.com:80": sg, "origin.example.com": sg} {
		if got := outside.get(t, host).body; got != want {
			t.Errorf("%s was answered by %s, want %s", host, got, want)
		}
	}
	if a, err := outside.ask(t.Context(), http.MethodGet, "unknown.example", "/"); err != nil || a.status != http.StatusMisdirectedRequest {
		t.Errorf("an unknown hostname: %+v, %v; want status 421", a, err)
	}
	s.apply(t, s.service(hostname, 80))
}

func (s *suite) tls(t *testing.T) {
	ca := newAuthority(t)
	www, api := s.service(hostname, 80), s.service("api.example.com", 0)
	www.TLSPort, api.TLSPort = 443, 443
	www.Certificate, api.Certificate = ca.bundle(t, hostname), ca.bundle(t, "api.example.com")
	s.apply(t, www, api)
	outside := from(s.stranger, s.hk.addr, 443).trusting(ca.pool())
	a := outside.get(t, hostname)
	if got := a.header.Get("Seen-Forwarded-Proto"); got != "https" {
		t.Errorf("the application is told the protocol %q", got)
	}
	outside.get(t, "api.example.com")

	before := a.tls.PeerCertificates[0]
	www.Certificate = ca.bundle(t, hostname)
	s.apply(t, www, api)
	if outside.get(t, hostname).tls.PeerCertificates[0].Equal(before) {
		t.Error("the old certificate is still served")
	}
	files := strings.Fields(s.hk.Run(t, "grep", "-rl", "PRIVATE KEY", "/etc/atoll", "/run"))
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(f, "/run/.etc/") })
	if len(files) != 2 {
		t.Errorf("private keys are in %v, want one file for each hostname", files)
	}
	for _, f := range files {
		if mode := strings.TrimSpace(s.hk.Run(t, "stat", "-c", "%a %U", f)); mode != "600 root" {
			t.Errorf("%s has mode and owner %s", f, mode)
		}
	}
	s.apply(t, s.service(hostname, 80))
	if out := s.hk.Run(t, "sh", "-c", "grep -rl 'PRIVATE KEY' /etc/atoll || true"); out != "" {
		t.Errorf("keys that nobody needs are left: %s", out)
	}
}

// refusedConfiguration gives the program what it cannot take.
func (s *suite) refusedConfiguration(t *testing.T) {
	bad := s.service("bad.example.com", 81)
	bad.TLSPort, bad.Certificate = 444, "no certificate\n"
	pid := s.mainPID(t)
	outside := from(s.stranger, s.hk.addr, 80)
	stop := outside.load(t)
	if err := s.driver.Apply(t.Context(), &balancer.Config{Services: []balancer.Service{bad, s.service(hostname, 80)}}); err == nil {
		t.Error("it was taken")
	}
	if _, failures := stop(); len(failures) > 0 {
		t.Errorf("failed requests meanwhile: %v", failures)
	}
	if got := s.mainPID(t); got != pid {
		t.Errorf("process %d was replaced by %d", pid, got)
	}
	if err := s.hk.Sys.Units().Restart(t.Context(), s.unit); err != nil {
		t.Fatal(err)
	}
	machinetest.Eventually(t, 5*time.Second, "it starts again with what was there before", func(ctx context.Context) bool {
		a, err := outside.ask(ctx, http.MethodGet, hostname, "/")
		return err == nil && a.body == hk
	})
	s.apply(t, s.service(hostname, 80))
}

func (s *suite) portOfAnother(t *testing.T) {
	const port = 82
	other, err := s.hk.Listen(t.Context(), fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	want := &balancer.Config{Services: []balancer.Service{s.service("second.example.com", port), s.service("third.example.com", 83), s.service(hostname, 80)}}
	stop := from(s.stranger, s.hk.addr, 80).load(t)
	for range 2 {
		if err := s.driver.Apply(t.Context(), want); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d", port)) {
			t.Errorf("got %v, want an error that names port %d", err, port)
		}
	}
	if _, failures := stop(); len(failures) > 0 {
		t.Errorf("failed requests meanwhile: %v", failures)
	}
	from(s.stranger, s.hk.addr, 83).get(t, "third.example.com")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	s.apply(t, want.Services...)
	from(s.stranger, s.hk.addr, port).get(t, "second.example.com")
	s.apply(t, s.service(hostname, 80))
}

// changeUnderLoad changes the configuration while requests come and one is under way.
func (s *suite) changeUnderLoad(t *testing.T) {
	outside := from(s.stranger, s.hk.addr, 80)
	slow := make(chan error, 1)
	go func() {
		a, err := from(s.stranger, s.hk.addr, 80).ask(t.Context(), http.MethodGet, hostname, "/slow")
		if err == nil && a.body != strings.Repeat("x", 20) {
			err = fmt.Errorf("got %q", a.body)
		}
		slow <- err
	}()
	stop := outside.load(t)
	keepers := from(s.stranger, s.hk.addr, 80).keeping().load(t)
	for i := range 6 {
		s.apply(t, s.service(hostname, 80), s.service("other.example.com", 90+i))
	}
	if err := <-slow; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	for what, stop := range map[string]func() (map[string]int, []string){"new connections": stop, "a kept connection": keepers} {
		answers, failures := stop()
		if len(failures) > 0 || answers[hk] == 0 {
			t.Errorf("%s: answers %v, failures %v", what, answers, failures)
		}
	}
	s.apply(t, s.service(hostname, 80))
}

// applicationDies stops the node's own application under load and starts it again.
func (s *suite) applicationDies(t *testing.T) {
	outside := from(s.stranger, s.hk.addr, 80)
	stop := outside.load(t)
	s.hk.app.stop()
	took := machinetest.Eventually(t, 5*time.Second, "the other node's application answers", func(ctx context.Context) bool {
		a, err := outside.ask(ctx, http.MethodGet, hostname, "/")
		return err == nil && a.body == sg
	})
	machinetest.Eventually(t, 5*time.Second, "the own application is found down", func(ctx context.Context) bool {
		return cmp.Equal(s.status(ctx, t).Services[hostname], map[string]bool{hk: false, sg: true})
	})
	answers, failures := stop()
	if len(failures) > 0 {
		t.Errorf("failed requests: %v", failures)
	}
	t.Logf("the other node answered after %s; %v", took.Round(10*time.Millisecond), answers)

	stop = outside.load(t)
	s.hk.app.start(t)
	took = machinetest.Eventually(t, 10*time.Second, "the own application answers again", func(ctx context.Context) bool {
		a, err := outside.ask(ctx, http.MethodGet, hostname, "/")
		return err == nil && a.body == hk
	})
	if _, failures := stop(); len(failures) > 0 {
		t.Errorf("failed requests: %v", failures)
	}
	t.Logf("the own application answered again after %s", took.Round(10*time.Millisecond))
}

// allUnwell has every check fail at once, as when a service fails that all applications ask, while the applications answer.
func (s *suite) allUnwell(t *testing.T) {
	shared := s.service("api.example.com", 85)
	s.apply(t, s.service(hostname, 80), shared, s.service("other.example.com", 85))
	found := func(what string, wellHK, wellSG bool) {
		t.Helper()
		machinetest.Eventually(t, 5*time.Second, what, func(ctx context.Context) bool {
			want := map[string]bool{hk: wellHK, sg: wellSG}
			st := s.status(ctx, t).Services
			return cmp.Equal(st[hostname], want) && cmp.Equal(st[shared.Hostname], want)
		})
	}
	for _, n := range []*node{s.hk, s.sg} {
		n.app.unwell.Store(true)
	}
	found("both are found unwell", false, false)
	outside := from(s.stranger, s.hk.addr, 80)
	answers := map[string]int{}
	for range 20 {
		answers[outside.get(t, hostname).body]++
	}
	if answers[hk] < 18 {
		t.Errorf("answers came from %v; the node's own application is the nearest", answers)
	}
	for _, host := range []string{shared.Hostname, "other.example.com"} {
		from(s.stranger, s.hk.addr, 85).get(t, host)
	}
	// One that does not even take a connection is passed over.
	s.hk.app.stop()
	for range 5 {
		if got := outside.get(t, hostname).body; got != sg {
			t.Errorf("the answer came from %s, whose application is dead", got)
		}
	}
	// Whoever is well goes before the one that is nearer.
	s.hk.app.start(t)
	s.sg.app.unwell.Store(false)
	found("the other is well again", false, true)
	for range 5 {
		if got := outside.get(t, hostname).body; got != sg {
			t.Errorf("the answer came from %s, which is unwell", got)
		}
	}
	s.hk.app.unwell.Store(false)
	found("all are well", true, true)
	s.apply(t, s.service(hostname, 80))
}

// nothingSentTwice asks an application that ends the connection without an answer: what may have been done must not be done
// once more.
func (s *suite) nothingSentTwice(t *testing.T) {
	outside := from(s.stranger, s.hk.addr, 80)
	before := s.hk.app.drops.Load() + s.sg.app.drops.Load()
	a, err := outside.ask(t.Context(), http.MethodPost, hostname, "/drop")
	if err != nil || a.status != http.StatusBadGateway {
		t.Errorf("got %+v, %v; want status 502", a, err)
	}
	if got := s.hk.app.drops.Load() + s.sg.app.drops.Load() - before; got != 1 {
		t.Errorf("the request was sent %d times", got)
	}
}

// gate refuses strangers, and nobody else.
func (s *suite) gate(t *testing.T) {
	g := balancer.NewGate(s.hk.Sys)
	inside := append(balancer.Inside(), netip.MustParsePrefix("10.66.0.0/16"))
	kept := from(s.stranger, s.hk.addr, 80).keeping()
	kept.get(t, hostname)
	for range 2 {
		if err := g.Refuse(t.Context(), []int{80, 443}, inside); err != nil {
			t.Fatal(err)
		}
	}
	changes := s.hk.Sys.TakeChanges()
	if err := g.Refuse(t.Context(), []int{443, 80}, inside); err != nil {
		t.Fatal(err)
	}
	if got := s.hk.Sys.TakeChanges(); len(got) > 0 || len(changes) == 0 {
		t.Errorf("changes: %v at first, %v at the same again", changes, got)
	}
	if got, err := g.Refused(t.Context()); err != nil || !slices.Equal(got, []int{80, 443}) {
		t.Errorf("refused ports are %v, %v", got, err)
	}
	refused := func() bool {
		began := time.Now()
		_, err := s.stranger.Dial(t.Context(), "tcp", fmt.Sprintf("%s:80", s.hk.addr))
		return errors.Is(err, syscall.ECONNREFUSED) && time.Since(began) < time.Second
	}
	if !refused() {
		t.Error("a stranger is not refused at once")
	}
	kept.get(t, hostname)
	from(s.lan, s.hk.addr, 80).get(t, hostname)
	from(s.hk.Machine, s.hk.addr, 80).get(t, hostname)
	if err := s.hk.Sys.Units().Restart(t.Context(), s.unit); err != nil {
		t.Fatal(err)
	}
	s.apply(t, s.service(hostname, 80))
	if !refused() {
		t.Error("a stranger is not refused any more after a restart of the proxy")
	}
	for range 2 {
		if err := g.Refuse(t.Context(), nil, balancer.Inside()); err != nil {
			t.Fatal(err)
		}
	}
	from(s.stranger, s.hk.addr, 80).get(t, hostname)
}

func (s *suite) repair(t *testing.T) {
	if err := s.hk.Sys.Kill(s.unit); err != nil {
		t.Fatal(err)
	}
	machinetest.Eventually(t, 5*time.Second, "its death shows", func(ctx context.Context) bool { return !s.status(ctx, t).Running })
	// Here nobody ends what it leaves behind, as systemd does: a worker has the port until it notices.
	machinetest.Eventually(t, 5*time.Second, "its port is free", func(ctx context.Context) bool {
		out, err := s.hk.Sys.Run(ctx, host.Command{Name: "ss", Args: []string{"-H", "-l", "-t", "-n", "sport = :80"}, ReadOnly: true})
		return err == nil && len(out.Stdout) == 0
	})
	s.apply(t, s.service(hostname, 80))
	from(s.stranger, s.hk.addr, 80).get(t, hostname)
}

func (s *suite) nothingLeft(t *testing.T) {
	empty := machinetest.New(t, "empty")
	for range 2 {
		if err := s.driver.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	traces := func(m *machinetest.Machine) []string {
		files := m.Run(t, "find", "/run/.etc/upper", "/run", "-path", "/run/.etc/work", "-prune", "-o", "-type", "f", "-print", "-o", "-type", "s", "-print")
		out := append(strings.Fields(files), strings.Fields(m.Run(t, "nft", "list", "tables"))...)
		slices.Sort(out)
		return out
	}
	if diff := cmp.Diff(traces(empty), traces(s.hk.Machine)); diff != "" {
		t.Errorf("left on the machine (-untouched +after):\n%s", diff)
	}
	if pid := s.mainPID(t); pid != 0 {
		t.Errorf("it still runs as process %d", pid)
	}
	if st := s.status(t.Context(), t); st.Running {
		t.Errorf("status is %+v", st)
	}
}
