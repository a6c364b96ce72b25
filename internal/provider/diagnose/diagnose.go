// Package diagnose turns errors of the other packages into diagnostics that name the attribute to change.
package diagnose

import (
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// Field returns the attribute path of a spec field such as "mesh.tinc.ping_timeout" below base. Attributes have the names of
// the fields; renamed maps the fields where that is not so, by their whole path.
func Field(base path.Path, field string, renamed map[string]path.Path) path.Path {
	if p, ok := renamed[field]; ok {
		return p
	}
	p := base
	for name := range strings.SplitSeq(field, ".") {
		p = p.AtName(name)
	}
	return p
}

// Problems returns one error for each problem, on the attribute that the problem's field names.
func Problems(summary string, base path.Path, renamed map[string]path.Path, ps spec.Problems) diag.Diagnostics {
	var diags diag.Diagnostics
	for _, p := range ps {
		diags.AddAttributeError(Field(base, p.Field, renamed), summary, Sentence(p.Field+" "+p.Message, p.Remedy))
	}
	return diags
}

// Sentence joins what is wrong and what to do.
func Sentence(what, remedy string) string {
	if remedy == "" {
		return what + "."
	}
	return what + ".\n\n" + strings.ToUpper(remedy[:1]) + remedy[1:] + "."
}

// Interrupted returns the diagnostic of an error that is there because somebody has stopped the run, which says nothing of what
// the run was about. doing is what was going on.
func Interrupted(summary string, at path.Path, doing string, err error) (diag.Diagnostic, bool) {
	if !errors.Is(err, context.Canceled) {
		return nil, false
	}
	detail := "The run was interrupted: " + doing + ".\n\nWhat was done so far is kept: apply again to go on."
	if at.Equal(path.Empty()) {
		return diag.NewErrorDiagnostic(summary, detail), true
	}
	return diag.NewAttributeErrorDiagnostic(at, summary, detail), true
}

// linodeFields are the fields of Linode's API that have an attribute, below the attribute linode.
func linodeFields() map[string]string {
	return map[string]string{
		"label": "label", "region": "region", "type": "type", "image": "image", "tags": "tags",
		"authorized_keys": "authorized_keys", "firewall_id": "firewall_id", "interface_generation": "interface_generation",
	}
}

// Linode returns the diagnostics of an error of Linode's API for a resource whose Linode arguments are at base.
func Linode(summary string, base path.Path, err error) diag.Diagnostics {
	fields := map[string]path.Path{}
	for field, name := range linodeFields() {
		fields[field] = base.AtName(name)
	}
	return LinodeFields(summary, base, fields, func(error) string { return "" }, err)
}

// LinodeFields is Linode for a resource of which fields names the attribute of each field of the API. What no field names
// is put at base, with what remedy says of the error's kind or, when that is nothing, what helps in general.
func LinodeFields(summary string, base path.Path, fields map[string]path.Path, remedy func(kind error) string, err error) diag.Diagnostics {
	var diags diag.Diagnostics
	var failure *linode.Error
	doing := err.Error()
	if errors.As(err, &failure) {
		doing = failure.Op
	}
	if d, ok := Interrupted(summary, base, doing, err); ok {
		diags.Append(d)
		return diags
	}
	if failure == nil {
		diags.AddAttributeError(base, summary, err.Error()+".")
		return diags
	}
	if errors.Is(failure.Kind, linode.ErrInvalid) || errors.Is(failure.Kind, linode.ErrConflict) {
		for _, r := range failure.Reasons {
			if at, ok := fields[r.Field]; ok {
				diags.AddAttributeError(at, summary, failure.Op+": "+r.Reason)
			}
		}
		if diags.HasError() {
			return diags
		}
	}
	what := remedy(failure.Kind)
	if what == "" {
		what = linodeRemedy(failure.Kind)
	}
	diags.AddAttributeError(base, summary, failure.Error()+"."+what)
	return diags
}

func linodeRemedy(kind error) string {
	switch {
	case errors.Is(kind, linode.ErrUnauthorized):
		return "\n\nGive the provider a token (linode.token or LINODE_TOKEN) with the scopes linodes:read_write and events:read_only."
	case errors.Is(kind, linode.ErrRateLimited):
		return "\n\nApply again later, or with a smaller -parallelism; what was done so far is kept."
	case errors.Is(kind, linode.ErrNotFound):
		return "\n\nThe instance vanished while this ran: apply again, which makes what is missing."
	case errors.Is(kind, linode.ErrConflict), errors.Is(kind, linode.ErrBusy):
		return "\n\nSomething else is under way with the instance (a backup, a migration, another program): apply again when it is over; what was done so far is kept."
	case errors.Is(kind, linode.ErrUnavailable), errors.Is(kind, linode.ErrUnreachable):
		return "\n\nLook at status.linode.com and at the way to the API (linode.url or LINODE_URL), then apply again; what was done so far is kept."
	default:
		return ""
	}
}

// SigningKey returns the diagnostic for a signing key that is missing or cannot be used, on attribute at when it is known
// which one is at fault.
func SigningKey(err error) diag.Diagnostic {
	detail := err.Error() + "."
	if errors.Is(err, trust.ErrNoSigningKey) {
		detail = "This needs the cluster's signing key, and the provider has none.\n\n" +
			"Set signing_key in the provider block, or ATOLL_SIGNING_KEY, or ATOLL_SIGNING_KEY_FILE. `atoll key new` makes one."
	}
	return diag.NewErrorDiagnostic("Signing key", detail)
}
