package appcheck_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/appcheck"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// observe gives results to a damper, one a second: "+" is well, anything else is not. It returns the judgements, "?" for
// none.
func observe(d *appcheck.Damper, results string, from time.Time) (judged string, last appcheck.State, end time.Time) {
	var b strings.Builder
	for i, r := range results {
		end = from.Add(time.Duration(i) * time.Second)
		last = d.Observe(appcheck.Result{Well: r == '+', Reason: reason(r), Detail: reason(r) + " in detail"}, end)
		switch {
		case !last.Known:
			b.WriteByte('?')
		case last.Well:
			b.WriteByte('+')
		default:
			b.WriteByte('-')
		}
	}
	return b.String(), last, end.Add(time.Second)
}

func reason(r rune) string {
	if r == '+' {
		return ""
	}
	return "answers " + string(r)
}

func TestDamper(t *testing.T) {
	tests := []struct {
		name       string
		fall, rise int
		results    string
		want       string
		reason     string
	}{
		{"the first result decides", 3, 3, "+", "+", ""},
		{"the first bad result decides", 3, 3, "5", "-", "answers 5"},
		{"one failure is none", 2, 2, "+5+5+5+", "+++++++", ""},
		{"two in a row are", 2, 2, "++55", "+++-", "answers 5"},
		{"two to come back", 2, 2, "+55++", "++--+", ""},
		{"a failure in between begins anew", 2, 3, "+55++5+++", "++------+", ""},
		{"fall and rise of one", 1, 1, "+5+5+", "+-+-+", ""},
		{"defaults", 0, 0, "+55++", "++--+", ""},
		{"the reason may change", 2, 2, "+5567", "++---", "answers 7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := appcheck.NewDamper(spec.ApplicationCheck{Type: spec.CheckTCP, Fall: tt.fall, Rise: tt.rise})
			got, last, _ := observe(d, tt.results, time.Unix(1e9, 0))
			if got != tt.want || last.Reason != tt.reason {
				t.Errorf("%s: got %s %q, want %s %q", tt.results, got, last.Reason, tt.want, tt.reason)
			}
		})
	}
}

func TestDamperSince(t *testing.T) {
	start := time.Unix(1e9, 0)
	d := appcheck.NewDamper(spec.ApplicationCheck{Type: spec.CheckTCP})
	_, last, _ := observe(d, "++55", start)
	if want := start.Add(3 * time.Second); !last.Since.Equal(want) {
		t.Errorf("since %s, want the second failure at %s", last.Since, want)
	}
	_, last, _ = observe(d, "555", start.Add(time.Minute))
	if want := start.Add(3 * time.Second); !last.Since.Equal(want) {
		t.Errorf("since %s, want still %s", last.Since, want)
	}
	if last.Detail != "answers 5 in detail" {
		t.Errorf("detail %q", last.Detail)
	}
}

// TestFlapping falls again and again: from the fourth time on the application has to be well for a minute, until the falls
// are ten minutes old.
func TestFlapping(t *testing.T) {
	at := time.Unix(1e9, 0)
	d := appcheck.NewDamper(spec.ApplicationCheck{Type: spec.CheckTCP})
	for i, want := range []string{"++-+", "-+", "-+"} {
		results := "55++"
		if i == 0 {
			results = "+55++"
		}
		got, last, end := observe(d, results, at)
		if !last.Well {
			t.Fatalf("fall %d: got %s, want well at the end as in %s", i+1, got, want)
		}
		at = end
	}
	_, last, at := observe(d, "55++++", at)
	if last.Well || !strings.Contains(last.Reason, "answers again, but failed 4 times in 10m0s") {
		t.Fatalf("fourth fall: got %+v, want one that has to prove itself", last)
	}
	// A failure on the way begins the minute anew.
	_, last, at = observe(d, strings.Repeat("+", 50)+"5"+strings.Repeat("+", 59), at)
	if last.Well {
		t.Fatal("well before it was so for a minute")
	}
	_, last, at = observe(d, "++", at)
	if !last.Well {
		t.Fatalf("not well after a minute: %+v", last)
	}
	// Ten minutes later everything is forgotten.
	_, last, _ = observe(d, "+55++", at.Add(appcheck.FlapWindow))
	if !last.Well {
		t.Errorf("old falls still count: %+v", last)
	}
}

func TestResume(t *testing.T) {
	d := appcheck.NewDamper(spec.ApplicationCheck{Type: spec.CheckTCP})
	d.Resume(appcheck.State{Known: true, Well: true})
	if s := d.Observe(appcheck.Result{Reason: "gone"}, time.Unix(1e9, 0)); !s.Well {
		t.Errorf("one failure after an earlier judgement: got %+v, want still well", s)
	}
}
