package loadbalancer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// certificate is what state knows of one node's certificate.
type certificate struct {
	ID, PEM, Expires types.String
	// Identity is that of the node whose key it is for: a node that is made again has another key.
	Identity types.String
	Days     types.Int64
}

func certificateTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"id": types.StringType, "certificate": types.StringType, "expires": types.StringType, "identity": types.StringType, "days": types.Int64Type,
	}
}

// certificates returns those of a model by the nodes' keys; what is unknown is left out.
func (m *Model) certificates() map[string]certificate {
	out := map[string]certificate{}
	for key, v := range m.Certificates.Elements() {
		o, ok := v.(types.Object)
		if !ok || !known(o) {
			continue
		}
		days, ok := o.Attributes()["days"].(types.Int64)
		if ok {
			out[key] = certificate{
				ID: textOf(o, "id"), PEM: textOf(o, "certificate"), Expires: textOf(o, "expires"), Identity: textOf(o, "identity"), Days: days,
			}
		}
	}
	return out
}

// textOf returns an attribute of an object, null when it is no text.
func textOf(o types.Object, name string) types.String {
	if s, ok := o.Attributes()[name].(types.String); ok {
		return s
	}
	return types.StringNull()
}

func (m *Model) setCertificates(in map[string]certificate) {
	values := map[string]attr.Value{}
	for key, c := range in {
		values[key] = types.ObjectValueMust(certificateTypes(), map[string]attr.Value{
			"id": c.ID, "certificate": c.PEM, "expires": c.Expires, "identity": c.Identity, "days": c.Days,
		})
	}
	m.Certificates = types.MapValueMust(types.ObjectType{AttrTypes: certificateTypes()}, values)
}

// maxLeft is how long before its end a certificate is renewed at the earliest.
const maxLeft = 90 * 24 * time.Hour

// due tells whether a certificate is to be renewed: when a third of its time is left, or 90 days.
func (c certificate) due(now time.Time) bool {
	expires, err := time.Parse(time.RFC3339, c.Expires.ValueString())
	left := min(time.Duration(c.Days.ValueInt64())*24*time.Hour/3, maxLeft)
	return err != nil || expires.Sub(now) < left
}

// good tells whether a certificate serves a node as it is described now.
func (c certificate) good(e endpoint, l local, now time.Time) bool {
	return !c.due(now) && c.Identity.ValueString() == e.identity && c.Days.Equal(l.tls.ValidityDays)
}

// renews tells whether a plan has certificates to issue or to revoke.
func (m *Model) renews(state *Model, v view, l local, now time.Time) bool {
	have := state.certificates()
	if l.tls == nil {
		return len(have) > 0
	}
	for _, e := range v.endpoints {
		c, ok := have[e.key]
		if !ok || !c.good(e, l, now) {
			return true
		}
	}
	return len(have) != len(v.endpoints)
}

// certificatesByName returns the certificates as the nodes know them, nil when there are none.
func (t *task) certificatesByName() map[string]string {
	var out map[string]string
	for _, e := range t.orders.view.endpoints {
		if c, ok := t.ids.certificates[e.key]; ok {
			if out == nil {
				out = map[string]string{}
			}
			out[e.name] = c.PEM.ValueString()
		}
	}
	return out
}

// certify lets each node that lacks a certificate make a key and has it certified. A node that does not answer keeps what it has.
func (t *task) certify(ctx context.Context, d *desired) diag.Diagnostics {
	l := t.orders.local
	if l.tls == nil {
		return nil
	}
	var diags diag.Diagnostics
	for _, e := range t.orders.view.endpoints {
		have, ok := t.ids.certificates[e.key]
		if ok && have.good(e, l, t.crew.op.Now()) {
			continue
		}
		made, others, err := t.issue(ctx, d.hostname, e, !ok)
		if err != nil && t.crew.op.Cluster(t.crew.cluster).Removed(e.name) {
			continue
		}
		if err != nil {
			var more diag.Diagnostics
			if more, ok = t.certifyFailed(ctx, e, ok && !have.due(t.crew.op.Now()), err); ok {
				diags.Append(more...)
				continue
			}
			return append(diags, more...)
		}
		if ok {
			others = append(others, have.ID.ValueString())
		}
		t.crew.memory.Replaced = append(t.crew.memory.Replaced, others...)
		t.ids.certificates[e.key] = made
		diags.Append(t.crew.remember(ctx)...)
		if diags.Append(t.save(t.ids)...); diags.HasError() {
			return diags
		}
	}
	return diags
}

