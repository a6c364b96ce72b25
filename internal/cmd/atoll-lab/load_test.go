//go:build linux

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/load"
)

func TestDeeds(t *testing.T) {
	for text, want := range map[string]string{
		"10s kill sg1": "", "0s cut edge sg1": "", "1m heal a b": "",
		"kill sg1": "AFTER ACTION NODE", "soon kill sg1": `"soon" is no time`, "-1s kill sg1": "is no time", "1s tickle sg1": `"tickle" is none of`,
		"1s kill a b": "kill takes 1 names", "1s cut a": "cut takes 2 names",
	} {
		d, err := parseDeed(text)
		switch {
		case want == "" && (err != nil || !strings.HasSuffix(text, d.String())):
			t.Errorf("%q: %v, error %v", text, d, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
}

// TestLoad asks for a name that nobody serves, which is an answer all the same, until the edge cannot be reached.
func TestLoad(t *testing.T) {
	p := newProgram(t, "load")
	if _, messages, code := p.run("load", "www.example.com"); code == 0 || !strings.Contains(messages, "is not running") {
		t.Errorf("without a lab: exit %d, %s", code, messages)
	}
	if _, messages, code := p.run("up", "--zone", "Example"); code != 2 || !strings.Contains(messages, "is no domain") {
		t.Errorf("a bad zone: exit %d, %s", code, messages)
	}
	p.must("up", "--machine", "hk1@hk-colo", "--zone", "one.example", "--zone", "two.example")
	if out, _ := p.must("list"); !strings.Contains(out, "edge http://198.18.0.20 for one.example, two.example\n") {
		t.Errorf("list does not show the edge:\n%s", out)
	}
	out, _ := p.must("--json", "load", "www.one.example", "--rate", "20", "--duration", "1s", "--sessions", "2", "--max-failed", "0")
	var report load.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Requests != 20 || report.Failed != 0 || report.Nodes["error code: 1001"] != 20 {
		t.Errorf("report %s, error %v", out, err)
	}
	out, messages, code := p.run("load", "www.one.example", "--rate", "20", "--duration", "2s", "--timeout", "300ms", "--max-failed", "5",
		"--then", "1s cut edge operator", "--then", "1m kill hk1")
	if code == 0 || !strings.Contains(out, "after cut edge operator at 1") || !strings.Contains(messages, "requests failed, more than 5") {
		t.Errorf("exit %d\n%s%s", code, out, messages)
	}
	if strings.Contains(out, "kill hk1") {
		t.Errorf("something was done that was for later:\n%s", out)
	}
}
