package tinc_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
)

// TestLog follows the log of a real tincd 1.0.36 through a start, a cut link, the way back, and a moment at which both
// sides dialled.
func TestLog(t *testing.T) {
	log, err := os.ReadFile("testdata/tincd.log")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(log), "\n")
	type step struct {
		Line  string
		Peers map[string]int
	}
	var got []step
	last := map[string]int{}
	for i := range lines {
		now := tinc.Connected(strings.Join(lines[:i+1], ""))
		if !cmp.Equal(last, now) {
			_, message, _ := strings.Cut(strings.TrimSpace(lines[i]), "]: ")
			got = append(got, step{message, now})
		}
		last = now
	}
	want := []step{
		{"Connection with sg_2 (198.51.100.11 port 45607) activated", map[string]int{"sg_2": 1}},
		{"Connection with us_3 (198.51.100.12 port 49151) activated", map[string]int{"sg_2": 1, "us_3": 1}},
		{"Closing connection with us_3 (198.51.100.12 port 49151)", map[string]int{"sg_2": 1}},
		{"Connection with us_3 (198.51.100.12 port 655) activated", map[string]int{"sg_2": 1, "us_3": 1}},
		{"Closing connection with us_3 (198.51.100.12 port 655)", map[string]int{"sg_2": 1}},
		{"Connection with us_3 (198.51.100.12 port 655) activated", map[string]int{"sg_2": 1, "us_3": 1}},
		{"Closing connection with us_3 (198.51.100.12 port 655)", map[string]int{"sg_2": 1}},
		{"Connection with us_3 (198.51.100.12 port 44031) activated", map[string]int{"sg_2": 1, "us_3": 1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestLogCases(t *testing.T) {
	const prefix = "2026-11-21 03:00:32 tinc[15]: "
	tests := []struct {
		name  string
		lines []string
		want  map[string]int
	}{
		{"nothing", nil, map[string]int{}},
		{
			"a new tincd has no connections",
			[]string{"Connection with a (192.0.2.1 port 655) activated", "tincd 1.0.36 starting, debug level 1"},
			map[string]int{},
		},
		{
			"an attempt that fails beside a connection",
			[]string{"Connection with a (192.0.2.1 port 40000) activated", "Closing connection with a (192.0.2.1 port 655)"},
			map[string]int{"a": 1},
		},
		{
			"a second connection replaces the first",
			[]string{
				"Connection with a (192.0.2.1 port 655) activated",
				"Established a second connection with a (192.0.2.1 port 655), closing old connection",
				"Closing connection with a (192.0.2.1 port 655)",
				"Connection with a (192.0.2.1 port 40000) activated",
			},
			map[string]int{"a": 1},
		},
		{
			"a stranger",
			[]string{"Connection from 192.0.2.9 port 1", "Closing connection with <unknown> (192.0.2.9 port 1)"},
			map[string]int{},
		},
		{"IPv6", []string{"Connection with a_b (2001:db8::1 port 655) activated"}, map[string]int{"a_b": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			for _, line := range tt.lines {
				log.WriteString(prefix + line + "\n")
			}
			log.WriteString(prefix + "Connection with half (192.0.2.7 port 655) activ") // a line that is not whole yet
			if diff := cmp.Diff(tt.want, tinc.Connected(log.String())); diff != "" {
				t.Errorf("connections (-want +got):\n%s", diff)
			}
		})
	}
}
