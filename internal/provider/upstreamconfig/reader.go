package upstreamconfig

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
)

// reader reads an object whose attributes may be left out, or be null, which functions have no type for. It keeps the first
// thing that is wrong.
type reader struct {
	// in names the object in errors.
	in     string
	values map[string]attr.Value
	known  map[string]bool
	err    error
}

// read begins with a value that must be an object or a map.
func read(in string, v attr.Value) *reader {
	r := &reader{in: in, known: map[string]bool{}}
	values, ok := members(v)
	if !ok {
		r.fail("%s is not an object", in)
	}
	r.values = values
	return r
}

// members returns what an object or map consists of.
func members(v attr.Value) (map[string]attr.Value, bool) {
	switch v := v.(type) {
	case basetypes.DynamicValue:
		return members(v.UnderlyingValue())
	case basetypes.ObjectValue:
		return v.Attributes(), !v.IsNull()
	case basetypes.MapValue:
		return v.Elements(), !v.IsNull()
	}
	return nil, false
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// note keeps an error of a part.
func (r *reader) note(err error) {
	if r.err == nil {
		r.err = err
	}
}

// get returns an attribute, nil for one that is not given.
func (r *reader) get(name string) attr.Value {
	r.known[name] = true
	v := r.values[name]
	if d, ok := v.(basetypes.DynamicValue); ok {
		v = d.UnderlyingValue()
	}
	if v == nil || v.IsNull() {
		return nil
	}
	return v
}

func (r *reader) text(name, otherwise string) string {
	switch v := r.get(name).(type) {
	case nil:
		return otherwise
	case types.String:
		return v.ValueString()
	}
	r.fail("%s.%s is not a string", r.in, name)
	return ""
}

func (r *reader) number(name string, otherwise int) int {
	switch v := r.get(name).(type) {
	case nil:
		return otherwise
	case types.Number:
		if n, accuracy := v.ValueBigFloat().Int64(); accuracy == big.Exact {
			return int(n)
		}
	}
	r.fail("%s.%s is not a whole number", r.in, name)
	return 0
}

func (r *reader) flag(name string, otherwise bool) bool {
	switch v := r.get(name).(type) {
	case nil:
		return otherwise
	case types.Bool:
		return v.ValueBool()
	}
	r.fail("%s.%s is neither true nor false", r.in, name)
	return false
}

// texts reads a list, set or tuple of strings.
func (r *reader) texts(name string, otherwise ...string) []string {
	var elements []attr.Value
	switch v := r.get(name).(type) {
	case nil:
		return otherwise
	case types.List:
		elements = v.Elements()
	case types.Set:
		elements = v.Elements()
	case types.Tuple:
		elements = v.Elements()
	default:
		r.fail("%s.%s is not a list", r.in, name)
	}
	out := make([]string, 0, len(elements))
	for _, e := range elements {
		s, ok := e.(types.String)
		if !ok || s.IsNull() {
			r.fail("%s.%s has something that is not a string", r.in, name)
			break
		}
		out = append(out, s.ValueString())
	}
	return out
}

// object reads an attribute that is an object itself, nil for one that is not given.
func (r *reader) object(name string) *reader {
	v := r.get(name)
	if v == nil {
		return nil
	}
	return read(r.in+"."+name, v)
}

// end returns what was wrong. An attribute that nobody has asked for is: it is a slip of the pen.
func (r *reader) end() error {
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if !r.known[name] {
			r.fail("%s has no %q: there are %s", r.in, name, strings.Join(slices.Sorted(maps.Keys(r.known)), ", "))
		}
	}
	return r.err
}
