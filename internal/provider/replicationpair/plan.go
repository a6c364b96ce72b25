package replicationpair

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/crew"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const (
	invalid = "Invalid pair"
	// lookTimeout bounds what a plan asks nodes, since it also works without their answers.
	lookTimeout = 5 * time.Second
)

// ModifyPlan fills in what follows from the configuration and checks the pair, as far as it is known, against the others.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var state *Model
	if !req.State.Raw.IsNull() {
		state = &Model{}
		resp.Diagnostics.Append(req.State.Get(ctx, state)...)
	}
	if req.Plan.Raw.IsNull() {
		if state != nil {
			r.leave(ctx, state)
		}
		return
	}
	var plan, config Model
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.settle(&config)
	changed := state == nil || !sameArguments(&plan, state)
	if changed {
		plan.expectNothing()
	}
	p, diags := plan.pair(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	plan.ID = types.StringUnknown()
	if p.cluster != "" && p.name != "" {
		plan.ID = types.StringValue(p.id())
	}
	resp.Diagnostics.Append(resp.Plan.Set(ctx, &plan)...)
	resp.Diagnostics.Append(plan.validate(ctx, &p)...)
	if state != nil && plan.moves(ctx, &p, state) {
		resp.RequiresReplace.Append(path.Root("nodes"))
	}
	if r.op == nil || !p.whole || resp.Diagnostics.HasError() {
		return
	}
	if state != nil && !state.Name.Equal(plan.Name) {
		r.leave(ctx, state)
	}
	resp.Diagnostics.Append(r.place(ctx, &p, state == nil, changed)...)
	if resp.Diagnostics.HasError() || !changed {
		return
	}
	was, diags := planned(ctx, state)
	if diags.HasError() {
		return
	}
	if was == nil || p.newTrees(was) {
		resp.Diagnostics.Append(r.suits(ctx, &p, was == nil)...)
	}
	if p.newRoots(was) {
		resp.Diagnostics.Append(r.suitCold(ctx, &p)...)
	}
}

// planned returns the pair that a state describes, nil without one.
func planned(ctx context.Context, state *Model) (*pair, diag.Diagnostics) {
	if state == nil {
		return nil, nil
	}
	was, diags := state.pair(ctx)
	return &was, diags
}

// moves tells whether the pair is to be one of another cluster.
func (m *Model) moves(ctx context.Context, p *pair, state *Model) bool {
	was, diags := state.pair(ctx)
	return !diags.HasError() && was.cluster != "" && p.cluster != "" && was.cluster != p.cluster
}

// leave notes that the pair that a state describes goes.
func (r *Resource) leave(ctx context.Context, state *Model) {
	if p, diags := state.pair(ctx); r.op != nil && !diags.HasError() && p.cluster != "" {
		r.op.Cluster(p.cluster).LeavePair(p.name)
	}
}

// validate returns what is wrong with the pair by itself, as far as it is known.
func (m *Model) validate(ctx context.Context, p *pair) diag.Diagnostics {
	var diags diag.Diagnostics
	check := func(at path.Path, ps spec.Problems) {
		for _, one := range ps {
			diags.AddAttributeError(at, invalid, diagnose.Sentence(strings.TrimSpace(one.Field+" "+one.Message), one.Remedy))
		}
	}
	if known(m.Name) {
		check(path.Root("name"), spec.ValidateName("name", p.name))
	}
	if known(m.Owner) {
		check(path.Root("owner"), spec.ValidateAccount("owner", p.body.Owner))
	}
	// One that is taken over from the owner is said to be wrong there.
	if known(m.Group) && !m.Group.Equal(m.Owner) {
		check(path.Root("group"), spec.ValidateAccount("group", p.body.Group))
	}
	diags.Append(m.validateExclude(ctx)...)
	diags.Append(m.validateNodes(p)...)
	diags.Append(m.validateCold(ctx, p)...)
	diags.Append(m.validateStandby(p)...)
	diags.Append(m.validateAfter(ctx)...)
	for _, e := range p.ends {
		if known(e.path) {
			check(e.at().AtName("path"), spec.ValidateTree("path", e.path.ValueString()))
		}
	}
	diags.Append(m.validatePublished(ctx, p)...)
	if p.whole && !diags.HasError() {
		// What is left of the rules that every agent checks.
		diags.Append(diagnose.Problems(invalid, path.Empty(), map[string]path.Path{
			"objective": path.Root("objective_seconds"), "ends": path.Root("nodes"), "limits.bandwidth": path.Root("limits").AtName("bandwidth_kib"),
			"limits.memory": path.Root("limits").AtName("memory_mib"), "limits.io": path.Root("limits").AtName("io_class"),
			"cold.older_than_days": path.Root("cold").AtName("older_than_days"), "cold.interval_minutes": path.Root("cold").AtName("interval_minutes"),
			"standby.for": path.Root("standby").AtName("centre").AtName("name"), "standby.after_seconds": path.Root("standby").AtName("after_seconds"),
			"after_change.command": path.Root("after_change").AtName("command"), "after_change.timeout_seconds": path.Root("after_change").AtName("timeout_seconds"),
		}, p.body.Validate())...)
	}
	return diags
}

// validateExclude finds the patterns that are none.
func (m *Model) validateExclude(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	if !known(m.Exclude) {
		return diags
	}
	var patterns []types.String
	diags.Append(m.Exclude.ElementsAs(ctx, &patterns, false)...)
	for n, one := range patterns {
		if one.IsUnknown() {
			continue
		}
		_, err := exclude.Parse([]string{one.ValueString()})
		var wrong *exclude.PatternError
		if errors.As(err, &wrong) {
			diags.AddAttributeError(path.Root("exclude").AtListIndex(n), invalid, fmt.Sprintf("%q excludes nothing: %s.", wrong.Pattern, wrong.Reason))
		}
	}
	if len(patterns) > spec.MaxExcludes {
		diags.AddAttributeError(path.Root("exclude"), invalid, fmt.Sprintf("exclude has %d patterns, more than %d.\n\nJoin some of them.", len(patterns), spec.MaxExcludes))
	}
	return diags
}

