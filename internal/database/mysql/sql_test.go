package mysql_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "'plain'", "it's": "'it''s'", `a\b`: `'a\\b'`, `\' OR 1 --`: `'\\'' OR 1 --'`, "": "''", "nul\x00": `'nul\0'`,
	} {
		if got := mysql.Quote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestLiteralOf(t *testing.T) {
	tests := []struct {
		value, want string
		number      float64
		isNumber    bool
	}{
		{"77", "77", 77, true},
		{"-1", "-1", -1, true},
		{"2G", "2147483648", 2 << 30, true},
		{"16m", "16777216", 16 << 20, true},
		{"0.25", "0.25", 0.25, true},
		{"ON", "'ON'", 0, false},
		{"plenty", "'plenty'", 0, false},
		{"1 OR 1", "'1 OR 1'", 0, false},
		{"", "''", 0, false},
	}
	for _, tt := range tests {
		if got := mysql.LiteralOf(tt.value); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.value, got, tt.want)
		}
		if n, ok := mysql.Amount(tt.value); n != tt.number || ok != tt.isNumber {
			t.Errorf("%q: got the number %g (%t), want %g (%t)", tt.value, n, ok, tt.number, tt.isNumber)
		}
	}
}

func TestPattern(t *testing.T) {
	for schema, want := range map[string]string{"shop": "`shop`.*", "shop_1": "`shop\\_1`.*", "a`b": "`a``b`.*"} {
		if got := mysql.Pattern(schema); got != want {
			t.Errorf("%s: got %s, want %s", schema, got, want)
		}
	}
}

func TestComplaints(t *testing.T) {
	log := "2026-11-21T12:37:12.182255Z 0 [Warning] [MY-011070] [Server] deprecated.\n" +
		"2026-11-21T12:37:12.2Z 0 [ERROR] [MY-000067] [Server] unknown variable 'x=1'.\n" +
		"2026-11-21T12:37:12.2Z 0 [ERROR] [MY-000067] [Server] unknown variable 'x=1'.\n" +
		"2026-11-21T12:37:12.3Z 0 [ERROR] [MY-010119] [Server] Aborting\n"
	for text, want := range map[string]string{log: "unknown variable 'x=1'.", "it just died\n": "it just died", "": ""} {
		if got := mysql.Complaints(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStatements(t *testing.T) {
	all := mysql.Statements()
	if len(all) < 19 {
		t.Errorf("only %d statements", len(all))
	}
	for _, s := range all {
		if s[:6] != "CREATE" {
			t.Errorf("%q makes nothing", s)
		}
	}
}

func TestView(t *testing.T) {
	const one, two, three, stranger = "10.20.0.1:3306", "10.20.0.2:3306", "10.20.0.3:3306", "10.20.0.9:3306"
	type states = map[string]spec.MemberState
	tests := []struct {
		name    string
		own     string
		seen    []mysql.Seen
		state   spec.MemberState
		primary string
		view    states
	}{
		{"never in a group", "a", []mysql.Seen{{"", "", "OFFLINE", false}}, spec.MemberStranded, "", nil},
		{"knows nothing", "a", nil, spec.MemberStranded, "", nil},
		{"put out", "a", []mysql.Seen{{"a", one, "ERROR", false}}, spec.MemberStranded, "", nil},
		{
			"all well", "b",
			[]mysql.Seen{{"a", one, "ONLINE", true}, {"b", two, "ONLINE", false}, {"c", three, "RECOVERING", false}},
			spec.MemberOnline, "hk1",
			states{"hk1": spec.MemberOnline, "hk2": spec.MemberOnline, "sg1": spec.MemberRecovering},
		},
		{
			"one away", "a",
			[]mysql.Seen{{"a", one, "ONLINE", true}, {"b", two, "ONLINE", false}, {"c", three, "UNREACHABLE", false}},
			spec.MemberOnline, "hk1",
			states{"hk1": spec.MemberOnline, "hk2": spec.MemberOnline, "sg1": spec.MemberDown},
		},
		{
			"the primary without the others", "a",
			[]mysql.Seen{{"a", one, "ONLINE", true}, {"b", two, "UNREACHABLE", false}, {"c", three, "UNREACHABLE", false}},
			spec.MemberBlocked, "",
			states{"hk1": spec.MemberOnline, "hk2": spec.MemberDown, "sg1": spec.MemberDown},
		},
		{
			"one of two", "a",
			[]mysql.Seen{{"a", one, "ONLINE", true}, {"b", two, "UNREACHABLE", false}},
			spec.MemberBlocked, "",
			states{"hk1": spec.MemberOnline, "hk2": spec.MemberDown},
		},
		{
			"the primary is away", "b",
			[]mysql.Seen{{"a", one, "UNREACHABLE", true}, {"b", two, "ONLINE", false}, {"c", three, "ONLINE", false}},
			spec.MemberOnline, "",
			states{"hk1": spec.MemberDown, "hk2": spec.MemberOnline, "sg1": spec.MemberOnline},
		},
		{
			"still taking over", "b",
			[]mysql.Seen{{"a", one, "ONLINE", true}, {"b", two, "RECOVERING", false}},
			spec.MemberRecovering, "hk1",
			states{"hk1": spec.MemberOnline, "hk2": spec.MemberRecovering},
		},
		{
			"a stranger in the group", "a",
			[]mysql.Seen{{"a", one, "ONLINE", false}, {"x", stranger, "ONLINE", true}},
			spec.MemberOnline, stranger,
			states{"hk1": spec.MemberOnline, stranger: spec.MemberOnline},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, primary, view := mysql.View(aMember(), tt.own, tt.seen...)
			if state != tt.state || primary != tt.primary {
				t.Errorf("got %s with primary %q, want %s with %q", state, primary, tt.state, tt.primary)
			}
			if diff := cmp.Diff(tt.view, view); diff != "" {
				t.Errorf("view (-want +got):\n%s", diff)
			}
		})
	}
}
