package meshlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// pair is one operation on one link.
type pair struct {
	op       *operator.Operator
	key      *trust.SigningKey
	cluster  string
	link     spec.Link
	from, to operator.Peer
}

func (r *Resource) begin(ctx context.Context, m Model) (*pair, diag.Diagnostics) {
	e, diags := m.ends(ctx)
	p := &pair{op: r.op, cluster: e.cluster(), link: m.ToSpec(e)}
	var more diag.Diagnostics
	p.from = operator.Peer{Name: p.link.From, Identity: e.from.Identity.ValueString()}
	p.from.Endpoints, more = e.from.Addresses(ctx)
	diags.Append(more...)
	p.to = operator.Peer{Name: p.link.To, Identity: e.to.Identity.ValueString()}
	p.to.Endpoints, more = e.to.Addresses(ctx)
	diags.Append(more...)
	r.op.Cluster(p.cluster).Hear(map[string][]string{p.from.Name: p.from.Endpoints, p.to.Name: p.to.Endpoints})
	key, err := r.op.Key()
	if err != nil {
		diags.Append(diagnose.SigningKey(err))
	}
	p.key = key
	return p, diags
}

func (p *pair) ref() spec.Ref { return spec.Ref{Kind: spec.KindLink, Name: p.link.Name()} }

func (p *pair) ends() []operator.Peer { return []operator.Peer{p.from, p.to} }

// glance is look for a refresh.
func (p *pair) glance(ctx context.Context) (operator.Known, bool) {
	for _, end := range p.ends() {
		if seen, err := p.op.Glance(ctx, p.cluster, end); err == nil {
			return seen, true
		}
	}
	return operator.Known{}, false
}

// overview is view for a refresh.
func (p *pair) overview(ctx context.Context) *api.LinkView {
	status, err := p.op.Overview(ctx, p.cluster, p.ends())
	if err != nil {
		return nil
	}
	if v, ok := status.Links[p.link.Name()]; ok {
		return &v
	}
	return nil
}

// view returns how the link fares, as the first end that answers knows it; nil when none does.
func (p *pair) view(ctx context.Context) *api.LinkView {
	for _, end := range p.ends() {
		status, err := p.op.Status(ctx, p.cluster, end)
		if err != nil {
			continue
		}
		if v, ok := status.Links[p.link.Name()]; ok {
			return &v
		}
	}
	return nil
}

// apply introduces the ends, pushes the link and waits until it is up. Save is called once the link is described.
func (r *Resource) apply(ctx context.Context, m *Model, known uint64, private privateWriter, save func() diag.Diagnostics) diag.Diagnostics {
	p, diags := r.begin(ctx, *m)
	if diags.HasError() {
		return diags
	}
	records, generation, more := p.gather(ctx, known)
	if diags.Append(more...); diags.HasError() {
		return diags
	}
	describe := func() {
		m.FromSpec(p.cluster, p.link)
		diags.Append(save()...)
		diags.Append(remember(ctx, private, generation)...)
	}
	if known == 0 {
		// A new link is in state before the first end hears of it, or an end could hold one that nobody knows. A changed one
		// is not, or a failure would pass for done.
		describe()
	}
	for _, end := range p.ends() {
		if diags.HasError() {
			return diags
		}
		if err := p.op.TellOnce(ctx, p.cluster, end, records); err != nil && !p.alreadyThere(err) {
			diags.Append(pushFailed(end.Name, err))
		}
	}
	if known != 0 && !diags.HasError() {
		describe()
	}
	if diags.HasError() {
		return diags
	}
	diags.Append(p.await(ctx, m)...)
	return diags
}

// alreadyThere tells whether an end only has something newer about the nodes themselves, which is as good.
func (p *pair) alreadyThere(err error) bool {
	var outdated *operator.OutdatedError
	return errors.As(err, &outdated) && outdated.Outcome.Key != store.ObjectKey(p.ref())
}

// gather returns what both ends are to know: each other, and the link.
func (p *pair) gather(ctx context.Context, known uint64) ([]store.Record, uint64, diag.Diagnostics) {
	const failed = "Link was not made"
	var diags diag.Diagnostics
	var records []store.Record
	generation := uint64(0)
	for _, end := range p.ends() {
		seen, err := p.op.Look(ctx, p.cluster, end.Name, end.Endpoints, end.Identity)
		if err != nil {
			diags.AddError(failed, fmt.Sprintf("Node %q does not answer: %v.\n\nBoth ends of a link must be up when it is made.", end.Name, err))
			return nil, 0, diags
		}
		records = append(records, seen.Introduction(end.Name)...)
		generation = max(generation, seen.Generations[p.ref()])
	}
	if known != 0 && generation > known {
		diags.AddError("Changed by another run", fmt.Sprintf("Link %s has generation %d, this state knows %d: another run changed it since the plan was made.\n\n"+
			"Nothing was overwritten. Refresh and apply again.", p.link.Name(), generation, known))
		return nil, 0, diags
	}
	now := p.op.Now()
	generation = operator.Generation(generation, now)
	o, err := spec.NewObject(p.cluster, p.link.Name(), generation, uint64(now.UnixMilli()), p.link)
	if err != nil {
		diags.AddError(failed, err.Error()+".")
		return nil, 0, diags
	}
	e, err := trust.SignObject(p.key, o)
	if err != nil {
		diags.AddError(failed, err.Error()+".")
		return nil, 0, diags
	}
	return append(records, store.ObjectRecord(e)), generation, diags
}

