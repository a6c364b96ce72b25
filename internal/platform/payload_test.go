package platform_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// newPayload returns a payload for node hk1 of cluster web.
func newPayload(t *testing.T) (data []byte, ticket *trust.IssuedTicket) {
	t.Helper()
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	ticket, err = trust.IssueTicket(key, trust.TicketRequest{Cluster: "web", Node: "hk1", Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	data, err = platform.NewPayload(trust.Root{Cluster: "web", Key: key.Public()}, ticket, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data, ticket
}

func TestPayloadRoundTrip(t *testing.T) {
	data, ticket := newPayload(t)
	p, err := platform.ParsePayload(data)
	if err != nil {
		t.Fatal(err)
	}
	if p.Cluster != "web" || p.Node != "hk1" || p.Atoll != platform.PayloadVersion {
		t.Errorf("got cluster %q node %q version %d, want web, hk1, %d", p.Cluster, p.Node, p.Atoll, platform.PayloadVersion)
	}
	if diff := cmp.Diff(ticket.Envelope, p.Ticket); diff != "" {
		t.Errorf("ticket changed (-want +got):\n%s", diff)
	}
	if string(p.TicketKey) != string(ticket.Key) {
		t.Error("the ticket's key changed")
	}
}

func TestParsePayloadRefuses(t *testing.T) {
	good, _ := newPayload(t)
	edit := func(change func(m map[string]any)) []byte {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"unknown key", edit(func(m map[string]any) { m["colour"] = "red" }), `unknown key "colour"`},
		{"other letter case", edit(func(m map[string]any) { m["Cluster"] = "evil" }), `unknown key "Cluster"`},
		{"key inside", edit(func(m map[string]any) { m["ticket"] = map[string]any{"payload": "x", "more": 1} }), "more"},
		{"newer version with a key of its own", edit(func(m map[string]any) { m["atoll"] = 2; m["network"] = "x" }), "version 2"},
		{"no version", edit(func(m map[string]any) { delete(m, "atoll") }), "version 0"},
		{"no ticket", edit(func(m map[string]any) { delete(m, "ticket") }), "ticket is missing"},
		{"no ticket key", edit(func(m map[string]any) { delete(m, "ticket_key") }), "ticket_key is missing"},
		{"no signing key", edit(func(m map[string]any) { delete(m, "signing_key") }), "signing_key is missing"},
		{"bad name", edit(func(m map[string]any) { m["node"] = "HK 1" }), "node"},
		{"wrong type", edit(func(m map[string]any) { m["ticket_key"] = 7 }), `"ticket_key" has the wrong type`},
		{"twice", []byte(`{"atoll":1,"cluster":"a","cluster":"b"}`), `"cluster" is there twice`},
		{"cut off", good[:len(good)/2], "JSON"},
		{"something after it", append(append([]byte{}, good...), " {}"...), "follows its end"},
		{"no object", []byte(`[]`), "no JSON object"},
		{"empty", nil, "no JSON object"},
		{"too large", []byte("{" + strings.Repeat(" ", platform.MaxPayload) + "}"), "65535"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := platform.ParsePayload(tt.data)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want it to contain %q", err, tt.want)
			}
		})
	}
}

func TestPayloadErrorsAreTyped(t *testing.T) {
	var unknown *platform.UnknownKeyError
	if _, err := platform.ParsePayload([]byte(`{"atoll":1,"x":1}`)); !errors.As(err, &unknown) || unknown.Key != "x" {
		t.Errorf("got %v, want an UnknownKeyError for x", err)
	}
	var version *platform.VersionError
	if _, err := platform.ParsePayload([]byte(`{"atoll":9}`)); !errors.As(err, &version) || version.Version != 9 {
		t.Errorf("got %v, want a VersionError for 9", err)
	}
}

func TestPayloadTooLargeForUserData(t *testing.T) {
	_, ticket := newPayload(t)
	objects := []trust.Envelope{{Payload: strings.Repeat("x", platform.MaxPayload)}}
	_, err := platform.NewPayload(trust.Root{Cluster: "web"}, ticket, objects)
	var size *platform.SizeError
	if !errors.As(err, &size) {
		t.Errorf("got %v, want a SizeError", err)
	}
}

func TestPayloadPrintsNoSecret(t *testing.T) {
	data, ticket := newPayload(t)
	p, err := platform.ParsePayload(data)
	if err != nil {
		t.Fatal(err)
	}
	verbs := []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"}
	for _, verb := range verbs {
		for name, value := range maps.All(map[string]any{"value": *p, "pointer": p, "key": p.TicketKey}) {
			text := fmt.Sprintf(verb, value)
			for _, secret := range []string{
				fmt.Sprintf("%x", []byte(ticket.Key)), string(ticket.Key),
				strings.Trim(fmt.Sprintf("%d", []byte(ticket.Key)), "[]"),
			} {
				if strings.Contains(text, secret) {
					t.Errorf("%s of %s shows the secret", verb, name)
				}
			}
		}
	}
}
