//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

func requireLab(t *testing.T) {
	t.Helper()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
}

func start(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	requireLab(t)
	o.Name = fmt.Sprintf("t%d-%s", os.Getpid(), o.Name)
	o.Temporary = true
	o.Progress = func(line string) { t.Log(line) }
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

func TestLab(t *testing.T) {
	l := start(t, lab.Options{Name: "one"})
	out, err := l.SSH(t.Context(), "hk1", "hostname").CombinedOutput()
	t.Log(string(out), err)
	out, err = l.Exec(t.Context(), "hk1", "systemctl", "is-system-running", "--wait")
	t.Log(string(out), err)
	for _, n := range l.Nodes() {
		t.Logf("%+v", n)
	}
	_ = context.Background
	_ = strings.TrimSpace
}
