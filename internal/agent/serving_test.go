package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	hostname        = "www.example.com"
	applicationPort = 8088
)

// application is what a machine serves. It answers code while it is up.
type application struct {
	m      *machine
	code   atomic.Int64
	server *http.Server
}

func (m *machine) application() *application {
	m.w.t.Helper()
	a := &application{m: m}
	a.code.Store(http.StatusOK)
	a.start()
	m.w.t.Cleanup(a.kill)
	return a
}

func (a *application) start() {
	a.m.w.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("%s:%d", a.m.public(), applicationPort)) //nolint:usetesting // until it is killed
	if err != nil {
		a.m.w.t.Fatal(err)
	}
	a.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != hostname {
			a.m.w.t.Errorf("the application of %s is asked for %s", a.m.name, r.Host)
		}
		w.WriteHeader(int(a.code.Load()))
	})}
	go func() { _ = a.server.Serve(l) }()
}

func (a *application) kill() { _ = a.server.Close() }

// balancer returns a load balancer of the machines.
func balancer(check *spec.ApplicationCheck, minimum int, machines ...*machine) spec.LoadBalancer {
	lb := spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, Check: check, MinimumNodes: minimum}
	for _, m := range machines {
		lb.Nodes[m.name] = spec.ServingNode{Enabled: true, Port: applicationPort}
	}
	return lb
}

func httpCheck() *spec.ApplicationCheck { return &spec.ApplicationCheck{Type: spec.CheckHTTP} }

// waitServing waits until the health endpoint says of the load balancer what is wanted.
func (m *machine) waitServing(what string, code int, part, text string) {
	m.w.t.Helper()
	m.w.wait(m.name+": "+what, func() error {
		got, h, err := m.serving(hostname)
		if err != nil {
			return err
		}
		if got != code || !strings.Contains(h.Parts[part], text) {
			return fmt.Errorf("it answers %d %+v, want %d and part %s with %q", got, h, code, part, text)
		}
		return nil
	})
}

// serving asks the health endpoint for a load balancer.
func (m *machine) serving(hostname string) (int, api.Health, error) {
	h, err := api.FetchHealthFor(m.w.t.Context(), fmt.Sprintf("%s:%d", m.public(), spec.DefaultPorts().Health), hostname)
	var refused *api.Error
	switch {
	case errors.As(err, &refused):
		return refused.StatusCode, h, nil
	case err != nil:
		return 0, h, err
	case h.Healthy:
		return http.StatusOK, h, nil
	}
	return http.StatusServiceUnavailable, h, nil
}

// cluster returns machines that know each other and serve an application.
func (w *world) serving(names ...string) ([]*machine, []*application) {
	w.t.Helper()
	var machines []*machine
	var apps []*application
	for i, name := range names {
		m := w.machine(i+1, name)
		var seeds []string
		for _, other := range machines {
			seeds = append(seeds, other.endpoint())
		}
		m.provision(m.payload(m.ticket(ticketFor{seeds: seeds}), m.node("")))
		m.start()
		m.waitHealth("joins", func(h api.Health) bool { return h.State == "joined" })
		machines, apps = append(machines, m), append(apps, m.application())
	}
	w.waitReady(machines...)
	return machines, apps
}

func TestServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, apps := w.serving("hk1")
	m, app := machines[0], apps[0]
	if code, _, err := m.serving(hostname); code != http.StatusNotFound || err != nil {
		t.Errorf("before there is a load balancer: got %d (%v), want 404", code, err)
	}
	m.push(w.sign(hostname, balancer(httpCheck(), 0, m)), w.sign("other.example.com", balancer(nil, 0, w.machine(9, "elsewhere"))))
	m.waitServing("is fit", http.StatusOK, "application", "ok")
	for _, tt := range []struct {
		path string
		want int
	}{
		{"/health/WWW.Example.com", http.StatusOK},
		{"/health/other.example.com", http.StatusNotFound},
		{"/health/www.example.com/", http.StatusNotFound},
		{"/health/../health/www.example.com", http.StatusNotFound},
		{"/health/" + strings.Repeat("a", 3000), http.StatusNotFound},
	} {
		if code, body := m.httpHealth(http.MethodGet, tt.path); code != tt.want {
			t.Errorf("%.60s: got %d %s, want %d", tt.path, code, body, tt.want)
		}
	}

	app.code.Store(http.StatusInternalServerError)
	m.waitServing("the application is broken", http.StatusServiceUnavailable, "application", "answers 500")
	if h, err := m.health(); err != nil || !h.Healthy {
		t.Errorf("the node itself: got %+v (%v), want healthy", h, err)
	}
	app.code.Store(http.StatusOK)
	m.waitServing("the application is mended", http.StatusOK, "application", "ok")
	app.kill()
	m.waitServing("the application is dead", http.StatusServiceUnavailable, "application", "does not accept connections")
	w.wait("the cluster's status says so", func() error {
		s, err := m.status()
		if err != nil {
			return err
		}
		if got := s.LoadBalancers[hostname].Nodes[m.name]; got.State != api.ServingOut || !strings.Contains(got.Reason, "does not accept connections") {
			return fmt.Errorf("node: %+v", got)
		}
		if s.Healthy || !strings.Contains(strings.Join(s.Reasons, "\n"), "load balancer www.example.com: node hk1 is out of service") {
			return fmt.Errorf("reasons: %v", s.Reasons)
		}
		return nil
	})
	before, err := m.status()
	if err != nil {
		t.Fatal(err)
	}
	m.restart()
	m.waitServing("still dead after a restart of the agent", http.StatusServiceUnavailable, "application", "does not accept connections")
	w.wait("since then", func() error {
		s, err := m.status()
		if err != nil {
			return err
		}
		if was, is := before.LoadBalancers[hostname].Nodes[m.name].Since, s.LoadBalancers[hostname].Nodes[m.name].Since; !was.Equal(is) {
			return fmt.Errorf("out since %s, after the restart since %s", was, is)
		}
		return nil
	})
	// A load balancer that is changed or goes.
	m.push(w.sign(hostname, balancer(nil, 0, m)))
	m.waitServing("nobody asks the application any more", http.StatusOK, "application", "")
	m.push(w.tombstoneOf(spec.KindLoadBalancer, hostname))
	m.waitServing("the load balancer is gone", http.StatusNotFound, "", "")
}

func TestServingOfNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine(1, "hk1")
	m.start()
	m.waitHealth("waits", waiting)
	if code, h, err := m.serving(hostname); code != http.StatusServiceUnavailable || err != nil {
		t.Errorf("a node that has not joined: got %d %+v (%v), want 503: it does not know what it is to serve", code, h, err)
	}
}

func TestMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, _ := w.serving("hk1", "sg1", "us1")
	hk, sg, us := machines[0], machines[1], machines[2]
	lb := w.sign(hostname, balancer(httpCheck(), 3, machines...))
	hk.push(lb)
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "application", "ok")
	}
	since := time.Now().UTC().Truncate(time.Second)
	// Told to another node than the one that is meant.
	sg.push(w.sign(hk.name, spec.Maintenance{Reason: "new disk, ask Jo", Since: since}))
	said := "since " + since.Format(time.RFC3339)
	hk.waitServing("is out of service", http.StatusServiceUnavailable, "maintenance", said)
	hk.waitHealth("everywhere", func(h api.Health) bool { return !h.Healthy && h.Parts["maintenance"] == said })
	if _, body := hk.httpHealth(http.MethodGet, "/health"); strings.Contains(body, "Jo") {
		t.Errorf("strangers read the operator's words: %s", body)
	}
	// It goes down for a while, and nobody calls that broken. Its floor does not keep a node in maintenance in service.
	if err := hk.stop(); err != nil {
		t.Fatal(err)
	}
	hk.mesh.leave()
	w.wait("the others are content", func() error {
		s, err := us.status()
		if err != nil {
			return err
		}
		if !s.Healthy || s.Nodes[hk.name].State == api.NodeReady || s.Nodes[hk.name].Maintenance == nil {
			return fmt.Errorf("healthy %t, %+v, reasons %v", s.Healthy, s.Nodes[hk.name], s.Reasons)
		}
		if warnings := strings.Join(s.Warnings, "\n"); !strings.Contains(warnings, "node hk1 is in maintenance since") || !strings.Contains(warnings, "new disk, ask Jo") {
			return fmt.Errorf("warnings: %s", warnings)
		}
		return nil
	})
	for _, m := range []*machine{sg, us} {
		if c, err := m.condition(spec.ConditionMeshReady); err != nil || c.Status != spec.ConditionTrue {
			t.Errorf("%s: %+v (%v), want the mesh ready without the node in maintenance", m.name, c, err)
		}
	}
	hk.start()
	hk.waitServing("is still in maintenance", http.StatusServiceUnavailable, "maintenance", said)
	us.push(w.tombstoneOf(spec.KindMaintenance, hk.name))
	hk.waitServing("is back", http.StatusOK, "maintenance", "ok")
	w.waitReady(machines...)
}

