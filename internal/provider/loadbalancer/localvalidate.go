package loadbalancer

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// local checks what is asked of the nodes themselves.
func (c *check) local(v view, l local) {
	if !c.config.MinimumNodes.IsNull() && !l.any() && !l.unknown {
		c.fault(path.Root("minimum_nodes"), "minimum_nodes has no effect without application_check, quick_removal and local_proxy: nodes that know nothing of the hostname answer at %s, each for itself.\n\n"+
			"Remove it, or add one of them.", api.HealthPath)
	}
	if n := c.config.MinimumNodes; known(n) && !c.m.Nodes.IsUnknown() && n.ValueInt64() > int64(len(c.m.Nodes.Elements())) {
		c.fault(path.Root("minimum_nodes"), "there are only %d nodes, so %d of them cannot stay in service.\n\nGive a smaller number.", len(c.m.Nodes.Elements()), n.ValueInt64())
	}
	if !l.any() {
		return
	}
	c.crew(v, l)
	if l.check != nil {
		c.application(v, l)
	}
	if l.removal != nil {
		c.removal()
	}
	if l.proxy != nil {
		c.proxy(v, l)
	}
}

// crew checks that the nodes can be told: all of them are of one cluster and have an API.
func (c *check) crew(v view, l local) {
	cluster := ""
	for _, e := range v.endpoints {
		switch {
		case e.mute:
			c.fault(e.at().AtName("endpoints"), "node %s has no endpoints: it cannot be told of application_check, quick_removal or local_proxy.\n\nGive the atoll_node itself, or its endpoints and identity.", e.key)
		case e.nameless && l.removal != nil:
			c.fault(e.at().AtName("identity"), "node %s has no identity, to which the token of quick_removal is encrypted.\n\nGive the atoll_node itself, or its identity.", e.key)
		}
		if e.cluster == "" {
			continue
		}
		if cluster != "" && cluster != e.cluster {
			c.fault(e.at().AtName("cluster"), "node %s is of cluster %s, another of %s: only the nodes of one cluster know each other.\n\nGive each cluster a load balancer of its own.", e.key, e.cluster, cluster)
		}
		cluster = e.cluster
	}
}

func (c *check) application(v view, l local) {
	at := path.Root("application_check")
	a := l.check
	kind := spec.CheckType(a.Type.ValueString())
	if !known(a.Type) {
		return
	}
	useless := map[string]attr.Value{"command": a.Command}
	switch kind {
	case spec.CheckHTTP:
	case spec.CheckTCP:
		useless["path"], useless["host_header"], useless["status"] = a.Path, a.HostHeader, a.Status
	case spec.CheckCommand:
		useless = map[string]attr.Value{"path": a.Path, "host_header": a.HostHeader, "status": a.Status, "port": a.Port}
		if command := listStrings(a.Command); a.Command.IsNull() || len(command) > 0 && command[0][:min(1, len(command[0]))] != "/" {
			c.fault(at.AtName("command"), "a check of type command needs the program's absolute path, then its arguments.\n\nWrite for example command = [\"/usr/local/bin/check\", \"--quick\"].")
		}
	}
	for name, value := range useless {
		if !value.IsNull() {
			c.fault(at.AtName(name), "%s has no effect on a check of type %s.\n\nRemove it, or set another type.", name, kind)
		}
	}
	if kind == spec.CheckCommand || a.Port.IsUnknown() {
		return
	}
	if a.Port.IsNull() {
		c.needPort(v, "application_check asks the application")
		return
	}
	port := int(a.Port.ValueInt64())
	plain, tls := l.ports()
	if port == plain || port == tls {
		c.fault(at.AtName("port"), "%d is the port of local_proxy, which answers from another node while the application is down.\n\nAsk the application's own port.", port)
	}
	for _, e := range v.endpoints {
		if what := e.agentPort(port); what != "" {
			c.fault(at.AtName("port"), "%d is %s on node %s, not the application's.\n\nAsk the application's own port.", port, what, e.key)
			return
		}
	}
}

