package replicationpair

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// coldModel is the argument cold.
type coldModel struct {
	OlderThan types.Int64  `tfsdk:"older_than_days"`
	Pattern   types.String `tfsdk:"pattern"`
	Interval  types.Int64  `tfsdk:"interval_minutes"`
	Takeover  types.Int64  `tfsdk:"takeover_hours"`
}

func coldTypes() map[string]attr.Type {
	return map[string]attr.Type{"older_than_days": types.Int64Type, "pattern": types.StringType, "interval_minutes": types.Int64Type, "takeover_hours": types.Int64Type}
}

func coldAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional: true,
		MarkdownDescription: "Moves directories that are named by an old date to `cold_path` of each node, for example on a larger and slower disk, and leaves a symbolic link in their place. " +
			"Both nodes have to have a verified copy before either replaces a directory. What is written through the links afterwards is brought over by rsync every `interval_minutes`. " +
			"Default: nothing is moved. What is moved stays so when this is taken away. The guide on files has the details.",
		Attributes: map[string]schema.Attribute{
			"older_than_days": schema.Int64Attribute{
				Required: true, Validators: []validator.Int64{int64validator.AtLeast(1)},
				MarkdownDescription: "How many days ago the day, month or year of a directory has to have ended (UTC), at least 1.",
			},
			"pattern": schema.StringAttribute{
				Optional: true, Computed: true, Default: stringdefault.StaticString(spec.DefaultDatePattern),
				MarkdownDescription: "Which directories are moved, as a path from the tree's root: `YYYY`, `MM` and `DD` stand for the date, `*` for one directory of any name, all else for itself, " +
					"such as `media/*/YYYY-MM`. Default `" + spec.DefaultDatePattern + "`.",
			},
			"interval_minutes": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(spec.DefaultColdInterval), Validators: []validator.Int64{int64validator.AtLeast(spec.MinColdInterval)},
				MarkdownDescription: fmt.Sprintf("How often directories are moved, and changes in those that are moved brought over, in minutes, at least %d. Default %d, once a day.", spec.MinColdInterval, spec.DefaultColdInterval),
			},
			"takeover_hours": schema.Int64Attribute{
				Optional: true, Computed: true, Default: int64default.StaticInt64(spec.DefaultColdTakeover), Validators: []validator.Int64{int64validator.AtLeast(0)},
				MarkdownDescription: fmt.Sprintf("The node that leads moves, and needs the other for it. When one of them has been gone for so long by what the whole cluster knows, in hours, the one that is left goes on alone; "+
					"the other follows when it is back, and nothing that it has is lost. 0 is never. Default %d.", spec.DefaultColdTakeover),
			},
		},
	}
}

// coldStatus is what is observed of it.
func coldStatus() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Computed: true, MarkdownDescription: "What is moved; null without `cold`, and when nothing is known of it.",
		Attributes: map[string]schema.Attribute{
			"directories":   schema.Int64Attribute{Computed: true, MarkdownDescription: "How many directories are moved."},
			"due":           schema.Int64Attribute{Computed: true, MarkdownDescription: "How many are old enough and are not moved yet."},
			"bytes":         schema.Int64Attribute{Computed: true, MarkdownDescription: "Size of all files in the cold root, of both nodes the larger."},
			"kept_versions": schema.Int64Attribute{Computed: true, MarkdownDescription: "How many versions of files, replaced by newer ones, are in the cold root's directory `.atoll-cold/kept`."},
			"orphaned":      schema.Int64Attribute{Computed: true, MarkdownDescription: "How many directories are in the cold root whose links were removed from the tree: their files stay there until you remove them."},
			"last_run":      schema.StringAttribute{Computed: true, MarkdownDescription: "When the last run ended (RFC 3339); null before the first."},
			"waiting":       schema.StringAttribute{Computed: true, MarkdownDescription: "Why a directory that is due was not moved, where that may change by itself; null for nothing."},
			"problem":       schema.StringAttribute{Computed: true, MarkdownDescription: "What is wrong and what to do; null for nothing."},
		},
	}
}

func coldStatusTypes() map[string]attr.Type {
	return map[string]attr.Type{
		"directories": types.Int64Type, "due": types.Int64Type, "bytes": types.Int64Type, "kept_versions": types.Int64Type, "orphaned": types.Int64Type,
		"last_run": types.StringType, "waiting": types.StringType, "problem": types.StringType,
	}
}

// cold reads the argument, nil for none. Values inside may be unknown, which count as zero.
func (m *Model) cold(ctx context.Context) (*spec.PairCold, diag.Diagnostics) {
	if !known(m.Cold) {
		return nil, nil
	}
	var c coldModel
	diags := m.Cold.As(ctx, &c, basetypes.ObjectAsOptions{})
	return &spec.PairCold{
		OlderThan: int(c.OlderThan.ValueInt64()), Pattern: c.Pattern.ValueString(), Interval: int(c.Interval.ValueInt64()), Takeover: int(c.Takeover.ValueInt64()),
	}, diags
}