// TestFloor breaks the application on every node at once: two stay, and at no moment fewer.
func TestFloor(t *testing.T) {
	t.Run("Plain", func(t *testing.T) { testFloor(t, nil) })
	// Each node's proxy finds no application well, at once: its checks are not damped.
	t.Run("Proxy", func(t *testing.T) { testFloor(t, &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}) })
}

func testFloor(t *testing.T, proxy *spec.Proxy) {
	w := newWorld(t)
	machines, apps := w.serving("hk1", "sg1", "us1")
	lb := balancer(httpCheck(), 2, machines...)
	lb.Proxy = proxy
	gate := machines[2].watchGate()
	machines[0].push(w.sign(hostname, lb))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "application", "ok")
	}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	var fewest atomic.Int64
	fewest.Store(int64(len(machines)))
	watching.Go(func() {
		for ctx.Err() == nil {
			fit := int64(0)
			for _, m := range machines {
				if code, _, err := m.serving(hostname); err == nil && code == http.StatusOK {
					fit++
				}
			}
			fewest.Store(min(fewest.Load(), fit))
		}
	})
	for i, app := range apps {
		app.code.Store(http.StatusServiceUnavailable)
		machines[i].proxy.set(func(f *fakeProxy) { f.unwell = true })
	}
	machines[2].waitServing("goes", http.StatusServiceUnavailable, "application", "answers 503")
	for _, m := range machines[:2] {
		m.waitServing("is kept", http.StatusOK, "application", "kept in service, too few nodes would be left: answers 503")
	}
	if proxy != nil {
		machines[2].refuses(gate, false) // the others are no better
	}
	stop()
	watching.Wait()
	if n := fewest.Load(); n < 2 {
		t.Errorf("at some moment %d nodes were in service, the floor is 2", n)
	}
	w.wait("the status says who is kept", func() error {
		s, err := machines[2].status()
		if err != nil {
			return err
		}
		nodes := s.LoadBalancers[hostname].Nodes
		if nodes["hk1"].State != api.ServingKept || nodes["sg1"].State != api.ServingKept || nodes["us1"].State != api.ServingOut {
			return fmt.Errorf("%+v", nodes)
		}
		return nil
	})
	// Who is in maintenance is not kept: the next one is.
	machines[0].push(w.sign("hk1", spec.Maintenance{Since: time.Now()}))
	machines[2].waitServing("takes the place", http.StatusOK, "application", "kept in service")
	machines[0].waitServing("is away", http.StatusServiceUnavailable, "maintenance", "since")
	machines[0].push(w.tombstoneOf(spec.KindMaintenance, "hk1"))
	machines[2].waitServing("goes again", http.StatusServiceUnavailable, "application", "answers 503")
	// One application that is mended makes a kept one superfluous.
	apps[2].code.Store(http.StatusOK)
	machines[2].waitServing("is well", http.StatusOK, "application", "ok")
	machines[1].waitServing("is not kept any more", http.StatusServiceUnavailable, "application", "answers 503")
	machines[0].waitServing("is kept", http.StatusOK, "application", "kept in service")
}

