package gtid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/gtid"
)

const (
	a = "aaaaaaaa-0000-4000-8000-000000000000"
	b = "bbbbbbbb-0000-4000-8000-000000000000"
)

func TestMinusAndUnion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, s, other, minus, union string
		count                        uint64
	}{
		{"nothing", "", "", "", "", 0},
		{"all of it", a + ":1-10", "", a + ":1-10", a + ":1-10", 10},
		{"the end", a + ":1-10", a + ":1-7", a + ":8-10", a + ":1-10", 3},
		{"the middle", a + ":1-10", a + ":1-3:8-10", a + ":4-7", a + ":1-10", 4},
		{"one", a + ":1-10", a + ":1-4:6-10", a + ":5", a + ":1-10", 1},
		{"another source", a + ":1-10," + b + ":1-2", a + ":1-12", b + ":1-2", a + ":1-12," + b + ":1-2", 2},
		{"less", a + ":1-3", a + ":1-10", "", a + ":1-10", 0},
		{"as a server prints it", strings.ToUpper(a) + ":1-3:4-5,\n" + b + ":7", a + ":1-5", b + ":7", a + ":1-5," + b + ":7", 1},
		{"tags", a + ":1-3:tag:1-4", a + ":1-3:tag:2-3", a + ":tag:1:4", a + ":1-3," + a + ":tag:1-4", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := gtid.Parse(tt.s)
			if err != nil {
				t.Fatal(err)
			}
			other, err := gtid.Parse(tt.other)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Minus(other); got.String() != tt.minus || got.Count() != tt.count {
				t.Errorf("minus: got %q of %d, want %q of %d", got, got.Count(), tt.minus, tt.count)
			}
			if got := s.Union(other); got.String() != tt.union {
				t.Errorf("union: got %q, want %q", got, tt.union)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"x", a, a + ":0", a + ":5-3", a + ":1-x", "LSN 0/16B3748", a + ":1-2," + b} {
		if s, err := gtid.Parse(text); !errors.Is(err, gtid.ErrMalformed) {
			t.Errorf("%q: got %v, %v", text, s, err)
		}
	}
}