func (m *Model) setCold(c *spec.PairCold) {
	m.Cold = types.ObjectNull(coldTypes())
	if c == nil {
		return
	}
	m.Cold = types.ObjectValueMust(coldTypes(), map[string]attr.Value{
		"older_than_days": types.Int64Value(int64(c.OlderThan)), "pattern": types.StringValue(c.Pattern),
		"interval_minutes": types.Int64Value(int64(c.Interval)), "takeover_hours": types.Int64Value(int64(c.Takeover)),
	})
}

// observeCold sets what was observed, nil for nothing.
func (m *Model) observeCold(c *spec.ColdStatus) {
	m.ColdStatus = types.ObjectNull(coldStatusTypes())
	if c == nil {
		return
	}
	last := types.StringNull()
	if !c.Last.IsZero() {
		last = types.StringValue(c.Last.UTC().Format(time.RFC3339))
	}
	m.ColdStatus = types.ObjectValueMust(coldStatusTypes(), map[string]attr.Value{
		"directories": types.Int64Value(int64(c.Directories)), "due": types.Int64Value(int64(c.Due)), "bytes": types.Int64Value(c.Bytes),
		"kept_versions": types.Int64Value(int64(c.Kept)), "orphaned": types.Int64Value(int64(c.Orphaned)), "last_run": last, "waiting": textOrNull(c.Waiting), "problem": textOrNull(c.Problem),
	})
}

// validateCold returns what is wrong with what is known of it.
func (m *Model) validateCold(ctx context.Context, p *pair) diag.Diagnostics {
	var diags diag.Diagnostics
	check := func(at path.Path, ps spec.Problems) {
		for _, one := range ps {
			diags.AddAttributeError(at, invalid, diagnose.Sentence(one.Field+" "+one.Message, one.Remedy))
		}
	}
	if known(m.Cold) {
		var c coldModel
		diags.Append(m.Cold.As(ctx, &c, basetypes.ObjectAsOptions{})...)
		if known(c.Pattern) {
			check(path.Root("cold").AtName("pattern"), spec.ValidateDatePattern("pattern", c.Pattern.ValueString()))
		}
	}
	for _, e := range p.ends {
		at := e.at().AtName("cold_path")
		switch {
		case known(e.coldPath) && m.Cold.IsNull():
			diags.AddAttributeError(at, invalid, "cold_path is for nothing without cold.\n\nSay in cold which directories are moved there, or leave it out.")
		case known(e.coldPath):
			check(at, spec.ValidateCold("cold_path", e.coldPath.ValueString(), e.path.ValueString()))
		case e.coldPath.IsNull() && known(m.Cold) && p.complete && e.described:
			diags.AddAttributeError(at, invalid, fmt.Sprintf("cold_path of %s is missing.\n\nName a directory for old files on each of the two nodes.", e.key))
		}
	}
	return diags
}

// suitCold asks both nodes what their cold roots are on, and says what keeps them from being ones. A plan must also work where nobody can be asked.
func (r *Resource) suitCold(ctx context.Context, p *pair) diag.Diagnostics {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found := make([]diag.Diagnostics, len(p.ends))
	var all sync.WaitGroup
	for i, e := range p.ends {
		if e.coldPath.ValueString() == "" {
			continue
		}
		all.Go(func() {
			root := e
			root.path = e.coldPath
			if facts, err := r.lookAt(ctx, root); err == nil {
				found[i] = e.suitCold(*facts)
			}
		})
	}
	all.Wait()
	var diags diag.Diagnostics
	for _, one := range found {
		diags.Append(one...)
	}
	return diags
}

// suitCold says what is wrong with a side's cold root.
func (e end) suitCold(f place.Facts) diag.Diagnostics {
	var diags diag.Diagnostics
	wrong := func(remedy, format string, args ...any) {
		diags.AddAttributeError(e.at().AtName("cold_path"), unfit, fmt.Sprintf("%s on %s %s.\n\n%s.", e.coldPath.ValueString(), e.node.Name, fmt.Sprintf(format, args...), remedy))
	}
	on := fmt.Sprintf("is on a file system of type %s (mounted at %s)", f.FileSystem, f.Mount)
	switch {
	case f.NoDirectory && f.Exists:
		wrong("Choose another path, or move away what is there", "is no directory")
	case f.NoDirectory:
		wrong("Choose another path", "cannot be made: something above it is no directory")
	case f.Hidden:
	case f.Volatile():
		wrong("Choose a directory on a disk", "%s, whose contents are gone after a restart of the node", on)
	case f.Poor():
		wrong("Choose a directory on a file system such as ext4 or XFS", "%s, which keeps neither owners nor permissions", on)
	case f.ReadOnly:
		wrong("Mount it for writing, or choose another directory", "%s that is read-only", on)
	}
	return diags
}

// newRoots tells whether there are other cold roots than before.
func (p *pair) newRoots(was *pair) bool {
	for node, end := range p.body.Ends {
		if end.ColdPath != "" && (was == nil || was.body.Ends[node].ColdPath != end.ColdPath) {
			return true
		}
	}
	return false
}