// await waits until each end reaches the other over the mesh. The direct path comes up a moment after the first one, so it
// is waited for a little; a pair that has none is linked all the same.
func (p *pair) await(ctx context.Context, m *Model) diag.Diagnostics {
	var diags diag.Diagnostics
	var since time.Time
	for {
		v := p.view(ctx)
		if v != nil {
			m.Observe(v, p.link.From)
			switch {
			case v.There.State == api.UpDirect && v.Back.State == api.UpDirect:
				return diags
			case !up(v.There.State) || !up(v.Back.State):
				since = time.Time{}
			case since.IsZero():
				since = time.Now()
			case time.Since(since) >= p.op.Patience().Direct:
				return diags
			}
		}
		if !operator.Pause(ctx, p.op.Patience().Poll) {
			//nolint:contextcheck // the caller's time is over, the explanation needs a moment of its own
			diags.AddError("Link is not up", p.explain(v))
			return diags
		}
	}
}

func up(s api.DirectionState) bool { return s == api.UpDirect || s == api.UpIndirect }

// explain says in which direction the link does not work and what the ends say of themselves.
func (p *pair) explain(v *api.LinkView) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Nodes %q and %q do not reach each other over the mesh in both directions in time.\n", p.link.From, p.link.To)
	if v != nil {
		there, back := v.There, v.Back
		if v.From != p.link.From {
			there, back = back, there
		}
		fmt.Fprintf(&b, "\n- %s to %s: %s\n- %s to %s: %s", p.link.From, p.link.To, there.State, p.link.To, p.link.From, back.State)
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.op.Patience().Dial)
	defer cancel()
	for _, end := range p.ends() {
		status, err := p.op.Status(ctx, p.cluster, end)
		if err != nil {
			fmt.Fprintf(&b, "\n- %s does not answer: %v", end.Name, err)
			continue
		}
		if n := status.Nodes[end.Name]; n.Message != "" {
			fmt.Fprintf(&b, "\n- %s says: %s", end.Name, n.Message)
		}
	}
	b.WriteString("\n\nThe mesh port (TCP and UDP) must be open from each node to the other. The link is described; apply again to go on waiting.")
	return b.String()
}

// remove signs the link's removal. An end that is gone cannot take it and need not: one end is enough to spread it.
func (p *pair) remove(ctx context.Context, known uint64) diag.Diagnostics {
	var diags diag.Diagnostics
	seen, answers := p.look(ctx)
	if !answers {
		// With both nodes gone the link is gone too. With both merely silent, its settings stay where they are.
		if p.link.Settings != (spec.LinkSettings{}) {
			diags.AddWarning("Link's settings are not withdrawn", fmt.Sprintf(
				"Neither %q nor %q answers, so link %s keeps its settings in the cluster. If the nodes are to stay, create the link again once they are back and remove it then.",
				p.link.From, p.link.To, p.link.Name()))
		}
		return diags
	}
	now := p.op.Now()
	generation := operator.Generation(max(known, seen.Generations[p.ref()]), now)
	e, err := trust.SignObject(p.key, spec.NewTombstone(p.cluster, p.ref(), generation, uint64(now.UnixMilli())))
	if err != nil {
		diags.AddError("Link was not removed", err.Error()+".")
		return diags
	}
	for end, err := range p.tellAny(ctx, []store.Record{store.ObjectRecord(e)}) {
		if !errors.Is(err, api.ErrUnreachable) {
			diags.Append(pushFailed(end, err))
		}
	}
	return diags
}

func pushFailed(node string, err error) diag.Diagnostic {
	var outdated *operator.OutdatedError
	if errors.As(err, &outdated) {
		return diag.NewErrorDiagnostic("Changed by another run", err.Error()+".\n\nNothing was overwritten. Refresh and apply again.")
	}
	return diag.NewErrorDiagnostic("Link was not pushed", fmt.Sprintf("Node %q did not take it: %v.", node, err))
}

const memoryKey = "link"

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

// recall returns the newest generation of the link object that the state knows, 0 when it knows none.
func recall(ctx context.Context, p privateReader) (uint64, diag.Diagnostics) {
	data, diags := p.GetKey(ctx, memoryKey)
	var generation uint64
	if len(data) > 0 {
		if err := json.Unmarshal(data, &generation); err != nil {
			diags.AddWarning("Private state", fmt.Sprintf("The generation of the link cannot be read: %v.", err))
		}
	}
	return generation, diags
}

func remember(ctx context.Context, p privateWriter, generation uint64) diag.Diagnostics {
	data, err := json.Marshal(generation)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Private state", err.Error())}
	}
	return p.SetKey(ctx, memoryKey, data)
}
