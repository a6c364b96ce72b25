package agent_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/seed"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
)

// firstBoot is a machine that looks for its first-boot data while time passes as fast as nothing happens.
type firstBoot struct {
	*machine
	agent   *agent.Agent
	cancel  context.CancelFunc
	started time.Time

	mu      sync.Mutex
	network string
	joined  time.Duration
	node    string
	err     error
}

// boot starts the search. The test is in a bubble of synctest.
func (w *world) boot(m *machine) *firstBoot {
	w.t.Helper()
	b := &firstBoot{machine: m, started: time.Now()}
	cfg := m.config()
	cfg.Machine.MetadataTransport = m.transport
	cfg.Network = func() string {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.network
	}
	b.agent = agent.New(cfg)
	ctx, cancel := context.WithCancel(w.t.Context())
	b.cancel = cancel
	go func() {
		node, err := b.agent.WaitForMembership(ctx)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.node, b.err, b.joined = node, err, time.Since(b.started)
	}()
	return b
}

// sleep lets time pass, until nothing happens any more.
func (b *firstBoot) sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (b *firstBoot) setNetwork(problem string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.network = problem
}

// joinedBy checks that the machine has joined by now.
func (b *firstBoot) joinedBy(what string) {
	b.w.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.node != b.name || b.err != nil {
		b.w.t.Errorf("%s: got node %q and error %v after %s; health is %+v", what, b.node, b.err, time.Since(b.started), b.agent.CurrentHealth())
	}
}

// notYet checks that the machine has not joined and says these things on health and console.
func (b *firstBoot) notYet(what string, says ...string) {
	b.w.t.Helper()
	b.mu.Lock()
	node, err := b.node, b.err
	b.mu.Unlock()
	if node != "" || err != nil {
		b.w.t.Fatalf("%s: got node %q and error %v, want none yet", what, node, err)
	}
	last := ""
	if lines := b.lines(); len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	for _, want := range says {
		if h := b.agent.CurrentHealth(); !contains(h.Waiting, want) || !contains(last, want) {
			b.w.t.Errorf("%s: health says %q and the console %q, want %q in both", what, h.Waiting, last, want)
		}
	}
}

func (b *firstBoot) lines() []string {
	b.machine.mu.Lock()
	defer b.machine.mu.Unlock()
	return append([]string{}, b.console...)
}

// quiet checks that no more than n lines were written to the console.
func (b *firstBoot) quiet(n int) {
	b.w.t.Helper()
	if lines := b.lines(); len(lines) > n {
		b.w.t.Errorf("%d lines on the console, want at most %d:\n%s", len(lines), n, strings.Join(lines, "\n"))
	}
}

// metadataService answers after a while, or fails.
type metadataService struct {
	mu       sync.Mutex
	delay    time.Duration
	err      error
	userData []byte
}

func (s *metadataService) set(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.err = delay, err
}

func (s *metadataService) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	delay, err := s.delay, s.err
	s.mu.Unlock()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-time.After(delay):
	}
	if err != nil {
		return nil, err
	}
	body := "tok"
	if req.Method == http.MethodGet {
		body = base64.StdEncoding.EncodeToString(s.userData)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

func inBubble(t *testing.T, f func(w *world, m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(w, w.machine(1, "hk1"))
	})
}

func TestFirstBootWithoutMetadataForTwoMinutes(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"refused": 0, "silent": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world, m *machine) {
				m.onPlatform("linode")
				service := &metadataService{userData: m.payload(m.ticket(ticketFor{}), m.node("")), delay: delay, err: errors.New("no answer")}
				m.transport = service
				b := w.boot(m)
				defer b.cancel()
				b.sleep(2 * time.Minute)
				b.notYet("without the service", "Linode metadata", "no answer")
				service.set(0, nil)
				b.sleep(45 * time.Second)
				b.joinedBy("with the service")
				b.quiet(1)
			})
		})
	}
}

func TestFirstBootWithSlowMetadata(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		m.onPlatform("linode")
		m.transport = &metadataService{userData: m.payload(m.ticket(ticketFor{}), m.node("")), delay: 15 * time.Second}
		b := w.boot(m)
		defer b.cancel()
		b.sleep(40 * time.Second)
		b.joinedBy("each answer took 15 s")
	})
}

func TestFirstBootWithoutNetworkForTenMinutes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		m.onPlatform("linode")
		service := &metadataService{userData: m.payload(m.ticket(ticketFor{}), m.node("")), err: errors.New("network is unreachable")}
		m.transport = service
		b := w.boot(m)
		defer b.cancel()
		b.setNetwork("no cable in ens3, or the port is down")
		b.sleep(9 * time.Minute)
		b.notYet("no cable", "no network: no cable in ens3", "network is unreachable")
		b.quiet(2)
		b.sleep(2 * time.Minute)
		b.quiet(3) // a reminder
		b.setNetwork("no address on ens3 yet")
		b.sleep(time.Minute)
		b.notYet("no address", "no address on ens3 yet")
		b.setNetwork("")
		service.set(0, nil)
		b.sleep(45 * time.Second)
		b.joinedBy("with a network")
		b.quiet(5)
	})
}

