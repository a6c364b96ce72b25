package agent_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// mapPort is where the tests' clusters serve their live map.
const mapPort = 7470

// page returns what a machine's live map answers on its mesh address.
func (m *machine) page(t *testing.T) (string, error) {
	t.Helper()
	host := m.config().MeshBind(m.meshAddress()).String()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(host, fmt.Sprint(mapPort))+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}

// TestLiveMap names a port for the live map, takes it back, and removes a node that serves it.
func TestLiveMap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	for _, m := range machines {
		if _, err := m.page(t); err == nil {
			t.Fatalf("%s serves a map that nobody has asked for", m.name)
		}
	}
	serves := func(m *machine) func() error {
		return func() error {
			page, err := m.page(t)
			if err == nil && (!strings.Contains(page, "Cluster web is ") || !strings.Contains(page, "as "+m.name+" sees it")) {
				err = fmt.Errorf("the page is %.200s", page)
			}
			return err
		}
	}
	ended := func(m *machine) func() error {
		return func() error {
			if _, err := m.page(t); err == nil {
				return errors.New("it still answers")
			}
			return nil
		}
	}
	withMap := func(port int) {
		ports := spec.DefaultPorts()
		ports.Map = port
		machines[0].push(w.sign(clusterName, spec.Cluster{MeshCIDR: netip.MustParsePrefix("10.66.0.0/16"), Mesh: spec.DefaultMesh(), Ports: ports}))
	}
	withMap(mapPort)
	for _, m := range machines {
		w.wait(m.name+" serves the map", serves(m))
	}
	machines[0].push(w.tombstone("sg1"))
	w.wait("the map has gone with the node", ended(machines[2]))
	withMap(0)
	for _, m := range machines[:2] {
		w.wait(m.name+" serves it no more", ended(m))
	}
}
