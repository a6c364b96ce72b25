//go:build linux

package imagetest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
)

// paired are the nodes of the pair.
var paired = []string{"hk1", "sg1"}

// filesCross makes a pair of two nodes. What an application writes on one, the other's reads.
func filesCross(t *testing.T, s *site) {
	s.Work.Env = append(s.Work.Env, "TF_VAR_with_files=true")
	s.mustRun(t, "apply", "-auto-approve")
	s.wantHealthy(t, settling, everyNode...)
	s.wantFilesCross(t)
	if r, err := s.run(t, "plan", "-detailed-exitcode"); err != nil {
		t.Errorf("with a pair the plan is not empty (exit code %d):\n%s", r.Code, r.Output)
	}
	for _, n := range paired {
		t.Logf("%s: %s", n, s.exec(t, n, "sh", "-c", "unison -version; systemctl show -p MemoryCurrent atoll-pair-uploads.service; systemd-analyze security --no-pager atoll-pair-uploads.service | tail -n 1"))
	}
	if out, err := s.Atoll(t.Context(), "wait-synced", "--timeout", "5m"); err != nil {
		t.Errorf("the barrier stays closed: %v\n%s", err, out)
	}
}

// wantFilesCross has an application on each of the two write a file, and that of the other read it.
func (s *site) wantFilesCross(t *testing.T) {
	t.Helper()
	for i, from := range paired {
		name := "from-" + from
		token := rand.Text()
		s.exec(t, from, "runuser", "-u", "www-data", "--", "sh", "-ec", `echo "$1" >/srv/uploads/"$2"`, "sh", token, name)
		s.wantFile(t, paired[1-i], name, token)
	}
}

// wantFile waits until a node has a file with a content.
func (s *site) wantFile(t *testing.T, node, name, want string) {
	t.Helper()
	s.eventually(t, node+" has the file "+name, settling, func(ctx context.Context) error {
		out, err := s.Exec(ctx, node, "cat", "/srv/uploads/"+name)
		if got := strings.TrimSpace(string(out)); err == nil && got != want {
			err = fmt.Errorf("it holds %q, want %q", got, want)
		}
		return err
	})
}
