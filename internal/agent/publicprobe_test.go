package agent_test

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// TestPublicProber asks a peer that answers, falls silent and answers again, and one that never does.
func TestPublicProber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := w.machine(1, "hk1").public()
	var server *http.Server
	var port int
	serve := func() {
		t.Helper()
		var lc net.ListenConfig
		listener, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		port = int(listener.Addr().(*net.TCPAddr).AddrPort().Port()) //nolint:forcetypeassert // it is a TCP listener
		// Whatever it says is an answer.
		server = &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
		go func() { _ = server.Serve(listener) }()
	}
	serve()
	t.Cleanup(func() { _ = server.Close() })
	peer := func(name string, addresses ...string) topology.ServingPeer {
		return topology.ServingPeer{Peer: topology.Peer{Name: name, Addresses: addresses}, HealthPort: port}
	}
	view := &topology.View{LoadBalancers: []topology.LoadBalancer{
		// The second address of hk1 is nobody's: one that answers is enough.
		{Removal: &spec.QuickRemoval{}, Peers: []topology.ServingPeer{peer("hk1", w.machine(9, "nobody").public(), address), peer("hk2", w.machine(2, "hk2").public())}},
		{Peers: []topology.ServingPeer{peer("sg1", address)}},
	}}
	var p agent.PublicProber
	p.Watch(view, nil)
	go p.Run(t.Context())
	wait := func(what string, inMesh mesh.PeerMeasurement, want spec.PublicStatus) {
		t.Helper()
		w.wait(what, func() error {
			got := p.Status("hk1", inMesh)
			if got == nil || *got != want {
				return errGot{got}
			}
			return nil
		})
	}
	there, gone := mesh.PeerMeasurement{Reachable: true, LastAnswer: time.Now().Add(time.Hour)}, mesh.PeerMeasurement{}
	silent := mesh.PeerMeasurement{Reachable: true, LastAnswer: time.Now().Add(-3 * time.Second)}
	wait("it answers", gone, spec.PublicStatus{Answers: true})
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	wait("it is silent, and the mesh reaches it", there, spec.PublicStatus{})
	wait("it is silent, and the mesh does not reach it", gone, spec.PublicStatus{Dead: true})
	wait("it is silent, and the mesh has not been answered for a moment", silent, spec.PublicStatus{Dead: true})
	if got := p.Status("hk2", gone); got != nil {
		t.Errorf("one that never answered is %+v", got)
	}
	if got := p.Status("sg1", gone); got != nil {
		t.Errorf("one that nobody is to ask is %+v", got)
	}
	serve()
	wait("it answers again", gone, spec.PublicStatus{Answers: true})

	// After a restart of the agent it is known that the peer can be asked, and not yet how it is.
	var again agent.PublicProber
	again.Watch(view, map[string]spec.PeerStatus{"hk1": {Public: &spec.PublicStatus{Dead: true}}})
	if got := again.Status("hk1", gone); got == nil || *got != (spec.PublicStatus{}) {
		t.Errorf("after a restart it is %+v", got)
	}
}

type errGot struct{ got *spec.PublicStatus }

func (e errGot) Error() string {
	if e.got == nil {
		return "it is not known"
	}
	return "it answers: " + strconv.FormatBool(e.got.Answers) + ", it is dead: " + strconv.FormatBool(e.got.Dead)
}
