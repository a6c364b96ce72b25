package trust_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestHandshakes(t *testing.T) {
	op, stranger := newOperator(t, "web"), newOperator(t, "web")
	foreign := operator{t, op.key, "shop"}
	serverID, callerID, otherID := newIdentity(t), newIdentity(t), newIdentity(t)
	serverProof := prove(t, op.ticket("hk1"), serverID)
	callerProof := prove(t, op.ticket("sg1"), callerID)
	pin, wrongPin := serverID.Public(), otherID.Public()

	asNode := func(root trust.Root, p trust.Proof, id *trust.Identity, want string, pin *trust.PublicKey) func(*testing.T) *tls.Config {
		return func(t *testing.T) *tls.Config {
			t.Helper()
			c, err := trust.NodeClientTLS(id, p, root, want, pin)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	asOperator := func(o operator, want string, made time.Time) func(*testing.T) *tls.Config {
		return func(t *testing.T) *tls.Config {
			t.Helper()
			c, err := trust.OperatorClientTLS(o.key, o.root(), want, nil, made)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	// asServer lets a client speak although it would not believe the server, to see what the server thinks of it.
	blind := func(config func(*testing.T) *tls.Config) func(*testing.T) *tls.Config {
		return func(t *testing.T) *tls.Config {
			t.Helper()
			c := config(t)
			c.VerifyConnection = nil
			return c
		}
	}
	tests := []struct {
		name           string
		client         func(*testing.T) *tls.Config
		caller         trust.Caller
		refused, serve trust.Reason
	}{
		{"a node", asNode(op.root(), callerProof, callerID, "hk1", &pin), trust.Caller{Node: "sg1", Identity: callerID.Public()}, "", ""},
		{"a node that asks for nobody", asNode(op.root(), callerProof, callerID, "", nil), trust.Caller{Node: "sg1", Identity: callerID.Public()}, "", ""},
		{"the operator", asOperator(op, "hk1", noon()), trust.Caller{Operator: true}, "", ""},
		{"an operator five minutes slow", asOperator(op, "hk1", noon().Add(-5*time.Minute)), trust.Caller{Operator: true}, "", ""},
		{"an operator five minutes fast", asOperator(op, "hk1", noon().Add(5*time.Minute)), trust.Caller{Operator: true}, "", ""},
		{"an operator of yesterday", asOperator(op, "hk1", noon().Add(-24*time.Hour)), trust.Caller{}, "", ""},
		{"an operator of tomorrow", asOperator(op, "hk1", noon().Add(24*time.Hour)), trust.Caller{}, "", ""},
		{"a caller who expects another node", asNode(op.root(), callerProof, callerID, "sg2", nil), trust.Caller{}, trust.ReasonWrongNode, ""},
		{"a caller who knows another identity", asNode(op.root(), callerProof, callerID, "hk1", &wrongPin), trust.Caller{}, trust.ReasonSecondIdentity, ""},
		{"an operator with another key", blind(asOperator(stranger, "", noon())), trust.Caller{}, "", trust.ReasonBadSignature},
		{"the operator of another cluster", blind(asOperator(foreign, "", noon())), trust.Caller{}, "", trust.ReasonWrongCluster},
		{"an operator who expects another cluster", asOperator(foreign, "", noon()), trust.Caller{}, trust.ReasonWrongCluster, ""},
		{"a node with the proof of another", blind(asNode(op.root(), callerProof, otherID, "", nil)), trust.Caller{}, "", trust.ReasonBadSignature},
		{"a node of another cluster", blind(asNode(op.root(), prove(t, foreign.ticket("sg1"), callerID), callerID, "", nil)), trust.Caller{}, "", trust.ReasonWrongCluster},
		{"nobody", func(*testing.T) *tls.Config { return &tls.Config{InsecureSkipVerify: true} }, trust.Caller{}, "", "none"},
	}
	// They get a connection, to be told why nothing else.
	late := map[string]trust.Reason{"an operator of yesterday": trust.ReasonExpired, "an operator of tomorrow": trust.ReasonNotYetValid}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, err := trust.ServerTLS(serverID, func() trust.Proof { return serverProof }, op.root())
			if err != nil {
				t.Fatal(err)
			}
			state, clientErr, serverErr := handshake(t, tt.client(t), server)
			if got := trust.ReasonOf(clientErr); got != tt.refused {
				t.Errorf("client's reason = %q (%v), want %q", got, clientErr, tt.refused)
			}
			switch tt.serve {
			case "none":
				if serverErr == nil || !strings.Contains(serverErr.Error(), "certificate") {
					t.Errorf("server's error = %v, want one about the certificate", serverErr)
				}
			default:
				if got := trust.ReasonOf(serverErr); got != tt.serve {
					t.Errorf("server's reason = %q (%v), want %q", got, serverErr, tt.serve)
				}
			}
			if clientErr != nil || serverErr != nil {
				return
			}
			if state.Version != tls.VersionTLS13 {
				t.Errorf("version = %x, want TLS 1.3", state.Version)
			}
			caller, err := op.root().CallerFromState(state, noon())
			caller.Member = nil
			if caller != tt.caller || trust.ReasonOf(err) != late[tt.name] {
				t.Errorf("caller = %+v, %v, want %+v, %q", caller, err, tt.caller, late[tt.name])
			}
			if err != nil && (!strings.Contains(err.Error(), "24h0m0s") || !strings.Contains(err.Error(), "set the clock right")) {
				t.Errorf("the refusal says %q, want by how much the clocks differ and what to do", err)
			}
			if _, err := stranger.root().CallerFromState(state, noon()); trust.ReasonOf(err) != trust.ReasonBadSignature {
				t.Errorf("a connection made for one signing key counts for another: %v", err)
			}
		})
	}
}

func TestServerShowsItsNewestProof(t *testing.T) {
	op := newOperator(t, "web")
	id, callerID := newIdentity(t), newIdentity(t)
	proofs := []trust.Proof{prove(t, op.ticket("hk1"), id), prove(t, op.ticket("hk2"), id)}
	now := 0
	server, err := trust.ServerTLS(id, func() trust.Proof { return proofs[now] }, op.root())
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range []string{"hk1", "hk2"} {
		now = i
		client, err := trust.NodeClientTLS(callerID, prove(t, op.ticket("sg1"), callerID), op.root(), node, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, clientErr, serverErr := handshake(t, client, server); clientErr != nil || serverErr != nil {
			t.Errorf("%s: client %v, server %v", node, clientErr, serverErr)
		}
	}
}

func TestOperatorNeedsTheClustersKey(t *testing.T) {
	op, stranger := newOperator(t, "web"), newOperator(t, "web")
	if _, err := trust.OperatorClientTLS(stranger.key, op.root(), "", nil, noon()); trust.ReasonOf(err) != trust.ReasonBadSignature {
		t.Errorf("error = %v, want a refusal", err)
	}
}

// handshake connects the two over a pipe; one byte from the server shows the client that it was accepted.
func handshake(t *testing.T, client, server *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	a, b := net.Pipe()
	deadline := time.Now().Add(20 * time.Second)
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	s := tls.Server(b, server)
	go func() {
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		done <- errors.Join(err, b.Close())
	}()
	c := tls.Client(a, client)
	clientErr = c.HandshakeContext(t.Context())
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	_ = a.Close()
	serverErr = <-done
	return s.ConnectionState(), clientErr, serverErr
}