func TestFirstBootWithAWrongClock(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		wrong := -26 * time.Hour
		var mu sync.Mutex
		m.now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(wrong)
		}
		m.provision(m.payload(m.ticket(ticketFor{}), m.node("")))
		b := w.boot(m)
		defer b.cancel()
		b.sleep(10 * time.Second)
		b.notYet("behind", "before the clock is set", "behind the right time")
		b.setNetwork("no address on ens3 yet")
		b.sleep(time.Minute)
		b.notYet("behind and without a network", "no network to set it by: no address on ens3 yet")
		b.setNetwork("")
		b.sleep(5 * time.Minute)
		b.notYet("for long", "chronyc makestep")
		b.quiet(5)
		mu.Lock()
		wrong = 0
		mu.Unlock()
		b.sleep(3 * time.Second)
		b.joinedBy("with the right time")
	})
}

// plug puts a seed volume into the machine.
func (m *machine) plug(device string, payload []byte) {
	m.w.t.Helper()
	image, err := seed.Seed{Payload: payload, Hostname: m.name, Instance: "i"}.Image()
	if err != nil {
		m.w.t.Fatal(err)
	}
	m.put("dev/"+device, image)
	m.put("sys/class/block/"+device+"/size", []byte("8192\n"))
}

func (m *machine) unplug(device string) {
	m.w.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.root, "sys/class/block", device)); err != nil {
		m.w.t.Fatal(err)
	}
}

func (m *machine) put(path string, data []byte) {
	m.w.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.w.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		m.w.t.Fatal(err)
	}
}

func TestFirstBootFromAStickThatComesLater(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		b := w.boot(m)
		defer b.cancel()
		b.sleep(8 * time.Minute)
		b.notYet("nothing plugged in", "nothing in", "seed volume CIDATA")
		b.quiet(1)
		m.plug("sdb", m.payload(m.ticket(ticketFor{}), m.node("")))
		b.sleep(32 * time.Second)
		b.joinedBy("plugged in")
	})
}

func TestFirstBootWithTwoSeeds(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		other := w.machine(2, "sg1")
		m.plug("sdb", m.payload(m.ticket(ticketFor{}), m.node("")))
		m.plug("sdc", other.payload(other.ticket(ticketFor{}), other.node("")))
		b := w.boot(m)
		defer b.cancel()
		b.sleep(time.Minute)
		b.notYet("two", "two seeds", `dev/sdb (node "hk1" of cluster "web")`, `dev/sdc (node "sg1" of cluster "web")`, "take one of them out")
		b.quiet(1)
		m.unplug("sdc")
		b.sleep(32 * time.Second)
		b.joinedBy("one of them is out")
	})
}

func TestFirstBootWithADamagedSeed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		payload := m.payload(m.ticket(ticketFor{}), m.node(""))
		m.plug("sdb", payload)
		path := filepath.Join(m.root, "dev/sdb")
		image, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		at := strings.Index(string(image), `"ticket"`)
		copy(image[at:], "\x00\x00\x00\x00")
		m.put("dev/sdb", image)
		b := w.boot(m)
		defer b.cancel()
		b.sleep(time.Minute)
		b.notYet("damaged", "dev/sdb: atoll.json", "no valid JSON")
		m.plug("sdb", payload)
		b.sleep(32 * time.Second)
		b.joinedBy("written again")
	})
}

// TestFirstBootOfAnotherVersion has an image that is older than the cluster.
func TestFirstBootOfAnotherVersion(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world, m *machine) {
		m.provision(m.payload(m.ticket(ticketFor{}), w.newer(m.node(""))))
		b := w.boot(m)
		defer b.cancel()
		b.sleep(time.Minute)
		b.notYet("newer", "wire version 2", "image of the version that the cluster has")
		m.provision([]byte(`{"atoll":2,"cluster":"web"}`))
		b.sleep(time.Minute)
		b.notYet("newer payload", "version 2", "update the agent")
		if got := m.files(); len(got) != 0 {
			w.t.Errorf("the refused data left %v behind", got)
		}
	})
}

// newer returns a record as an Atoll of the next wire version would have signed it.
func (w *world) newer(r store.Record) store.Record {
	w.t.Helper()
	text, err := base64.StdEncoding.DecodeString(r.Object.Payload)
	if err != nil {
		w.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		w.t.Fatal(err)
	}
	m["wire"] = spec.WireVersion + 1
	if text, err = json.Marshal(m); err != nil {
		w.t.Fatal(err)
	}
	data, err := w.key.MarshalPEM()
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		w.t.Fatal("the signing key signs nothing")
	}
	signature, err := signer.Sign(nil, dsse.PAE(r.Object.PayloadType, text), crypto.Hash(0))
	if err != nil {
		w.t.Fatal(err)
	}
	e := *r.Object
	e.Payload = base64.StdEncoding.EncodeToString(text)
	e.Signatures = []dsse.Signature{{KeyID: e.Signatures[0].KeyID, Sig: base64.StdEncoding.EncodeToString(signature)}}
	return store.ObjectRecord(e)
}
