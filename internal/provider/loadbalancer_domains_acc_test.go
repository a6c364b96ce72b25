package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
)

// TestLoadBalancerOneDomain plans load balancers that would not survive the failure of a site or of a provider: the plan warns of it,
// and only of what is known.
func TestLoadBalancerOneDomain(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	// elsewhere puts the node in Singapore at another provider.
	elsewhere := func(config string) string {
		return strings.Replace(config, `provider = "colo", site = "ap-south"`, `provider = "linode", site = "ap-south"`, 1)
	}
	const later = "resource \"terraform_data\" \"later\" {\n  input = { site = \"hong-kong\", provider = \"colo\", no = false, version = \"VERSION\" }\n}\n"
	unknown := 0
	// open has a value of the configuration known only when it is applied.
	open := func(config, value, as string) string {
		unknown++
		return strings.Replace(later, "VERSION", "v"+strings.Repeat("i", unknown), 1) + strings.Replace(config, value, as, 1)
	}
	site := []string{`AttributeName("nodes")`, "One failure domain", `All nodes that serve www.example.com are at one site, "hong-kong"`, "Add a node at another site"}
	provider := []string{`AttributeName("nodes")`, "One failure domain", `All nodes that serve www.example.com are at one provider, "colo"`, "Add a node at another provider"}
	none := []string{"One failure domain"}
	tests := []struct {
		name, config string
		// planned is what the plan says, applied what the apply does, nil for nothing.
		planned, applied []string
	}{
		{"one site", served("", hk1, hk2), site, site},
		{"one provider", served("", hk1, hk2, sg1), provider, provider},
		{"two of each", elsewhere(served("", hk1, hk2, sg1)), nil, nil},
		{"one site of two providers", strings.Replace(served("", hk1, hk2), `"colo"`, `"linode"`, 1), site, site},
		{"the other site is drained", elsewhere(served("node_settings = { sg1 = { enabled = false } }", hk1, hk2, sg1)), site, site},
		{"the other site gets nothing", elsewhere(served("node_settings = { sg1 = { weight = 0 } }", hk1, hk2, sg1)), site, site},
		{"the other site is switched off", elsewhere(served("sites = { ap-south = { enabled = false } }", hk1, hk2, sg1)), site, site},
		{"one site by DNS", served("mode = \"dns\"", hk1, hk2), site, site},
		{"nodes without a domain", strings.ReplaceAll(strings.ReplaceAll(served("mode = \"dns\"", hk1, hk2),
			`failure_domain = { provider = "colo", site = "hong-kong" }, `, ""), "cluster =", "failure_domain = null, cluster ="), nil, nil},
		{"a site that is not known yet", open(served("", hk1, sg1), `site = "ap-south"`, "site = terraform_data.later.output.site"), nil, site},
		{"a provider that is not known yet", open(served("", hk1, sg1), `provider = "colo", site = "ap-south"`,
			`provider = terraform_data.later.output.provider, site = "ap-south"`), nil, provider},
		{"not known who serves", open(elsewhere(served("node_settings = { sg1 = { enabled = OPEN } }", hk1, sg1)), "OPEN", "tobool(terraform_data.later.output.no)"), nil, site},
	}
	var steps []resource.TestStep
	for _, tt := range tests {
		check := func(when string, words []string) error {
			var err error
			if words == nil {
				err = e.warned.check(false, none...)
			} else {
				err = e.warned.check(true, words...)
			}
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, when, err)
			}
			return nil
		}
		steps = append(steps, resource.TestStep{
			PreConfig: func() { e.warned.take() }, Config: tt.config,
			ConfigPlanChecks:  resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{do(func() error { return check("planned", tt.planned) })}},
			ConfigStateChecks: []statecheck.StateCheck{checkState(func() error { return check("applied", tt.applied) })},
		})
	}
	e.test(t, steps...)
}