// TestLastSurvivor has the other two of three nodes die: the one that is left cannot tell that from being cut off, and serves as long
// as a floor says so. It goes on to be out of the mesh in its own name, and steps back for maintenance all the same.
func TestLastSurvivor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, apps := w.serving("hk1", "hk2", "sg1")
	left := machines[2]
	lb := balancer(httpCheck(), 1, machines...)
	machines[0].push(w.sign(hostname, lb), w.sign("strict.example.com", balancer(nil, 0, machines...)))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "application", "ok")
		w.wait("it asks the others at their public addresses", func() error {
			reports, err := m.reports()
			if err != nil {
				return err
			}
			for _, p := range reports[m.name].Peers {
				if p.Public == nil || !p.Public.Answers {
					return fmt.Errorf("peers are %+v", reports[m.name].Peers)
				}
			}
			return nil
		})
	}
	machines[0].die()
	machines[1].die()
	left.waitServing("has lost the mesh and is kept", http.StatusOK, "mesh", "kept in service, too few nodes would be left: reaches 0 of 2 peers")
	left.waitHealth("in its own name it is unfit", func(h api.Health) bool { return !h.Healthy && strings.HasPrefix(h.Parts["mesh"], "reaches 0 of 2") })
	if code, h, err := left.serving("strict.example.com"); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("a load balancer without a floor: got %d %+v (%v), want 503", code, h, err)
	}
	w.wait("the status says so", func() error {
		s, err := left.status()
		if err != nil {
			return err
		}
		if got := s.LoadBalancers[hostname].Nodes[left.name]; got.State != api.ServingKept || got.Reason != "it has lost the others" {
			return fmt.Errorf("got %+v", got)
		}
		return nil
	})
	// It is kept although its application is unwell, too, and not when the operator takes it out.
	apps[2].code.Store(http.StatusInternalServerError)
	left.waitServing("is unwell as well", http.StatusOK, "application", "kept in service")
	left.push(w.sign(left.name, spec.Maintenance{Since: time.Now()}))
	left.waitServing("is away", http.StatusServiceUnavailable, "maintenance", "since")
	left.push(w.tombstoneOf(spec.KindMaintenance, left.name))
	left.waitServing("is back", http.StatusOK, "maintenance", "ok")
	apps[2].code.Store(http.StatusOK)
	machines[0].start()
	left.waitServing("has its majority back", http.StatusOK, "mesh", "ok")
}

// shell runs commands as this process, which is what a node's systemd does for its agent.
type shell struct{}

func (shell) RunApart(ctx context.Context, _ string, argv, env []string) (exitCode int, output string, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

func TestCommandCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, _ := w.serving("hk1")
	m := machines[0]
	flag := filepath.Join(t.TempDir(), "well")
	check := &spec.ApplicationCheck{Type: spec.CheckCommand, Command: []string{"/bin/sh", "-c", "cat " + flag + " && test $ATOLL_HOSTNAME = " + hostname}}
	m.push(w.sign(hostname, balancer(check, 0, m)))
	m.waitServing("the command fails", http.StatusServiceUnavailable, "application", "the check's command ends with exit code 1")
	w.wait("the operator reads why", func() error {
		s, err := m.status()
		if err != nil {
			return err
		}
		if got := s.LoadBalancers[hostname].Nodes[m.name]; !strings.Contains(got.Reason, flag) {
			return fmt.Errorf("got %+v", got)
		}
		return nil
	})
	if _, body := m.httpHealth(http.MethodGet, "/health/"+hostname); strings.Contains(body, flag) {
		t.Errorf("strangers read what the command says: %s", body)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.waitServing("the command is content", http.StatusOK, "application", "ok")
}

// TestRestartWithASlowCheck: while the first look after a restart of the agent takes its time, what was found before it holds.
func TestRestartWithASlowCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, _ := w.serving("hk1")
	m := machines[0]
	flag := filepath.Join(t.TempDir(), "go")
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait := &spec.ApplicationCheck{Type: spec.CheckCommand, Timeout: 300, Command: []string{"/bin/sh", "-c", "until test -e " + flag + "; do sleep 0.05; done"}}
	m.push(w.sign(hostname, balancer(wait, 0, m)))
	m.waitServing("is fit", http.StatusOK, "application", "ok")
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	m.restart()
	m.waitServing("is fit before the first look has ended", http.StatusOK, "application", "ok")
	// A load balancer that it knows nothing of.
	m.push(w.sign("new.example.com", balancer(wait, 1, m)))
	w.wait("another one is not asked yet, and not kept in service by its floor", func() error {
		code, h, err := m.serving("new.example.com")
		if err == nil && (code != http.StatusServiceUnavailable || h.Parts["application"] != "not asked yet") {
			err = fmt.Errorf("got %d %+v", code, h)
		}
		return err
	})
}
