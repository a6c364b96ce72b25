package platform_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// TestCompose puts the payload beside users' own user-data, and demands that both come out of it as they were: the payload for
// the agent, and every line of the user's in its place for cloud-init.
func TestCompose(t *testing.T) {
	payload, _ := newPayload(t)
	tests := []struct{ name, own, first string }{
		{"nothing", "", "#cloud-config\n"},
		{"a cloud-config", "#cloud-config\npackages: [nginx]\n", "#cloud-config\n"},
		{"a template", "## template: jinja\n#cloud-config\npackages: [\"{{ v1.region }}\"]\n", "## template: jinja\n#cloud-config\n"},
		{"a template that is no YAML yet", "## template: jinja\n#cloud-config\n{% if v1.region %}\npackages: [nginx]\n{% endif %}\n", "## template: jinja\n#cloud-config\n"},
		{"lines as DOS ends them", "#cloud-config\r\npackages: [nginx]\r\n", "#cloud-config\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := platform.Compose(payload, []byte(tt.own))
			if err != nil {
				t.Fatal(err)
			}
			wantPayload(t, out, payload)
			if !strings.HasPrefix(string(out), tt.first) {
				t.Errorf("it begins with %.60q, want %q", out, tt.first)
			}
			var rest strings.Builder
			for line := range strings.Lines(string(out)) {
				if !strings.HasPrefix(line, "# atoll-first-boot: ") {
					rest.WriteString(line)
				}
			}
			if own := tt.own; own != "" && rest.String() != own {
				t.Errorf("without the payload it is %q, want %q", rest.String(), own)
			}
		})
	}
}

// TestComposeScript has user-data in which a line with # is not always a comment: it must not be touched.
func TestComposeScript(t *testing.T) {
	payload, _ := newPayload(t)
	for _, own := range []string{
		"#!/bin/sh\necho hello\n", "#!/usr/bin/env node\nconsole.log(1)\n", "#!/bin/sh\necho \"Grüße aus 香港\"", "#cloud-boothook\n#!/bin/sh\necho hello\n",
		"#include\nhttps://example.com/a\n", "#cloud-config-archive\n- type: text/cloud-config\n", "## template: jinja\n#!/bin/sh\necho {{ v1.region }}\n",
		"#cloud-config-jsonp\n[{ \"op\": \"add\", \"path\": \"/packages\", \"value\": [\"nginx\"] }]\n", "#cloud-config",
	} {
		out, err := platform.Compose(payload, []byte(own))
		if err != nil {
			t.Fatal(err)
		}
		wantPayload(t, out, payload)
		kinds, texts := leaves(t, out)
		if diff := cmp.Diff([]string{"text/cloud-config", "text/plain"}, kinds); diff != "" {
			t.Errorf("%q: parts (-want +got):\n%s", own, diff)
		} else if texts[1] != own {
			t.Errorf("%q has become %q", own, texts[1])
		}
		if i := strings.IndexFunc(string(out), func(r rune) bool { return r > 127 }); i >= 0 {
			t.Errorf("%q: there is more than ASCII at %d", own, i)
		}
	}
}

func wantPayload(t *testing.T, userData, payload []byte) {
	t.Helper()
	got, found, err := platform.Extract(userData)
	if err != nil || !found || !bytes.Equal(got, payload) {
		t.Errorf("the payload is found: %v, error %v, and it is the same: %v", found, err, bytes.Equal(got, payload))
	}
}

// TestComposeMessage has user-data as Terraform's cloudinit provider makes it.
func TestComposeMessage(t *testing.T) {
	payload, _ := newPayload(t)
	for _, encoded := range []bool{false, true} {
		out, err := platform.Compose(payload, multiPart([]byte("#cloud-config\npackages: [nginx]\n"), encoded))
		if err != nil {
			t.Fatal(err)
		}
		wantPayload(t, out, payload)
		want := []string{"text/cloud-config", "text/x-shellscript", "text/cloud-config"}
		got, texts := leaves(t, out)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("parts (-want +got):\n%s\nof\n%s", diff, out)
		} else if !strings.Contains(texts[2], "packages: [nginx]") {
			t.Errorf("the user's own is %q", texts[2])
		}
	}
}

// leaves returns the kinds of a message's parts, and of the parts of these, and their texts.
func leaves(t *testing.T, message []byte) (kinds, texts []string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	var walk func(header textproto.MIMEHeader, body io.Reader)
	walk = func(header textproto.MIMEHeader, body io.Reader) {
		kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(kind, "multipart/") {
			if header.Get("Content-Transfer-Encoding") == "base64" {
				body = base64.NewDecoder(base64.StdEncoding, body)
			}
			text, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			kinds, texts = append(kinds, kind), append(texts, string(text))
			return
		}
		for parts := multipart.NewReader(body, parameters["boundary"]); ; {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			walk(part.Header, part)
		}
	}
	walk(textproto.MIMEHeader(m.Header), m.Body)
	return kinds, texts
}

func TestComposeRefuses(t *testing.T) {
	payload, _ := newPayload(t)
	room := platform.MaxPayload - len(payload)*4/3
	tests := []struct {
		name string
		own  []byte
		want string
	}{
		{"text", []byte("hello"), "#cloud-config"},
		{"too large alone", bytes.Repeat([]byte("#"), platform.MaxPayload+1), "65535"},
		{"too large together", append([]byte("#cloud-config\n#"), bytes.Repeat([]byte("x"), room)...), "65535"},
		{"compressed", compress(t, []byte("#cloud-config\n")), "compressed"},
		{"no YAML", []byte("#cloud-config\npackages: [\n"), "no valid YAML"},
		{"another payload", cloudConfig(t, payload), "must not hold first-boot data"},
		{"a message that is none", []byte("MIME-Version: 1.0\nno header\n\n"), "MIME message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := platform.Compose(payload, tt.own); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
	edited, err := platform.Compose(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := platform.Extract(bytes.Replace(edited, []byte("first-boot: "), []byte("first-boot: ?"), 1)); err == nil || !strings.Contains(err.Error(), "cut off or edited") {
		t.Errorf("an edited comment: got error %v", err)
	}
}
