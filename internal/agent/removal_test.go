package agent_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/edge"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// account is an emulated account at Cloudflare with a load balancer of some machines, each in a pool of its own.
type account struct {
	w *world
	*emulated.Server
	object spec.LoadBalancer
}

func newAccount(w *world, machines ...*machine) *account {
	w.t.Helper()
	a := &account{w: w, Server: &emulated.Server{
		Token: "operator", Tokens: map[string]emulated.Token{nodesToken: {Permissions: []string{emulated.MonitorsAndPoolsWrite, emulated.LoadBalancersWrite}}},
	}}
	server := httptest.NewServer(a.Server)
	w.t.Cleanup(func() {
		server.CloseClientConnections()
		a.Close()
		server.Close()
	})
	operator, err := cloudflare.New(cloudflare.Config{Token: "operator", URL: server.URL + "/client/v4"})
	if err != nil {
		w.t.Fatal(err)
	}
	zone := emulated.ZoneID("example.com")
	a.object = spec.LoadBalancer{Nodes: map[string]spec.ServingNode{}, Removal: &spec.QuickRemoval{
		AccountID: emulated.AccountID, ZoneID: zone, BaseURL: server.URL + "/client/v4", Endpoints: map[string]spec.PoolEndpoint{},
	}}
	var pools []string
	for _, m := range machines {
		pool, _, err := operator.CreatePool(w.t.Context(), emulated.AccountID, cloudflare.Pool{
			Name: "pool-" + m.name, Description: "atoll:" + site + "/" + m.name, Enabled: true, MinimumOrigins: 1, OriginSteering: cloudflare.OriginRandom,
			Origins: []cloudflare.Origin{{Name: m.name, Address: m.public(), Enabled: true, Weight: 1}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		pools = append(pools, pool.ID)
		a.object.Nodes[m.name] = spec.ServingNode{Enabled: true, Port: 8080}
		a.object.Removal.Endpoints[m.name] = spec.PoolEndpoint{Pool: pool.ID, Name: m.name}
	}
	lb, _, err := operator.CreateLoadBalancer(w.t.Context(), zone, cloudflare.LoadBalancer{
		Name: site, Description: "atoll:" + site, Enabled: true, Proxied: true, DefaultPools: pools, FallbackPool: pools[0], Steering: cloudflare.SteeringOff,
		Session: cloudflare.Session{Affinity: cloudflare.AffinityCookie, TTL: 1800, Drain: 1800, Failover: "sticky"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	a.object.Removal.BalancerID = lb.ID
	a.push(nodesToken, machines...)
	return a
}

const (
	// site is the hostname of these tests.
	site = "www.example.com"
	// nodesToken is what the agents act with.
	nodesToken = "token-that-only-the-nodes-may-see"
)

// push seals a token to the machines and gives the object to the first one, as an apply does.
func (a *account) push(token string, machines ...*machine) {
	a.w.t.Helper()
	a.object.Removal.Tokens = map[string]string{}
	for _, m := range machines {
		info, err := m.info()
		if err != nil {
			a.w.t.Fatal(err)
		}
		if a.object.Removal.Tokens[m.name], err = trust.Seal(info.Identity, token); err != nil {
			a.w.t.Fatal(err)
		}
	}
	machines[0].push(a.w.sign(site, a.object))
}

// out returns the nodes whose endpoints are out of service with a record of it, sorted, and whether sessions may drain.
func (a *account) out() (nodes string, drains bool) {
	var out []string
	for _, p := range a.Account().Pools {
		for _, o := range p.Origins {
			if !o.Enabled && strings.HasSuffix(p.Description, " removed:"+o.Name) {
				out = append(out, o.Name)
			}
		}
	}
	slices.Sort(out)
	lb, _ := a.Account().LoadBalancer(site)
	return strings.Join(out, " "), lb.SessionAffinityAttributes.DrainDuration != 0
}

func (a *account) waitOut(want string) {
	a.w.t.Helper()
	a.w.wait(fmt.Sprintf("out of service: %q", want), func() error {
		if out, drains := a.out(); out != want || drains != (want == "") {
			return fmt.Errorf("out of service is %q, sessions drain: %v", out, drains)
		}
		return nil
	})
}

// die is a machine that loses its power.
func (m *machine) die() {
	m.w.t.Helper()
	m.mesh.leave()
	if err := m.stop(); err != nil {
		m.w.t.Fatal(err)
	}
}

func waitEdge(status spec.ConditionStatus, reason string, machines ...*machine) {
	for _, m := range machines {
		m.waitCondition(spec.ConditionEdgeReady, status, reason)
	}
}

// reports returns the statuses that a machine has, by node.
func (m *machine) reports() (map[string]spec.Status, error) {
	client := m.operator()
	defer client.Close()
	records, err := client.Records(m.w.t.Context())
	if err != nil {
		return nil, err
	}
	out := map[string]spec.Status{}
	for _, r := range records {
		if r.Status == nil {
			continue
		}
		payload, err := base64.StdEncoding.DecodeString(r.Status.Payload)
		if err != nil {
			return nil, err
		}
		var s spec.Status
		if err := json.Unmarshal(payload, &s); err != nil {
			return nil, err
		}
		out[s.Node] = s
	}
	return out, nil
}

// TestQuickRemoval has the node die that would act first, its agent and those of the others start again, and the load balancer go.
func TestQuickRemoval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	a := newAccount(w, machines...)
	waitEdge(spec.ConditionTrue, "Ready", machines...)
	first, others := machines[0], machines[1:]

	began := time.Now()
	first.die()
	a.waitOut(first.name)
	took := time.Since(began)
	t.Logf("out of service after %s", took.Round(10*time.Millisecond))
	// The target is three seconds; the tests of many packages at once make everything slower.
	if took > 6*time.Second {
		t.Errorf("it took %s to take a dead node out of service", took)
	}
	waitEdge(spec.ConditionTrue, "Removed", others[0])
	if c, err := others[0].condition(spec.ConditionEdgeReady); err != nil || !strings.Contains(c.Message, "hk1 is out of service") {
		t.Errorf("condition %+v, error %v", c, err)
	}

	// What is out stays out while the agents that hold it start again.
	for _, m := range others {
		m.restart()
	}
	waitEdge(spec.ConditionTrue, "Removed", others...)
	if out, _ := a.out(); out != first.name {
		t.Errorf("after a start of the agents %q is out of service", out)
	}

	first.start()
	began = time.Now()
	a.waitOut("")
	if took := time.Since(began); took < edge.Rise {
		t.Errorf("the node is back in service after %s", took)
	}
	waitEdge(spec.ConditionTrue, "Ready", machines...)

	// Without the load balancer there is nothing to be ready for.
	machines[1].push(w.tombstoneOf(spec.KindLoadBalancer, site))
	for _, m := range machines {
		w.wait(m.name+" has forgotten the condition", func() error {
			info, err := m.info()
			if err != nil {
				return err
			}
			if c, ok := (spec.Status{Conditions: info.Conditions}).Condition(spec.ConditionEdgeReady); ok {
				return fmt.Errorf("it is %+v", c)
			}
			return nil
		})
	}
}

// TestQuickRemovalWithAWrongClock has a quorum of which one clock jumps by hours.
func TestQuickRemovalWithAWrongClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := []*machine{w.machine(1, "hk1"), w.machine(2, "hk2"), w.machine(3, "sg1")}
	move := adjustable(machines[1])
	for i, m := range machines {
		f := ticketFor{}
		if i > 0 {
			f.seeds = []string{machines[0].endpoint()}
		}
		m.provision(m.payload(m.ticket(f), m.node("")))
		m.start()
	}
	w.waitReady(machines...)
	a := newAccount(w, machines...)
	waitEdge(spec.ConditionTrue, "Ready", machines...)
	move(3 * time.Hour)
	machines[2].die()
	a.waitOut("sg1")
	move(-3 * time.Hour)
	machines[2].start()
	a.waitOut("")
}

// TestHalfIsNoQuorum has two of four nodes die at once, which is how the loss of the other half of a network looks.
func TestHalfIsNoQuorum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := []*machine{w.machine(1, "hk1"), w.machine(2, "hk2"), w.machine(3, "sg1"), w.machine(4, "sg2")}
	for i, m := range machines {
		f := ticketFor{}
		if i > 0 {
			f.seeds = []string{machines[0].endpoint()}
		}
		m.provision(m.payload(m.ticket(f), m.node("")))
		m.start()
	}
	w.waitReady(machines...)
	a := newAccount(w, machines...)
	waitEdge(spec.ConditionTrue, "Ready", machines...)
	machines[2].die()
	machines[3].die()
	for _, m := range machines[:2] {
		w.wait(m.name+" knows that both find both dead", func() error {
			reports, err := m.reports()
			if err != nil {
				return err
			}
			for _, observer := range []string{"hk1", "hk2"} {
				for _, dead := range []string{"sg1", "sg2"} {
					if p := reports[observer].Peers[dead].Public; p == nil || !p.Dead {
						return fmt.Errorf("%s sees %s as %+v", observer, dead, p)
					}
				}
			}
			return nil
		})
	}
	// One more node is enough for a quorum, so what was not done until now was not forgotten.
	if out, drains := a.out(); out != "" || !drains {
		t.Errorf("two of four have taken %q out of service", out)
	}
	machines[2].start()
	a.waitOut("sg2")
}

// TestQuickRemovalTokens is a token that was sealed to an identity that the node has no more, one that Cloudflare has revoked, and
// that of the next apply.
func TestQuickRemovalTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines := three(w)
	w.waitReady(machines...)
	a := newAccount(w, machines...)
	waitEdge(spec.ConditionTrue, "Ready", machines...)

	a.Inject(emulated.Fault{Times: -1, Status: http.StatusUnauthorized, Code: 1000, Reason: "Invalid API Token"})
	a.push(nodesToken, machines...)
	other, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if a.object.Removal.Tokens["hk1"], err = trust.Seal(other.Public(), nodesToken); err != nil {
		t.Fatal(err)
	}
	machines[0].push(w.sign(site, a.object))
	c := machines[0].waitCondition(spec.ConditionEdgeReady, spec.ConditionFalse, edge.ReasonToken)
	if !strings.Contains(c.Message, "apply again") {
		t.Errorf("the message is %q", c.Message)
	}
	waitEdge(spec.ConditionFalse, edge.ReasonTokenRefused, machines[1])
	for _, m := range machines {
		info, err := m.info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(info), nodesToken) {
			t.Errorf("%s tells the token: %+v", m.name, info)
		}
		err = filepath.WalkDir(m.root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			// A file may be replaced meanwhile.
			if err == nil && bytes.Contains(data, []byte(nodesToken)) {
				t.Errorf("%s keeps the token in %s", m.name, path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
