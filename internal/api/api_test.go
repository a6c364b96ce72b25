package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestOperatorCalls(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	c := f.operator(endpoint)
	ctx := t.Context()
	info, err := c.Info(ctx)
	if err != nil || info.Node != "hk1" || info.Identity != f.id.Public() || !info.Joined {
		t.Fatalf("info = %+v, %v", info, err)
	}
	out, err := c.Push(ctx, []store.Record{f.node("hk1", 5, "hk"), {}})
	if err != nil || len(out) != 2 || out[0].Result != store.Accepted || out[1].Result != store.Refused || out[1].Reason != trust.ReasonMalformed {
		t.Fatalf("push = %+v, %v", out, err)
	}
	if f.woken.Load() == 0 {
		t.Error("the agent was not woken")
	}
	if _, local := f.store.Local()["node/hk1"]; !local {
		t.Error("what the operator pushed is not the agent's to spread")
	}
	recs, err := c.Records(ctx)
	if err != nil || len(recs) != 2 {
		t.Fatalf("records = %d, %v, want 2", len(recs), err)
	}
	newer, wanted, err := c.Sync(ctx, store.Digest{"node/sg1": {Generation: 1, Digest: "x"}, "proof/hk1": f.store.Digest()["proof/hk1"]})
	if err != nil || len(newer) != 1 || newer[0].Object == nil || len(wanted) != 1 || wanted[0] != "node/sg1" {
		t.Fatalf("sync = %d newer, wanted %v, %v", len(newer), wanted, err)
	}
	status, err := c.Status(ctx)
	if err != nil || status.Seen != "hk1" || status.Nodes["hk1"].State != api.NodeSilent || status.Generations[spec.Ref{Kind: spec.KindNode, Name: "hk1"}] != 5 {
		t.Fatalf("status = %+v, %v", status, err)
	}
	if err := c.Leave(ctx); err != nil || f.left.Load() != 1 {
		t.Fatalf("leave: %v, called %d times", err, f.left.Load())
	}
}

// TestTwoRunsAtOnce has two runs of the operator change one object at the same time: the second can tell its user.
func TestTwoRunsAtOnce(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	a, b := f.operator(endpoint), f.operator(endpoint)
	for _, step := range []struct {
		c    *api.Client
		r    store.Record
		want store.Result
	}{
		{a, f.node("hk1", 5, "hk"), store.Accepted},
		{b, f.node("hk1", 5, "sg"), store.Conflict},
		{b, f.node("hk1", 4, "sg"), store.Older},
		{a, f.node("hk1", 6, "hk"), store.Accepted},
	} {
		out, err := step.c.Push(t.Context(), []store.Record{step.r})
		if err != nil || out[0].Result != step.want || out[0].Message == "" {
			t.Errorf("push = %+v, %v, want %s and a message", out, err, step.want)
		}
		if got := f.store.Snapshot(); got.Nodes["hk1"].Site != "hk" || len(got.Conflicts) != 0 {
			t.Errorf("after %s hk1 is at %q with the conflicts %+v, want what the first run said", step.want, got.Nodes["hk1"].Site, got.Conflicts)
		}
	}
}