// validateNodes checks which nodes there are.
func (m *Model) validateNodes(p *pair) diag.Diagnostics {
	var diags diag.Diagnostics
	at := path.Root("nodes")
	if !p.complete {
		return diags
	}
	if n := len(p.ends); n != 2 {
		diags.AddAttributeError(at, invalid, fmt.Sprintf("nodes has %d, and a pair has two.\n\nMore nodes make more pairs, each with one and the same node.", n))
		return diags
	}
	for _, e := range p.ends {
		for _, name := range e.missing {
			diags.AddAttributeError(e.at().AtName(name), invalid, fmt.Sprintf("%s of %s is missing.\n\nGive each of the two nodes a node and a path.", name, e.key))
		}
	}
	one, other := p.ends[0], p.ends[1]
	if one.node.Name != "" && one.node.Name == other.node.Name && one.cluster == other.cluster {
		diags.AddAttributeError(other.at().AtName("node"), invalid, fmt.Sprintf("%s and %s are both node %q.\n\nName two nodes: a pair keeps a tree on two machines.", one.key, other.key, one.node.Name))
	}
	if one.cluster != "" && other.cluster != "" && one.cluster != other.cluster {
		diags.AddAttributeError(other.at().AtName("node").AtName("cluster"), invalid,
			fmt.Sprintf("%s is a node of cluster %q, %s one of %q.\n\nName two nodes of one cluster.", one.key, one.cluster, other.key, other.cluster))
	}
	if known(m.Leader) && m.Leader.ValueString() != one.key && m.Leader.ValueString() != other.key {
		diags.AddAttributeError(path.Root("leader"), invalid, fmt.Sprintf("leader is %q, which is none of the keys in nodes.\n\nWrite %q or %q.", m.Leader.ValueString(), one.key, other.key))
	}
	for _, e := range p.ends {
		if e.node.Name != "" {
			for _, problem := range spec.ValidateName("name", e.node.Name) {
				diags.AddAttributeError(e.at().AtName("node").AtName("name"), invalid, diagnose.Sentence(problem.Field+" "+problem.Message, problem.Remedy))
			}
		}
	}
	if d := one.domain; known(d.Provider) && known(d.Site) && d.Provider.Equal(other.domain.Provider) && d.Site.Equal(other.domain.Site) {
		diags.AddAttributeWarning(at, "Nodes that fail together", fmt.Sprintf(
			"%s and %s are both at site %q of provider %q, so that one power cut or one fire can take both copies of the files.\n\nPair nodes of two sites, or say to yourself that a backup elsewhere is enough.",
			one.key, other.key, d.Site.ValueString(), d.Provider.ValueString()))
	}
	return diags
}

// place checks the pair against the other pairs of this run, and when something of it changes against those that nodes hold.
func (r *Resource) place(ctx context.Context, p *pair, fresh, changed bool) diag.Diagnostics {
	planned := operator.PlannedPair{Name: p.name, Pair: p.body, New: fresh}
	ps, twice := r.op.Cluster(p.cluster).PlanPair(planned)
	var diags diag.Diagnostics
	if twice {
		diags.AddAttributeError(path.Root("name"), invalid, fmt.Sprintf("Another %s is named %q in cluster %q too.\n\nGive each its own name.", ResourceType, p.name, p.cluster))
		return diags
	}
	for _, problem := range ps {
		diags.Append(p.clash(problem, diag.NewAttributeErrorDiagnostic))
	}
	if !changed || diags.HasError() {
		return diags
	}
	for _, problem := range r.beside(ctx, p, planned) {
		problem.Remedy += ". Unless this run removes or changes the other pair, the apply will refuse this one"
		diags.Append(p.clash(problem, warningAt))
	}
	return diags
}

func warningAt(at path.Path, summary, detail string) diag.DiagnosticWithPath {
	return diag.NewAttributeWarningDiagnostic(at, summary, detail)
}

// clash says that the pair and others do not fit, on the attribute of this one.
func (p *pair) clash(problem spec.Problem, say func(path.Path, string, string) diag.DiagnosticWithPath) diag.Diagnostic {
	at, text := path.Root("nodes"), problem.Message
	field, mine := strings.CutPrefix(problem.Field, "pairs."+p.name+".ends.")
	name, what, _ := strings.Cut(field, ".")
	if e, ok := p.end(name); ok && mine {
		at = e.at().AtName("path")
		if what == "cold_path" {
			at = e.at().AtName(what)
		}
	}
	if other := strings.Split(problem.Field, "."); len(other) > 1 && other[1] != p.name {
		text = "pair " + other[1] + ": " + text
	}
	return say(at, invalid, diagnose.Sentence("pair "+p.name+" does not fit: "+text, problem.Remedy))
}

// beside returns the problems that the pair has with those that nodes hold. A plan must also work where nobody can be asked.
func (r *Resource) beside(ctx context.Context, p *pair, planned operator.PlannedPair) []spec.Problem {
	c, diags := crew.New(r.op, p.cluster, p.peers()...)
	if diags.HasError() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	seen, err := c.Glance(ctx, p.ref(), 0)
	if err != nil {
		return nil
	}
	return r.op.Cluster(p.cluster).BesidePairs(planned, maps.Clone(seen.Pairs))
}

func (p *pair) peers() []operator.Peer {
	var out []operator.Peer
	for _, e := range p.ends {
		out = append(out, e.node)
	}
	return slices.Clip(out)
}
