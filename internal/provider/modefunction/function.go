// Package modefunction holds the provider's function that says what keeps a tree of files where it is needed.
package modefunction

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/choose"
)

var _ function.Function = (*Mode)(nil)

// Mode is the function replication_mode.
type Mode struct{}

// New returns the function.
func New() function.Function { return &Mode{} }

// Metadata sets the function's name.
func (*Mode) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "replication_mode"
}

// Definition says what the function takes. The parameter has no type, since a type has no attributes that may be left out.
func (*Mode) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Which mode for this tree?",
		MarkdownDescription: "Returns what should keep a tree of files where it is needed: a pair, a deployment, a database or something else, why, and a table of the ways that there are. " +
			"It is a decision table and nothing more: it knows what it is told, and asks nobody.\n\n" +
			"The result is an object with `mode` (" + words(choose.Modes()) + "), `title`, `do` (how it is done), `reasons` (the most important first), `cautions`, and `alternatives`: a map by name (`pair`, " +
			"`rsync`, `csync2`, `nfs`, `gluster`, `lustre`, `drbd`, `syncthing`) of objects with `against` (what speaks against it for this tree; empty for nothing) and, for each of " +
			words(choose.Criteria()) + ", an object with `grade` (`good`, `fair` or `poor`) and `why`.",
		Parameters: []function.Parameter{function.DynamicParameter{
			Name: "tree",
			MarkdownDescription: "What the tree is: an object. Required are `kind` (" + words(choose.Kinds()) + ") and `writers` (on how many nodes programs change it: " + words(choose.AllWriters()) + "). " +
				"What is left out of the rest is not known, and nothing is concluded from it: `files` (how many), `average_bytes` (how large they are), `changes_per_minute` (how many files are " +
				"made, written or removed), `nodes` (how many need it), `rtt_ms` (the round trip between the farthest of them), `dated` (whether files are filed by date and hardly changed later), `locks` " +
				"(whether programs on different nodes rely on locks of files) and `acls` (whether access control lists matter).",
		}},
		Return: function.ObjectReturn{AttributeTypes: resultTypes()},
	}
}

func words[T ~string](all []T) string {
	out := make([]string, len(all))
	for i, one := range all {
		out[i] = "`" + string(one) + "`"
	}
	return strings.Join(out, ", ")
}

func markTypes() map[string]attr.Type {
	return map[string]attr.Type{"grade": types.StringType, "why": types.StringType}
}

func alternativeTypes() map[string]attr.Type {
	out := map[string]attr.Type{"against": types.StringType}
	for _, c := range choose.Criteria() {
		out[string(c)] = types.ObjectType{AttrTypes: markTypes()}
	}
	return out
}

func resultTypes() map[string]attr.Type {
	texts := types.ListType{ElemType: types.StringType}
	return map[string]attr.Type{
		"mode": types.StringType, "title": types.StringType, "do": types.StringType, "reasons": texts, "cautions": texts,
		"alternatives": types.MapType{ElemType: types.ObjectType{AttrTypes: alternativeTypes()}},
	}
}

// Run decides.
func (*Mode) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var given types.Dynamic
	if resp.Error = req.Arguments.Get(ctx, &given); resp.Error != nil {
		return
	}
	raw, err := given.UnderlyingValue().ToTerraformValue(ctx)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	if !raw.IsFullyKnown() {
		resp.Error = resp.Result.Set(ctx, types.ObjectUnknown(resultTypes()))
		return
	}
	tree, err := treeFrom(given.UnderlyingValue())
	var advice choose.Advice
	if err == nil {
		advice, err = choose.For(tree)
	}
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	resp.Error = resp.Result.Set(ctx, result(advice))
}

// treeFrom reads the argument.
func treeFrom(v attr.Value) (choose.Tree, error) {
	var t choose.Tree
	object, ok := v.(types.Object)
	if !ok {
		return t, errors.New("tree is no object: write { kind = \"data\", writers = \"many\" } and what else is known")
	}
	readers := map[string]func(attr.Value) error{
		"kind": text(&t.Kind), "writers": text(&t.Writers), "files": whole(&t.Files), "average_bytes": whole(&t.AverageBytes),
		"changes_per_minute": number(&t.ChangesPerMinute), "nodes": whole(&t.Nodes), "rtt_ms": number(&t.RTT),
		"dated": yes(&t.Dated), "locks": yes(&t.Locks), "acls": yes(&t.ACLs),
	}
	given := object.Attributes()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		read, there := readers[name]
		if !there {
			return t, fmt.Errorf("tree has %q, which is none of %s", name, strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		}
		if given[name].IsNull() {
			continue
		}
		if err := read(given[name]); err != nil {
			return t, fmt.Errorf("%s %w", name, err)
		}
	}
	for _, name := range []string{"kind", "writers"} {
		if v, there := given[name]; !there || v.IsNull() {
			return t, fmt.Errorf("%s is missing", name)
		}
	}
	return t, nil
}

func text[T ~string](to *T) func(attr.Value) error {
	return func(v attr.Value) error {
		s, ok := v.(types.String)
		if !ok {
			return errors.New("is no text")
		}
		*to = T(s.ValueString())
		return nil
	}
}

func number(to *float64) func(attr.Value) error {
	return func(v attr.Value) error {
		n, ok := v.(types.Number)
		if !ok {
			return errors.New("is no number")
		}
		*to, _ = n.ValueBigFloat().Float64()
		return nil
	}
}

func whole(to *int64) func(attr.Value) error {
	return func(v attr.Value) error {
		n, ok := v.(types.Number)
		if !ok {
			return errors.New("is no number")
		}
		*to, _ = n.ValueBigFloat().Int64()
		return nil
	}
}

func yes(to *bool) func(attr.Value) error {
	return func(v attr.Value) error {
		b, ok := v.(types.Bool)
		if !ok {
			return errors.New("is neither true nor false")
		}
		*to = b.ValueBool()
		return nil
	}
}

func result(a choose.Advice) types.Object {
	alternatives := map[string]attr.Value{}
	for _, o := range a.Alternatives {
		row := map[string]attr.Value{"against": types.StringValue(o.Against)}
		for _, c := range choose.Criteria() {
			row[string(c)] = types.ObjectValueMust(markTypes(), map[string]attr.Value{
				"grade": types.StringValue(string(o.Marks[c].Grade)), "why": types.StringValue(o.Marks[c].Why),
			})
		}
		alternatives[o.Name] = types.ObjectValueMust(alternativeTypes(), row)
	}
	return types.ObjectValueMust(resultTypes(), map[string]attr.Value{
		"mode": types.StringValue(string(a.Mode)), "title": types.StringValue(a.Title), "do": types.StringValue(a.Do),
		"reasons": texts(a.Reasons), "cautions": texts(a.Cautions),
		"alternatives": types.MapValueMust(types.ObjectType{AttrTypes: alternativeTypes()}, alternatives),
	})
}

func texts(in []string) types.List {
	values := make([]attr.Value, len(in))
	for i, s := range in {
		values[i] = types.StringValue(s)
	}
	return types.ListValueMust(types.StringType, values)
}