// TestJoining calls with proofs that the agent has never seen. Showing a good one is joining.
func TestJoining(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	id, proof := f.machine("sg1", time.Now())
	c := f.asNode(id, proof, endpoint)
	if _, _, err := c.Sync(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := f.store.Snapshot().Members["sg1"].Identity; got != id.Public() {
		t.Errorf("member = %s, want the caller", got)
	}
	if _, err := c.Push(t.Context(), []store.Record{f.node("sg1", 1, "sg")}); err != nil {
		t.Fatal(err)
	}
	if _, local := f.store.Local()["node/sg1"]; local {
		t.Error("what another agent pushed counts as this agent's to spread")
	}
	if err := c.Leave(t.Context()); reasonOf(err) != trust.ReasonNotAllowed || f.left.Load() != 0 {
		t.Errorf("leave by a node: %v, called %d times", err, f.left.Load())
	}

	lateID, late := f.machine("fra1", time.Now().Add(-24*time.Hour))
	if _, err := f.asNode(lateID, late, endpoint).Info(t.Context()); reasonOf(err) != trust.ReasonExpired || !strings.Contains(err.Error(), "new ticket") {
		t.Errorf("an expired ticket: %v, want Expired with the remedy", err)
	}
	thiefID, thief := f.machine("sg1", time.Now())
	if _, err := f.asNode(thiefID, thief, endpoint).Info(t.Context()); reasonOf(err) != trust.ReasonSecondIdentity {
		t.Errorf("a second identity: %v", err)
	}
	now := uint64(time.Now().Add(time.Minute).UnixMilli())
	f.store.Merge([]store.Record{f.sign(spec.NewTombstone(clusterName, spec.Ref{Kind: spec.KindNode, Name: "sg1"}, now, now))})
	_, err := c.Info(t.Context())
	var refusal *api.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusForbidden || refusal.Reason != trust.ReasonRevoked || len(refusal.Records) != 1 {
		t.Fatalf("a removed node: %v, want Revoked with the tombstone", err)
	}
	if o, err := f.root().VerifyObject(*refusal.Records[0].Object); err != nil || !o.Deleted {
		t.Errorf("the evidence is %+v, %v", o, err)
	}
}

func TestCallerSaysWhichStart(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	if _, err := f.operator(endpoint).Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.called.Load(); got != nil {
		t.Errorf("the operator is taken for node %q", *got)
	}
	for _, boot := range []string{"b007", ""} {
		c := api.NewNodeClient(f.id, f.proof, f.root(), boot, api.Target{Cluster: clusterName, Node: "hk1", Endpoints: []string{endpoint}})
		defer c.Close()
		if _, err := c.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := f.called.Load(); got == nil || *got != [2]string{"hk1", boot} {
			t.Errorf("the caller is %v, want hk1 with start %q", got, boot)
		}
	}
}

func TestStrangers(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	other, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	pin := newFixture(t).id.Public()
	member, err := f.root().VerifyProof(f.proof)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		client *api.Client
		want   trust.Reason
	}{
		{"another signing key", api.NewOperatorClient(other, api.Target{Cluster: clusterName, Endpoints: []string{endpoint}}), trust.ReasonBadSignature},
		{"another cluster", f.client(api.Target{Cluster: "shop", Endpoints: []string{endpoint}}), trust.ReasonWrongCluster},
		{"another node", f.client(api.Target{Cluster: clusterName, Node: "sg1", Endpoints: []string{endpoint}}), trust.ReasonWrongNode},
		{"another identity", f.client(api.Target{Cluster: clusterName, Endpoints: []string{endpoint}, Pin: &pin}), trust.ReasonSecondIdentity},
		{"a predecessor", f.client(api.Target{Cluster: clusterName, Node: "hk1", Endpoints: []string{endpoint}, Ticket: "another"}), trust.ReasonReplayed},
		{"nobody", f.client(api.Target{Cluster: clusterName, Node: "hk1", Endpoints: []string{endpoint}, Ticket: member.Ticket.ID}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.client.Info(t.Context())
			if trust.ReasonOf(err) != tt.want || (err == nil) != (tt.want == "") || errors.Is(err, api.ErrUnreachable) {
				t.Errorf("error = %v, want reason %q and not unreachable", err, tt.want)
			}
		})
	}
}

// TestWrongClock has an operator whose clock is wrong. Up to an hour does no harm; beyond that the agent says by how much.
func TestWrongClock(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	for _, tt := range []struct {
		wrong  time.Duration
		reason trust.Reason
		says   string
	}{
		{-5 * time.Minute, "", ""},
		{5 * time.Minute, "", ""},
		{-24 * time.Hour, trust.ReasonExpired, "behind; set"},
		{24 * time.Hour, trust.ReasonNotYetValid, "ahead; set"},
	} {
		t.Run(tt.wrong.String(), func(t *testing.T) {
			config, err := trust.OperatorClientTLS(f.key, f.root(), "", nil, time.Now().Add(tt.wrong))
			if err != nil {
				t.Fatal(err)
			}
			c := api.ClientWithTLS(api.Target{Cluster: clusterName, Endpoints: []string{endpoint}}, config)
			defer c.Close()
			_, err = c.Info(t.Context())
			if tt.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var refusal *api.Error
			if !errors.As(err, &refusal) || refusal.Reason != tt.reason || errors.Is(err, api.ErrUnreachable) {
				t.Fatalf("got %v, want a refusal as %s", err, tt.reason)
			}
			for _, part := range []string{tt.says, "the clock of this node", "set the clock right"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the agent says %q, want %q in it", err, part)
				}
			}
		})
	}
}

