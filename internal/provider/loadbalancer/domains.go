package loadbalancer

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
)

// oneDomain is what a plan warns of when a hostname works but would not survive what several nodes are there to survive.
const oneDomain = "One failure domain"

// warnDomains warns when the nodes that may get traffic are all at one site, or at one provider, as topology.CheckMembers does for the
// votes of a database. Sites are told apart by their names alone: two providers in one place have its power and its cables in
// common. While something is unknown that counts there is no warning; the plan that the apply makes knows it.
func (m *Model) warnDomains(ctx context.Context, v view) diag.Diagnostics {
	var diags diag.Diagnostics
	if !v.placed || hasUnknown(ctx, []attr.Value{m.Hostname, m.NodeSettings, m.Sites}) {
		return diags
	}
	var sites, providers []string
	for _, e := range v.endpoints {
		if v.gets(e) {
			sites, providers = append(sites, e.site), append(providers, e.provider)
		}
	}
	site, oneSite := only(sites)
	provider, oneProvider := only(providers)
	switch {
	case oneSite:
		diags.AddAttributeWarning(path.Root("nodes"), oneDomain, fmt.Sprintf(
			"All nodes that serve %s are at one site, %q: its failure takes the hostname down.\n\nAdd a node at another site, best one of another provider.", m.Hostname.ValueString(), site))
	case oneProvider:
		diags.AddAttributeWarning(path.Root("nodes"), oneDomain, fmt.Sprintf(
			"All nodes that serve %s are at one provider, %q: a failure of its network, or an attack on it, takes the hostname down.\n\nAdd a node at another provider.", m.Hostname.ValueString(), provider))
	}
	return diags
}

// only returns what all of a list are, and whether they are all the same and known.
func only(list []string) (value string, one bool) {
	for n, s := range list {
		if s == "" || n > 0 && s != value {
			return "", false
		}
		value = s
	}
	return value, len(list) > 0
}
