package loadbalancer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// message is what the nodes are to know of a load balancer, but for the secret in it.
type message struct {
	body spec.LoadBalancer
	// token is what the nodes may act with, and version what the operator calls it.
	token   string
	version int64
	// identities are the nodes that get the token, by name.
	identities map[string]string
}

// message returns what the nodes are to know, as far as the vendor's ids are known. Certificates are by the nodes' names.
func (m *Model) message(v view, l local, i ids, certificates map[string]string, token, apiURL string) message {
	hostname := m.Hostname.ValueString()
	host := hostname
	if h := m.HostHeader.ValueString(); h != "" {
		host = h
	}
	out := message{body: spec.LoadBalancer{
		Nodes: map[string]spec.ServingNode{}, Check: l.check.toSpec(host), MinimumNodes: int(m.MinimumNodes.ValueInt64()), Proxy: l.toSpec(),
	}}
	for _, e := range v.endpoints {
		port := m.portOf(e)
		if port == 0 {
			port = webPort // nobody asks for it: neither the check nor a proxy does
		}
		out.body.Nodes[e.name] = spec.ServingNode{Enabled: v.gets(e), Port: port}
	}
	if p := out.body.Proxy; p != nil {
		p.Certificates = certificates
		if host != hostname {
			p.Hosts = []string{host}
		}
	}
	if l.removal != nil {
		m.addRemoval(&out, v, l, i, apiURL)
		out.token = token
	}
	return out
}

func (m *Model) addRemoval(out *message, v view, l local, i ids, apiURL string) {
	r := &spec.QuickRemoval{AccountID: i.account, Endpoints: map[string]spec.PoolEndpoint{}, Tokens: map[string]string{}}
	if apiURL != cloudflare.DefaultURL {
		r.BaseURL = apiURL
	}
	if i.balancer != "" && m.sticky() {
		r.ZoneID, r.BalancerID = i.zone, i.balancer
	}
	out.version, out.identities = l.removal.APITokenVersion.ValueInt64(), map[string]string{}
	for _, s := range v.sites() {
		for _, e := range s.endpoints {
			if id := i.pools[s.name]; id != "" {
				r.Endpoints[e.name] = spec.PoolEndpoint{Pool: id, Name: e.name}
			}
			if e.identity != "" {
				out.identities[e.name] = e.identity
			}
		}
	}
	out.body.Removal = r
}

// sticky tells whether clients stay on their node.
func (m *Model) sticky() bool {
	return m.Proxied.ValueBool() && known(m.SessionAffinity) && textOf(m.SessionAffinity, "type").ValueString() != string(cloudflare.AffinityNone)
}

// fingerprint tells messages apart. Sealing a token twice gives two texts, so it counts whom it is sealed to and the version that
// the operator gives it.
func (m message) fingerprint() (string, error) {
	if r := m.body.Removal; r != nil {
		open := *r
		open.Tokens = map[string]string{}
		for node, identity := range m.identities {
			open.Tokens[node] = fmt.Sprintf("%s %d", identity, m.version)
		}
		m.body.Removal = &open
	}
	data, err := json.Marshal(m.body)
	if err != nil {
		return "", fmt.Errorf("encode load balancer: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// sealed returns the object as it is signed: with the token for each node, encrypted to it.
func (m message) sealed() (spec.LoadBalancer, diag.Diagnostics) {
	var diags diag.Diagnostics
	for node, identity := range m.identities {
		key, err := trust.ParsePublicKey(identity)
		if err == nil {
			m.body.Removal.Tokens[node], err = trust.Seal(key, m.token)
		}
		if err != nil {
			diags.AddAttributeError(path.Root("nodes"), "Token was not sealed", fmt.Sprintf("The token of quick_removal cannot be encrypted to node %s: %v.", node, err))
		}
	}
	diags.Append(diagnose.Problems(invalid, path.Empty(), map[string]path.Path{
		"proxy.port": path.Root("local_proxy").AtName("port"), "proxy.tls_port": path.Root("local_proxy").AtName("tls").AtName("port"),
		"removal.tokens": path.Root("quick_removal"), "removal.endpoints": path.Root("quick_removal"), "check.command": path.Root("application_check").AtName("command"),
	}, m.body.Validate())...)
	return m.body, diags
}