// TestConnectionOutlivesItsCertificate keeps a connection until the operator's certificate has expired. The next request is
// made on a new one.
func TestConnectionOutlivesItsCertificate(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	c := f.operator(endpoint)
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.late.Store(true)
	if _, err := c.Info(t.Context()); err != nil {
		t.Error(err)
	}
	if f.late.Load() {
		t.Error("the agent never looked at its clock")
	}
}

// TestBadRequests sends what no client of ours sends.
func TestBadRequests(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	config, err := trust.OperatorClientTLS(f.key, f.root(), "hk1", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	tests := []struct {
		name, method, path, wire string
		body                     io.Reader
		code                     int
		reason                   trust.Reason
	}{
		{"no such path", http.MethodGet, "/v2/info", "1", nil, http.StatusNotFound, api.ReasonNotFound},
		{"no such method", http.MethodDelete, "/v1/records", "1", nil, http.StatusNotFound, api.ReasonNotFound},
		{"a newer Atoll", http.MethodGet, "/v1/info", "2", nil, http.StatusUpgradeRequired, trust.ReasonUnknownWireVersion},
		{"nonsense for a version", http.MethodGet, "/v1/info", "new", nil, http.StatusUpgradeRequired, trust.ReasonUnknownWireVersion},
		{"an older Atoll", http.MethodGet, "/v1/info", "", nil, http.StatusOK, ""},
		{"no JSON", http.MethodPut, "/v1/records", "1", strings.NewReader("hello"), http.StatusBadRequest, trust.ReasonMalformed},
		{"JSON of another shape", http.MethodPost, "/v1/sync", "1", strings.NewReader(`{"digest":7}`), http.StatusBadRequest, trust.ReasonMalformed},
		{"too large", http.MethodPut, "/v1/records", "1", bytes.NewReader(append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), api.MaxBody+1)...)), http.StatusRequestEntityTooLarge, api.ReasonTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+endpoint+tt.path, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if tt.wire != "" {
				req.Header.Set(api.WireHeader, tt.wire)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			var body struct{ Error *api.Error }
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.code || resp.Header.Get(api.WireHeader) != "1" {
				t.Errorf("answer %s, wire %q, want %d and 1", resp.Status, resp.Header.Get(api.WireHeader), tt.code)
			}
			if tt.reason != "" && (body.Error == nil || body.Error.Reason != tt.reason || body.Error.Message == "") {
				t.Errorf("error = %+v, want reason %q and a message", body.Error, tt.reason)
			}
		})
	}
}

func TestHandlerNeedsTLS(t *testing.T) {
	f := newFixture(t)
	h := api.NewHandler(f.root(), backend{api.StoreBackend{Store: f.store}, f}, time.Now)
	w := &answer{header: http.Header{}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	h.ServeHTTP(w, req)
	if w.code != http.StatusForbidden {
		t.Errorf("answer %d to plain HTTP, want 403", w.code)
	}
}

type answer struct {
	header http.Header
	code   int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }
func (a *answer) WriteHeader(code int)        { a.code = code }

// TestLargePush sends more than fits into one request.
func TestLargePush(t *testing.T) {
	f := newFixture(t)
	endpoint, _ := f.serve("127.0.0.1:0")
	e, err := trust.SignStatus(f.id, spec.Status{Cluster: clusterName, Node: "hk1", Sequence: 1, Version: strings.Repeat("x", 500<<10)})
	if err != nil {
		t.Fatal(err)
	}
	r := store.StatusRecord(e)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	recs := make([]store.Record, api.MaxBody/len(data)+2)
	for i := range recs {
		recs[i] = r
	}
	out, err := f.operator(endpoint).Push(t.Context(), recs)
	if err != nil || len(out) != len(recs) {
		t.Fatalf("%d outcomes for %d records, %v", len(out), len(recs), err)
	}
	if out[0].Result != store.Accepted || out[len(out)-1].Result != store.Unchanged {
		t.Errorf("first %+v, last %+v", out[0], out[len(out)-1])
	}
}

func reasonOf(err error) trust.Reason {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