// issue has a key of a node certified. When search, a certificate is looked for first that the key has already: what a load balancer
// was imported from goes on to be good, and is revoked with it. Others are the ids of those that the key has besides, which nobody
// uses any more.
func (t *task) issue(ctx context.Context, hostname string, e endpoint, search bool) (got certificate, others []string, err error) {
	names := []string{hostname}
	csr, err := t.crew.request(ctx, e.name, names)
	if err != nil {
		return certificate{}, nil, &silentError{err}
	}
	days := t.orders.local.tls.ValidityDays
	request := cloudflare.CertificateRequest{CSR: csr, Hostnames: names, Days: int(days.ValueInt64()), Known: t.knownCertificates()}
	known := func(c cloudflare.Certificate) certificate {
		return certificate{
			ID: types.StringValue(c.ID), PEM: types.StringValue(c.PEM), Expires: types.StringValue(c.Expires.UTC().Format(time.RFC3339)),
			Identity: types.StringValue(e.identity), Days: days,
		}
	}
	if search {
		found, err := t.client.FindCertificates(ctx, t.ids.zone, request)
		if err != nil {
			return certificate{}, nil, err
		}
		for _, one := range found {
			if have := known(one); got.ID.IsNull() && one.Days == request.Days && !have.due(t.crew.op.Now()) {
				got = have
			} else {
				others = append(others, one.ID)
			}
		}
		if !got.ID.IsNull() {
			return got, others, nil
		}
	}
	made, err := t.client.CreateCertificate(ctx, t.ids.zone, request)
	if err != nil {
		return certificate{}, nil, err
	}
	return known(made), others, nil
}

// knownCertificates returns the ids of those that state knows.
func (t *task) knownCertificates() []string {
	out := slices.Clone(t.crew.memory.Replaced)
	for _, c := range t.ids.certificates {
		out = append(out, c.ID.ValueString())
	}
	return out
}

// silentError is the failure of a node to make a key.
type silentError struct{ error }

func (e *silentError) Unwrap() error { return e.error }

// certifyFailed says what became of a certificate, and whether the operation goes on: one node that is silent is no reason to leave
// the others as they are.
func (t *task) certifyFailed(ctx context.Context, e endpoint, served bool, err error) (diags diag.Diagnostics, goOn bool) {
	at := path.Root("local_proxy").AtName("tls")
	silent, ok := err.(*silentError) //nolint:errorlint // it is never wrapped
	if !ok {
		return t.fail(ctx, "Certificate of node "+e.name, at, err), false
	}
	what := "it has none and cannot serve HTTPS"
	if served {
		what = "it goes on with the one it has"
	}
	diags.AddAttributeWarning(at, "Node has no new certificate", fmt.Sprintf(
		"Node %s did not make a key for a certificate of %s, so %s: %v. The next apply tries again.", e.name, t.crew.ref.Name, what, silent.error))
	return diags, true
}

// revoke revokes the certificates that nobody uses any more: replaced ones, and those of nodes that are not there any more.
func (t *task) revoke(ctx context.Context, _ *desired) diag.Diagnostics {
	wanted := map[string]bool{}
	if t.orders != nil && t.orders.local.tls != nil {
		for _, e := range t.orders.view.endpoints {
			wanted[e.key] = true
		}
	}
	for _, id := range t.crew.memory.Replaced {
		if err := t.client.RevokeCertificate(ctx, id); err != nil {
			return t.fail(ctx, "Revoke certificate", path.Root("local_proxy"), err)
		}
	}
	if len(t.crew.memory.Replaced) > 0 {
		t.crew.memory.Replaced = nil
		if diags := t.crew.remember(ctx); diags.HasError() {
			return diags
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.ids.certificates)) {
		if wanted[key] {
			continue
		}
		if err := t.client.RevokeCertificate(ctx, t.ids.certificates[key].ID.ValueString()); err != nil {
			return t.fail(ctx, "Revoke certificate", path.Root("local_proxy"), err)
		}
		delete(t.ids.certificates, key)
		if diags := t.save(t.ids); diags.HasError() {
			return diags
		}
	}
	return nil
}
