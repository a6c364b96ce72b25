package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/adoption"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
)

// sshMachine is an existing machine that Atoll adopts.
type sshMachine struct{}

func (m Model) host(ctx context.Context) (adoption.Host, bool, diag.Diagnostics) {
	s, ok, diags := m.ssh(ctx)
	return adoption.Host{
		Address: s.Host.ValueString(), Port: int(s.Port.ValueInt64()), User: s.User.ValueString(), Key: s.HostKey.ValueString(),
	}, ok, diags
}

func (sshMachine) provision(ctx context.Context, t *task, payload []byte, save saver) diag.Diagnostics {
	host, _, diags := t.model.host(ctx)
	if diags.HasError() {
		return diags
	}
	fail := func(err error) diag.Diagnostics {
		diags.Append(sshDiagnostic("Adopt machine", host, err))
		return diags
	}
	m, err := adoption.Dial(ctx, t.op.Adoption(), host)
	if err != nil {
		return fail(err)
	}
	defer m.Close()
	facts, err := m.Inspect(ctx)
	if err != nil {
		return fail(err)
	}
	if facts.Joined != nil {
		if diags.Append(t.refuseMembership(ctx, host, *facts.Joined)...); diags.HasError() {
			return diags
		}
	}
	if diags.Append(t.checkClock(path.Root("ssh").AtName("host"), "the machine "+host.Address, facts.ClockAhead)...); diags.HasError() {
		return diags
	}
	// From here on there may be something of ours on the machine even if this process dies.
	errState := errors.New("the state cannot be written")
	err = m.Install(ctx, t.op.Adoption(), facts, func() error {
		if diags.Append(save()...); diags.HasError() {
			return errState
		}
		return nil
	})
	if errors.Is(err, errState) {
		return diags
	}
	if err != nil {
		return fail(err)
	}
	// From here on the machine may be a member.
	if diags.Append(save()...); diags.HasError() {
		return diags
	}
	// An agent that has joined as this node by an earlier ticket obeys the new one.
	if err := m.Start(ctx, payload); err != nil {
		return fail(err)
	}
	return diags
}

// refuseMembership returns errors unless the machine's membership is our own earlier adoption that did not come to an end.
func (t *task) refuseMembership(ctx context.Context, host adoption.Host, j adoption.Membership) diag.Diagnostics {
	var diags diag.Diagnostics
	if j.Cluster == t.root.Cluster && j.Node == t.name && j.SigningKey == t.root.Key.String() {
		return t.refuseOthers(ctx, path.Root("ssh").AtName("host"), "Machine "+host.Address, []string{host.Address})
	}
	diags.AddAttributeError(path.Root("ssh").AtName("host"), "Machine is a node already", fmt.Sprintf(
		"The machine %s is node %q of cluster %q (signing key %s).\n\n"+
			"Remove it there first. If that cluster is gone, run `atolld uninstall --purge` on the machine.", host.Address, j.Node, j.Cluster, j.SigningKey))
	return diags
}

func (sshMachine) read(context.Context, *task) (bool, diag.Diagnostics) { return false, nil }

func (sshMachine) update(context.Context, *task, Model) diag.Diagnostics { return nil }

// remove takes the agent off the machine. The cluster has dropped the node before, so a machine that cannot be reached is
// worth a warning only: what is left on it is of no use to anybody.
func (sshMachine) remove(ctx context.Context, t *task) diag.Diagnostics {
	host, ok, diags := t.model.host(ctx)
	if !ok {
		if !diags.HasError() {
			diags.AddAttributeWarning(path.Root("ssh"), "Agent is still installed",
				"How to reach the machine is not in state, so the agent stays installed on it. It has left the cluster; `atolld uninstall --purge` removes it.")
		}
		return diags
	}
	warn := func(err error) {
		d := sshDiagnostic("Agent is still installed", host, err)
		diags.AddAttributeWarning(path.Root("ssh"), d.Summary(), "The node is removed from the cluster, but the agent could not be taken off its machine.\n\n"+
			d.Detail()+"\n\n`atolld uninstall --purge` on the machine removes it.")
	}
	m, err := t.login.wait(t.silent)
	if err != nil {
		warn(err)
		return diags
	}
	defer m.Close()
	if _, err := m.Inspect(ctx); err != nil {
		warn(err)
		return diags
	}
	j, err := t.awaitLeft(ctx, m)
	if err != nil {
		warn(err)
		return diags
	}
	if j != nil && (j.Cluster != t.root.Cluster || j.Node != t.name) {
		diags.AddAttributeWarning(path.Root("ssh"), "Machine belongs to another node",
			fmt.Sprintf("The machine %s is node %q of cluster %q now; it was left as it is.", host.Address, j.Node, j.Cluster))
		return diags
	}
	if err := m.Uninstall(ctx); err != nil {
		warn(err)
	}
	return diags
}