// needPort demands that the application's port is known on every node.
func (c *check) needPort(v view, why string) {
	if c.m.Port.IsUnknown() || c.m.NodeSettings.IsUnknown() {
		return
	}
	for _, e := range v.endpoints {
		if c.m.portOf(e) == 0 {
			c.fault(path.Root("port"), "%s, so its port must be known.\n\nGive port, or node_settings.%s.port.", why, e.key)
			return
		}
	}
}

func (c *check) removal() {
	at := path.Root("quick_removal")
	if c.m.Mode.ValueString() == string(ModeDNS) {
		c.fault(at, "quick_removal has no effect in mode %q: there are no pools to take a node out of.\n\nRemove it, or set mode to %q.", ModeDNS, ModeBalancer)
	}
	if n := len(c.m.Nodes.Elements()); !c.m.Nodes.IsUnknown() && n < spec.MinRemovalNodes {
		c.fault(at, "quick_removal needs at least %d nodes, not %d: a node is dead when most of all nodes say so, and with fewer, one that is merely cut off would decide alone "+
			"and take the other out.\n\nAdd nodes, or leave it to the monitor.", spec.MinRemovalNodes, n)
	}
}

func (c *check) proxy(v view, l local) {
	at := path.Root("local_proxy")
	tlsAt := at.AtName("tls").AtName("port")
	if l.proxy.Port.IsNull() && l.proxy.TLS.IsNull() {
		c.fault(at, "local_proxy listens nowhere.\n\nGive port, tls or both.")
	}
	plain, tls := l.ports()
	if plain != 0 && plain == tls {
		c.fault(tlsAt, "%d is the port of plain HTTP too.\n\nGive HTTPS another.", tls)
	}
	if l.tls != nil && known(c.m.Proxied) && !c.m.Proxied.ValueBool() {
		c.fault(at.AtName("tls"), "tls needs proxied: browsers do not trust the certificates, which are for Cloudflare alone.\n\nSet proxied to true, or remove tls.")
	}
	c.needPort(v, "local_proxy passes requests to the application")
	c.free(v, at.AtName("port"), plain)
	c.free(v, tlsAt, tls)
}

// free checks that a port of the proxy is nobody else's on any node.
func (c *check) free(v view, at path.Path, port int) {
	if port == 0 {
		return
	}
	for _, e := range v.endpoints {
		if c.m.portOf(e) == port {
			c.fault(at, "%d is the port of the application on node %s, which listens there itself.\n\nLet the application listen on another port than the proxy.", port, e.key)
			return
		}
		if what := e.agentPort(port); what != "" {
			c.fault(at, "%d is %s on node %s.\n\nChoose another port.", port, what, e.key)
			return
		}
	}
}

// agentPort says what the agent has a port for, "" when it has not.
func (e endpoint) agentPort(port int) string {
	if port == e.healthPort {
		return "the port of the agent's health endpoint"
	}
	if slices.ContainsFunc(e.apis, func(api string) bool {
		_, p, err := net.SplitHostPort(api)
		return err == nil && p == strconv.Itoa(port)
	}) {
		return "the port of the agent's API"
	}
	return ""
}

// warnPorts tells of nodes that say which ports everybody may reach, when the one that Cloudflare needs is not among them. The
// agents open the ports of a proxy themselves.
func (m *Model) warnPorts(v view, l local) diag.Diagnostics {
	var diags diag.Diagnostics
	if l.proxy != nil || l.unknown || m.NodeSettings.IsUnknown() || !known(m.Proxied) {
		return diags
	}
	for _, e := range v.endpoints {
		port := m.portOf(e)
		if port != 0 && e.public != nil && !slices.Contains(e.public, port) {
			diags.AddAttributeWarning(e.at().AtName("public_ports"), "Port is closed", fmt.Sprintf(
				"Node %s serves at port %d, which its public_ports do not have: the firewall of Atoll's node image lets nobody in. Add it there, or use local_proxy.", e.key, port))
		}
	}
	return diags
}
