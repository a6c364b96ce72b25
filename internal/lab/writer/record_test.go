package writer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// start is when the tests' time begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// wrote is a write that was acknowledged at that millisecond, failed is one that was not.
func wrote(ms int) writer.Write { return writer.Write{Began: at(ms - 1), Ended: at(ms)} }

func failed(ms int) writer.Write {
	return writer.Write{Began: at(ms - 1), Ended: at(ms), Error: errors.New("read tcp 10.0.0.1:1->10.0.0.2:2: connection refused")}
}

func TestOutage(t *testing.T) {
	tests := []struct {
		name       string
		record     writer.Record
		fault      int
		last, next int // milliseconds; -1 for an outage that has not ended
		wrong      bool
	}{
		{"between the writes around the fault", writer.Record{wrote(10), wrote(20), failed(30), wrote(500), wrote(510)}, 25, 20, 500, false},
		{"an acknowledgement that was under way", writer.Record{wrote(10), wrote(26), failed(30), wrote(500)}, 25, 26, 500, false},
		{"a gap before the fault does not count", writer.Record{wrote(10), wrote(900), wrote(920), wrote(990)}, 910, 920, 990, false},
		{"none: the longest pause between writes", writer.Record{wrote(10), wrote(20), wrote(30), wrote(45)}, 15, 30, 45, false},
		{"it has not ended", writer.Record{wrote(10), wrote(20), failed(30), failed(40)}, 15, 20, -1, false},
		{"the writing was stopped", writer.Record{wrote(10), wrote(20), wrote(24)}, 15, 10, 20, false},
		{"nothing before the fault", writer.Record{failed(10), wrote(30)}, 20, 0, 0, true},
		{"nothing at all", nil, 20, 0, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.record.Outage(at(tt.fault))
			if (err != nil) != tt.wrong {
				t.Fatalf("error %v", err)
			}
			if tt.wrong {
				return
			}
			if !got.Last.Equal(at(tt.last)) || got.First.IsZero() != (tt.next < 0) || tt.next >= 0 && !got.First.Equal(at(tt.next)) {
				t.Errorf("from %v to %v", got.Last.Sub(start), got.First.Sub(start))
			}
		})
	}
}

func TestRecord(t *testing.T) {
	a, b := wrote(10), failed(20)
	a.By, b.By = "a", "b"
	r := writer.Record{a, b, failed(30)}
	if n := len(r.Acknowledged()); n != 1 {
		t.Errorf("%d were acknowledged", n)
	}
	if n := len(r.Failed()); n != 2 {
		t.Errorf("%d failed", n)
	}
	if n := len(r.By("b")); n != 1 {
		t.Errorf("%d went by b", n)
	}
	if n := len(r.Since(at(20))); n != 1 {
		t.Errorf("%d ended later", n)
	}
	if got := (writer.Record{wrote(10), failed(15), wrote(30), wrote(35)}).Longest(); got != 20*time.Millisecond {
		t.Errorf("the longest pause is %v", got)
	}
	if got := r.Reasons(); got != "2 times 10.0.0.2:2: connection refused" {
		t.Errorf("reasons are %q", got)
	}
}

func TestOneWriter(t *testing.T) {
	probe := func(member string, began, ended int, accepted bool) writer.Probe {
		return writer.Probe{Member: member, Began: at(began), Ended: at(ended), Accepted: accepted}
	}
	tests := []struct {
		name   string
		probes writer.Probes
		want   *writer.TwoWritersError
	}{
		{"nothing", nil, nil},
		{"one writer", writer.Probes{probe("a", 0, 1, true), probe("b", 0, 1, false), probe("a", 10, 11, true), probe("b", 12, 13, false)}, nil},
		{"a failover", writer.Probes{probe("a", 0, 1, true), probe("a", 10, 1010, false), probe("b", 20, 21, true), probe("b", 30, 31, true)}, nil},
		{
			"there and back", writer.Probes{
				probe("a", 0, 1, true), probe("a", 10, 11, false), probe("b", 20, 21, true), probe("b", 30, 31, false), probe("a", 40, 41, true),
			}, nil,
		},
		{"an acknowledgement that came late", writer.Probes{probe("a", 0, 1, true), probe("a", 2, 50, true), probe("b", 20, 21, true), probe("b", 55, 56, true)}, nil},
		{
			"both",
			writer.Probes{probe("a", 0, 1, true), probe("b", 5, 6, true), probe("a", 10, 11, true)},
			&writer.TwoWritersError{One: "a", Other: "b", At: at(6)},
		},
		{
			"both, while one hangs",
			writer.Probes{probe("b", 0, 1, true), probe("a", 5, 100, true), probe("b", 200, 201, true), probe("a", 300, 301, true)},
			&writer.TwoWritersError{One: "a", Other: "b", At: at(201)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.probes.OneWriter()
			var got *writer.TwoWritersError
			if !errors.As(err, &got) {
				if err != nil || tt.want != nil {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				return
			}
			if tt.want == nil || *got != *tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