// awaitLeft gives the agent a moment to leave by itself and returns its membership if it has not.
func (t *task) awaitLeft(ctx context.Context, m *adoption.Machine) (*adoption.Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, max(t.op.Patience().Farewell, 5*time.Second))
	defer cancel()
	for {
		j, err := m.Joined(ctx)
		if err != nil || j == nil || j.Cluster != t.root.Cluster || j.Node != t.name {
			return j, err
		}
		if !t.told || !operator.Pause(ctx, t.op.Patience().Poll) {
			return j, nil
		}
	}
}

// sshDiagnostic puts an error of the adoption onto the attribute that mends it.
func sshDiagnostic(summary string, host adoption.Host, err error) diag.Diagnostic {
	at := path.Root("ssh")
	if d, ok := diagnose.Interrupted(summary, at, err.Error(), err); ok {
		return d
	}
	var (
		unknown    *adoption.UnknownHostKeyError
		changed    *adoption.HostKeyChangedError
		login      *adoption.LoginError
		away       *adoption.UnreachableError
		binary     *adoption.BinaryError
		unsuitable *adoption.UnsuitableError
	)
	switch {
	case errors.As(err, &unknown):
		return diag.NewAttributeErrorDiagnostic(at.AtName("host_key"), "SSH host key is not known", fmt.Sprintf(
			"Nothing says which host key the machine %s has, so whoever answers there could be somebody else.\n\n"+
				"It shows %s (%s). Compare that with what the machine's console or its provider says; `ssh-keyscan -p %d %s` prints its keys. "+
				"Then write it as ssh.host_key, or add it to the provider's ssh.known_hosts_file.",
			unknown.Address, unknown.Offered, unknown.Fingerprint, host.Port, host.Address))
	case errors.As(err, &changed):
		return diag.NewAttributeErrorDiagnostic(at.AtName("host_key"), "SSH host key has CHANGED", fmt.Sprintf(
			"The machine %s does not show the expected host key. It is another machine, was installed anew, or SOMEBODY IS BETWEEN YOU AND IT. Nothing was sent to it.\n\n"+
				"Expected (%s): %s\nShown: %s\n\nFind out why before you change ssh.host_key.",
			changed.Address, changed.Where, strings.Join(changed.Expected, ", "), changed.Fingerprint))
	case errors.As(err, &login):
		return diag.NewAttributeErrorDiagnostic(at.AtName("user"), summary, err.Error()+
			".\n\nAllow the public half of the provider's SSH key for that user, or name another user or key.")
	case errors.As(err, &away):
		return diag.NewAttributeErrorDiagnostic(at.AtName("host"), summary, err.Error()+".\n\nCheck ssh.host and ssh.port, and that the machine is up.")
	case errors.As(err, &binary):
		return diag.NewAttributeErrorDiagnostic(at, summary, err.Error()+
			".\n\nSet the provider's agent_binary (or ATOLL_AGENT_BINARY) to the path of the atolld for the machine; {arch} in it stands for amd64 or arm64.")
	case errors.As(err, &unsuitable):
		return diag.NewAttributeErrorDiagnostic(at, summary, err.Error()+".")
	case errors.Is(err, adoption.ErrNoCredentials):
		return diag.NewErrorDiagnostic(summary, err.Error()+".")
	default:
		return diag.NewAttributeErrorDiagnostic(at, summary, err.Error()+".")
	}
}
