package spec_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestValidateAfterCommand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		command []string
		says    string
	}{
		{"good", []string{"/usr/bin/php", "occ", "upgrade"}, ""},
		{"an argument that is empty, and one that a shell would take apart", []string{"/usr/bin/php", "", "a b;$(c)\n"}, ""},
		{"none", nil, "is empty"},
		{"no program", []string{"", "occ"}, "is empty"},
		{"a program that a shell would look for", []string{"php", "occ"}, "is not absolute"},
		{"a relative program", []string{"./occ"}, "is not absolute"},
		{"not the shortest form", []string{"/usr/../usr/bin/php"}, "is not the shortest form"},
		{"a byte of zero", []string{"/usr/bin/php", "o\x00cc"}, "a byte of zero"},
		{"many words", append([]string{"/usr/bin/php"}, make([]string, spec.MaxAfterArguments)...), "more than 100"},
		{"long ones", []string{"/usr/bin/php", strings.Repeat("x", 16<<10)}, "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := spec.ValidateAfterCommand("command", tt.command).Error()
			if (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
				t.Errorf("it says %q, not %q", got, tt.says)
			}
		})
	}
}

func TestAfterStatus(t *testing.T) {
	t.Parallel()
	now := time.Now()
	done := &spec.AfterStatus{State: spec.AfterDone, Last: now}
	var none *spec.AfterStatus
	for state, rests := range map[spec.AfterState]bool{spec.AfterDone: true, spec.AfterDue: false, spec.AfterRunning: false, spec.AfterFailed: false} {
		if s := (&spec.AfterStatus{State: state}); s.Rests() != rests {
			t.Errorf("%s: rests is %t", state, s.Rests())
		}
	}
	if !none.Rests() || !none.Equal(nil) || none.Equal(done) || done.Equal(none) || !done.Equal(&spec.AfterStatus{State: spec.AfterDone, Last: now.UTC()}) || done.Equal(&spec.AfterStatus{State: spec.AfterDone}) {
		t.Error("statuses are not compared as they are")
	}
}
