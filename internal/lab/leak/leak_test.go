package leak_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/leak"
	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// firstBoot is first-boot data with a ticket's key.
func firstBoot(t *testing.T, node, key string) []byte {
	t.Helper()
	data, err := json.Marshal(struct {
		Atoll int    `json:"atoll"`
		Node  string `json:"node"`
		Key   []byte `json:"ticket_key"`
		More  string `json:"more"`
	}{1, node, []byte(key), strings.Repeat("x", 100)})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// request is the body with which an instance is made: its user-data is base64, and has in a comment, in base64, what has base64
// in it.
func request(t *testing.T, payload []byte) []byte {
	t.Helper()
	userData, err := platform.Compose(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"label": "sg1", "metadata": map[string]string{"user_data": base64.StdEncoding.EncodeToString(userData)}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestSecretsAreFound plants secrets in the forms in which they are known to escape.
func TestSecretsAreFound(t *testing.T) {
	const unknown = "another key that nobody has seen"
	seed, ticketKey := []byte("0123456789abcdef0123456789ABCDEF"), "this key's first-boot data: seen"
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: append([]byte("0\x2e\x02\x01\x000\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"), seed...)})
	var s leak.Secrets
	s.AddText("the token", "token-0123456789")
	if err := s.AddPEM("the key", key); err != nil {
		t.Fatal(err)
	}
	known := firstBoot(t, "sg1", ticketKey)
	if err := s.AddFirstBoot("the first-boot data", known); err != nil {
		t.Fatal(err)
	}
	plan := &bytes.Buffer{}
	archive := zip.NewWriter(plan)
	packed, err := archive.Create("tfplan")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packed.Write(seed); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	planted := map[string]struct {
		data []byte
		want string
	}{
		"text in a line":            {[]byte("Authorization: Bearer token-0123456789\n"), "the token"},
		"text in base64":            {[]byte("Basic " + base64.StdEncoding.EncodeToString([]byte("user:token-0123456789"))), "the token"},
		"key file":                  {append([]byte("x"), key...), "the key"},
		"seed, raw":                 {append([]byte{0}, seed...), "the key, seed (raw)"},
		"seed, hex":                 {[]byte(hex.EncodeToString(seed)), "the key, seed (hexadecimal)"},
		"seed, base64":              {[]byte(`"` + base64.StdEncoding.EncodeToString(seed) + `"`), "the key, seed (raw)"},
		"seed, numbers":             {fmt.Appendf(nil, "key=%v", seed), "the key, seed (numbers)"},
		"seed within":               {[]byte(base64.StdEncoding.EncodeToString(append([]byte("x"), seed...))), "the key, seed (raw)"},
		"packed in a plan":          {plan.Bytes(), "the key, seed (raw)"},
		"user-data in a request":    {request(t, known), "the first-boot data"},
		"the same, quoted":          {fmt.Appendf(nil, "body=%q", request(t, known)), "the first-boot data, the ticket's key (raw)"},
		"user-data in a log":        {fmt.Appendf(nil, "body=%q", known), "the first-boot data (quoted)"},
		"user-data cut off":         {request(t, known)[:300], "the first-boot data, the ticket's key (raw)"},
		"request in a log":          {[]byte(base64.RawURLEncoding.EncodeToString(append([]byte("xy"), request(t, known)...))), "the first-boot data"},
		"unknown ticket":            {firstBoot(t, "sg1", unknown), "a ticket's key"},
		"unknown, in a request":     {request(t, firstBoot(t, "sg1", unknown)), "a ticket's key"},
		"unknown, shifted by one":   {request(t, firstBoot(t, "sg11", unknown)), "a ticket's key"},
		"unknown, shifted by two":   {request(t, firstBoot(t, "sg111", unknown)), "a ticket's key"},
		"unknown, for URLs":         {[]byte(base64.URLEncoding.EncodeToString(firstBoot(t, "sg1", unknown))), "a ticket's key"},
		"unknown, quoted":           {fmt.Appendf(nil, "%q", firstBoot(t, "sg1", unknown)), "a ticket's key"},
		"unknown, quoted in base64": {[]byte(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%q", firstBoot(t, "sg1", unknown)))), "a ticket's key"},
		"as an assignment":          {[]byte(`ticket_key = "` + base64.StdEncoding.EncodeToString([]byte(unknown)) + `"`), "a ticket's key"},
	}
	for name, tt := range planted {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "file"), tt.data, 0o644); err != nil { //nolint:gosec // readable on purpose
				t.Fatal(err)
			}
			found, files, err := s.Below(dir, leak.ReadableByOthers)
			if err != nil || files != 1 || !strings.Contains(strings.Join(found, "\n"), tt.want) {
				t.Errorf("got findings %q in %d files, error %v; want %s among them", found, files, err, tt.want)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		innocent := `ticket_key is missing, token-0, 0123456789abcdef, "ticket_key":"short", ` +
			base64.StdEncoding.EncodeToString([]byte(`{"ticket_key":"short","next":"`+strings.Repeat("y", 60)+`"}`)) + " " + string(request(t, []byte(`{"atoll":1}`)))
		if found := s.In([]byte(innocent)); len(found) != 0 {
			t.Errorf("got %q, want none", found)
		}
	})
}

func TestWhatCannotBeASecretIsRefused(t *testing.T) {
	var s leak.Secrets
	if err := s.AddPEM("the key", []byte("no key")); err == nil {
		t.Error("a text that is not PEM was taken as a key")
	}
	if err := s.AddPEM("the key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("short")})); err == nil {
		t.Error("a key with nothing to look for was taken")
	}
	for _, data := range []string{"", "{}", `{"ticket_key":""}`} {
		if err := s.AddFirstBoot("first-boot data", []byte(data)); err == nil {
			t.Errorf("%q was taken as first-boot data", data)
		}
	}
	if s.Len() != 0 {
		t.Errorf("%d forms are known, want none", s.Len())
	}
}
