package diagnose_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// pathOf returns where a diagnostic points, "" for the whole resource.
func pathOf(d diag.Diagnostic) string {
	if at, ok := d.(diag.DiagnosticWithPath); ok {
		return at.Path().String()
	}
	return ""
}

func TestProblems(t *testing.T) {
	t.Parallel()
	diags := diagnose.Problems("Invalid", path.Empty(), map[string]path.Path{"settings.mtu": path.Root("mtu")}, spec.Problems{
		{Field: "mesh.tinc.ping_timeout", Message: "is too long", Remedy: "shorten it"},
		{Field: "settings.mtu", Message: "is too large"},
	})
	want := []struct{ at, detail string }{
		{"mesh.tinc.ping_timeout", "mesh.tinc.ping_timeout is too long.\n\nShorten it."},
		{"mtu", "settings.mtu is too large."},
	}
	if len(diags) != len(want) {
		t.Fatalf("got %v", diags)
	}
	for i, w := range want {
		if got := pathOf(diags[i]); got != w.at || diags[i].Detail() != w.detail {
			t.Errorf("got %q on %s, want %q on %s", diags[i].Detail(), got, w.detail, w.at)
		}
	}
}

func TestLinode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		err      error
		at, says string
	}{
		{
			"a field with an attribute",
			&linode.Error{Kind: linode.ErrInvalid, Status: 400, Reasons: []linode.Reason{{Field: "region", Reason: "no such region"}}},
			"linode.region", "no such region",
		},
		{"a field without one", &linode.Error{Kind: linode.ErrInvalid, Status: 400, Reasons: []linode.Reason{{Field: "swap_size", Reason: "too large"}}}, "linode", "swap_size: too large"},
		{"token", &linode.Error{Kind: linode.ErrUnauthorized, Status: 401}, "linode", "LINODE_TOKEN"},
		{"limit", &linode.Error{Kind: linode.ErrRateLimited, Status: 429}, "linode", "-parallelism"},
		{"down", &linode.Error{Kind: linode.ErrUnavailable, Status: 500}, "linode", "status.linode.com"},
		{"wrapped", fmt.Errorf("make: %w", &linode.Error{Kind: linode.ErrUnreachable, Err: errors.New("cut")}), "linode", "cut"},
		{"another error", errors.New("no idea"), "linode", "no idea."},
		{"interrupted", &linode.Error{Op: "list", Kind: linode.ErrRateLimited, Err: context.Canceled}, "linode", "interrupted: list.\n\nWhat was done so far is kept"},
		{"interrupted while nothing was sent", fmt.Errorf("pause: %w", context.Canceled), "linode", "interrupted: pause"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			diags := diagnose.Linode("Create", path.Root("linode"), tt.err)
			if len(diags) != 1 || pathOf(diags[0]) != tt.at || !strings.Contains(diags[0].Detail(), tt.says) {
				t.Errorf("got %v, want %q on %s", diags, tt.says, tt.at)
			}
		})
	}
}

func TestSigningKey(t *testing.T) {
	t.Parallel()
	if d := diagnose.SigningKey(fmt.Errorf("begin: %w", trust.ErrNoSigningKey)); !strings.Contains(d.Detail(), "ATOLL_SIGNING_KEY_FILE") {
		t.Errorf("a missing key: got %q", d.Detail())
	}
	if d := diagnose.SigningKey(errors.New("it is damaged")); !strings.Contains(d.Detail(), "it is damaged") {
		t.Errorf("a damaged key: got %q", d.Detail())
	}
}
