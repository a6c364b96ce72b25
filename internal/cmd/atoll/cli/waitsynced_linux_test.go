package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// treeAgent is an agent with real trees, by pair.
type treeAgent struct {
	agent
	node, dir string

	mu    sync.Mutex
	trees map[string]*digest.Tree
	// cold are the cold roots, by pair.
	cold map[string]*digest.Tree
	// unmounted are pairs whose trees are not there; slow tells that a digest takes a second look.
	unmounted map[string]bool
	slow      bool
	asked     map[string]int
	// refused is called after a tree was not there, listed after a directory was asked for.
	refused, listed func(pair string)
}

func (a *treeAgent) refusal(pair string) error {
	switch {
	case a.trees[pair] == nil:
		return &api.Error{StatusCode: 404, Reason: api.ReasonNoSuchPair, Message: fmt.Sprintf("node %q has no pair %q, or does not know of it yet", a.node, pair)}
	case a.unmounted[pair]:
		if a.refused != nil {
			a.refused(pair)
		}
		return &api.Error{StatusCode: 503, Reason: api.ReasonPairUnavailable, Message: fmt.Sprintf("the tree of pair %q cannot be looked at: it is missing", pair)}
	}
	return nil
}

// Digest implements api.Digester.
func (a *treeAgent) Digest(ctx context.Context, pair string, r digest.Request) (digest.Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refusal(pair); err != nil {
		return digest.Result{}, err
	}
	if a.asked[r.ID]++; a.slow && a.asked[r.ID] == 1 {
		return digest.Result{Progress: digest.Progress{Seen: digest.Totals{Files: 1234, Bytes: 5_600_000}}}, nil
	}
	snapshot, err := a.tree(pair, r.Part).Digest(ctx, nil)
	return digest.Result{Snapshot: snapshot}, err
}

// Directory implements api.Digester.
func (a *treeAgent) Directory(ctx context.Context, pair string, part digest.Part, path string) (digest.Directory, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refusal(pair); err != nil {
		return digest.Directory{}, err
	}
	d, err := a.tree(pair, part).Directory(ctx, path)
	if a.listed != nil {
		a.listed(pair)
	}
	if os.IsNotExist(err) {
		err = &api.Error{StatusCode: 404, Reason: api.ReasonNoSuchDirectory, Message: err.Error()}
	}
	return d, err
}

func (a *treeAgent) tree(pair string, part digest.Part) *digest.Tree {
	if part == digest.Cold {
		return a.cold[pair]
	}
	return a.trees[pair]
}

// write puts a file into a tree, with dates that are the same each time.
func (a *treeAgent) write(t *testing.T, pair, path, content string, age time.Duration) {
	t.Helper()
	file := filepath.Join(a.dir, pair, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, now.Add(-age), now.Add(-age)); err != nil {
		t.Fatal(err)
	}
}

// twoTrees is a cluster with pairs uploads and photos, of nodes hk1 and sg1.
type twoTrees struct {
	*operator
	hk1, sg1 *treeAgent
	args     []string
	// endpoint and identity are hk1's.
	endpoint, identity string
}

func newTwoTrees(t *testing.T) *twoTrees {
	t.Helper()
	s := cluster("hk1")
	s.Pairs = map[string]api.PairView{}
	for _, pair := range []string{"uploads", "photos"} {
		side := api.PairSideView{PairStatus: spec.PairStatus{State: spec.PairSynced}}
		s.Pairs[pair] = api.PairView{Leader: "hk1", Sides: map[string]api.PairSideView{"hk1": side, "sg1": side}}
	}
	o := newOperator(t)
	key := o.withKey(t)
	w := &twoTrees{operator: o, args: []string{"wait-synced", "--interval", "20ms", "--cluster", "web"}}
	for _, node := range []string{"hk1", "sg1"} {
		a := &treeAgent{
			agent: agent{status: s}, node: node, dir: t.TempDir(), trees: map[string]*digest.Tree{}, unmounted: map[string]bool{}, asked: map[string]int{},
		}
		a.status.Seen = node
		for pair := range s.Pairs {
			a.write(t, pair, "2026/same", "the same on both", time.Hour)
			a.trees[pair] = digest.New(filepath.Join(a.dir, pair), digest.Options{Permissions: 0o7777})
		}
		endpoint, identity := serveBackend(t, a, key, node)
		w.args = append(w.args, "--endpoint", endpoint)
		if node == "hk1" {
			w.hk1, w.endpoint, w.identity = a, endpoint, identity
		} else {
			w.sg1 = a
		}
	}
	return w
}

func (w *twoTrees) wait(t *testing.T, args ...string) result {
	t.Helper()
	return w.run(t, append(w.args, args...)...)
}

func TestWaitSyncedWithEqualTrees(t *testing.T) {
	w := newTwoTrees(t)
	r := w.wait(t)
	if r.code != cli.Healthy {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	for _, want := range []string{"pair photos: equal on hk1 and sg1: 1 file, 16 B, digest ", "pair uploads: equal on hk1 and sg1: 1 file, 16 B, digest "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the result lacks %q:\n%s", want, r.stdout)
		}
	}
	var got struct {
		Equal bool
		Pairs []struct {
			Pair  string
			Equal bool
			Sides map[string]struct {
				Files  int
				Digest string
			}
		}
	}
	r = w.wait(t, "--json", "--pair", "uploads")
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if r.stderr != "" || !got.Equal || len(got.Pairs) != 1 || !got.Pairs[0].Equal || got.Pairs[0].Sides["sg1"].Files != 1 || got.Pairs[0].Sides["sg1"].Digest != got.Pairs[0].Sides["hk1"].Digest {
		t.Errorf("JSON: %s%s", r.stdout, r.stderr)
	}
}

// TestWaitSyncedSaysWhatDiffers has a golden of a pair with every kind of difference.
func TestWaitSyncedSaysWhatDiffers(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	w := newTwoTrees(t)
	for i := range 12 {
		w.hk1.write(t, "uploads", fmt.Sprintf("2026/11/%02d", i), strings.Repeat("x", 15_000), time.Hour)
	}
	w.hk1.write(t, "uploads", "plan.odt", "newer", time.Minute)
	w.sg1.write(t, "uploads", "plan.odt", "older", time.Hour)
	w.sg1.write(t, "uploads", "only\x1b[2J\xffhere", "x", time.Hour)
	w.hk1.write(t, "uploads", "mode", "x", time.Hour)
	w.sg1.write(t, "uploads", "mode", "x", time.Hour)
	if err := os.Chmod(filepath.Join(w.sg1.dir, "uploads/mode"), 0o400); err != nil {
		t.Fatal(err)
	}
	w.hk1.write(t, "uploads", "thing", "x", time.Hour)
	w.sg1.write(t, "uploads", "thing/inside", "x", time.Hour)
	r := w.wait(t, "--timeout", "3s")
	if r.code != cli.Degraded || strings.Contains(r.stdout+r.stderr, "\x1b") {
		t.Errorf("exit code %d, want %d, and nothing for the terminal to act on: %q", r.code, cli.Degraded, r.stdout+r.stderr)
	}
	if !strings.Contains(r.stderr, "pair uploads: hk1 is behind by ") || strings.Contains(r.stderr, "Error") {
		t.Errorf("while it waited it said %q", r.stderr)
	}
	var got struct {
		Equal bool
		Pairs []struct {
			Sides map[string]struct {
				BehindFiles int `json:"behind_files"`
				BehindBytes int `json:"behind_bytes"`
			}
			Differences []struct {
				Path, Kind, Node string
				PathBytes        []byte `json:"path_base64"`
			}
		}
	}
	js := w.wait(t, "--timeout", "3s", "--json", "--pair", "uploads")
	if err := json.Unmarshal([]byte(js.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, js.stdout)
	}
	p := got.Pairs[0]
	if js.code != cli.Degraded || got.Equal || p.Sides["sg1"].BehindFiles < 13 || p.Sides["sg1"].BehindBytes < 180_000 || len(p.Differences) != 5 {
		t.Errorf("JSON: %s", js.stdout)
	}
	for _, d := range p.Differences {
		if d.Kind == "only here" && d.Node == "sg1" && string(d.PathBytes) != "only\x1b[2J\xffhere" {
			t.Errorf("a path that is no text: %q, %q", d.Path, d.PathBytes)
		}
	}
	t.Chdir(home)
	golden(t, "wait-synced.golden", regexp.MustCompile(`digest .*`).ReplaceAllString(r.stdout, "digest"))
}

func TestWaitSyncedWaits(t *testing.T) {
	w := newTwoTrees(t)
	w.hk1.slow, w.sg1.slow = true, true
	w.hk1.write(t, "uploads", "late", "x", time.Hour)
	w.sg1.unmounted["photos"] = true
	// What is missing comes once that was noticed.
	w.sg1.refused = func(pair string) { w.sg1.unmounted[pair] = false }
	w.sg1.listed = func(pair string) { w.sg1.write(t, pair, "late", "x", time.Hour) }
	r := w.wait(t, "--timeout", "1m")
	if r.code != cli.Healthy {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	for _, want := range []string{
		"has looked at 1234 files, 5.6 MB", "pair uploads: hk1 has everything, sg1 is behind by 1 file, 1 B",
		`pair photos: sg1: the tree of pair "photos" cannot be looked at: it is missing`, "pair photos: equal",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("while it waited it did not say %q:\n%s", want, r.stderr)
		}
	}
}

func TestWaitSyncedWaitsForColdFiles(t *testing.T) {
	w := newTwoTrees(t)
	for _, a := range []*treeAgent{w.hk1, w.sg1} {
		for _, node := range []string{"hk1", "sg1"} {
			side := a.status.Pairs["uploads"].Sides[node]
			side.ColdPath = "/srv/archive"
			a.status.Pairs["uploads"].Sides[node] = side
		}
		a.write(t, "archive", "2020/old", "moved", time.Hour)
		a.cold = map[string]*digest.Tree{"uploads": digest.New(filepath.Join(a.dir, "archive"), digest.Options{Permissions: 0o7777})}
	}
	w.hk1.write(t, "archive", "2020/late", "written through a link", time.Hour)
	r := w.wait(t, "--timeout", "5s")
	if r.code != cli.Degraded || !strings.Contains(r.stdout, "pair uploads, cold files: NOT equal: hk1 has everything, sg1 is behind by 1 file, 22 B\n  2020/late: only on hk1\n") {
		t.Errorf("exit code %d:\n%s", r.code, r.stdout)
	}
	if r := w.wait(t, "--timeout", "1m", "--hot-only"); r.code != cli.Healthy || strings.Contains(r.stdout, "cold") {
		t.Errorf("without cold files: exit code %d:\n%s", r.code, r.stdout)
	}
	// It is brought over once somebody has looked what differs.
	w.sg1.listed = func(string) { w.sg1.write(t, "archive", "2020/late", "written through a link", time.Hour) }
	r = w.wait(t, "--timeout", "1m", "--json")
	var got struct {
		Pairs []struct {
			Pair, Part string
			Equal      bool
			Sides      map[string]struct{ Files int }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if r.code != cli.Healthy || len(got.Pairs) != 3 || got.Pairs[1].Part != "" || got.Pairs[2].Pair != "uploads" || got.Pairs[2].Part != "cold" || !got.Pairs[2].Equal || got.Pairs[2].Sides["sg1"].Files != 2 {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
}

func TestWaitSyncedSaysAtOnceWhatHasFailed(t *testing.T) {
	w := newTwoTrees(t)
	side := w.hk1.status.Pairs["photos"].Sides["sg1"]
	side.State, side.Problem = spec.PairFailed, "the disk is full: make room"
	w.hk1.status.Pairs["photos"].Sides["sg1"] = side
	w.sg1.unmounted["photos"] = true
	r := w.wait(t, "--timeout", "3s")
	if r.code != cli.Degraded || !strings.HasPrefix(r.stderr, "pair photos: sg1: the disk is full: make room\n") {
		t.Errorf("exit code %d, it said %q", r.code, r.stderr)
	}
	if want := `pair photos: NOT equal: sg1: the tree of pair "photos" cannot be looked at: it is missing`; !strings.Contains(r.stdout, want) {
		t.Errorf("the result lacks %q:\n%s", want, r.stdout)
	}
}

func TestWaitSyncedThatCannotBe(t *testing.T) {
	gone := closedEndpoint(t)
	for _, tt := range []struct {
		name string
		args func(w *twoTrees) []string
		want string
	}{
		{"a pair that nobody knows", func(w *twoTrees) []string { return append(w.args, "--pair", "music") }, `cluster "web" has no pair "music"; it has photos, uploads`},
		{"a time below zero", func(w *twoTrees) []string { return append(w.args, "--timeout", "-1s") }, "--timeout"},
		{"an argument", func(w *twoTrees) []string { return append(w.args, "uploads") }, "unknown command"},
		{"no node that answers", func(*twoTrees) []string { return []string{"wait-synced", "--cluster", "web", "--endpoint", gone} }, "no node of the cluster could be asked"},
		{"a side that is not known", func(w *twoTrees) []string { return w.args[:len(w.args)-2] }, "node sg1 of pair photos cannot be asked: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newTwoTrees(t)
			if r := w.run(t, tt.args(w)...); r.code != cli.Failed || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit code %d, %q; want %q", r.code, r.stderr, tt.want)
			}
		})
	}
}

// oldAgent knows nothing of digests.
type oldAgent struct{ *agent }

func TestWaitSyncedWithAnOldAgent(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	s := paired()
	delete(s.Pairs, "photos")
	delete(s.Pairs, "shared")
	args := []string{"wait-synced", "--cluster", "web"}
	for _, node := range []string{"hk1", "sg1"} {
		s.Seen = node
		endpoint, _ := serveBackend(t, oldAgent{&agent{status: s}}, key, node)
		args = append(args, "--endpoint", endpoint)
	}
	if r := o.run(t, args...); r.code != cli.Failed || !strings.Contains(r.stderr, "this agent has no POST /v1/pairs/uploads/digest") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

func TestWaitSyncedWithNodeThatIsNotReached(t *testing.T) {
	w := newTwoTrees(t)
	write(t, "terraform.tfstate", stateWith(t, resource("atoll_node", node("hk1", w.endpoint, w.identity), node("sg1", closedEndpoint(t), w.identity))))
	r := w.run(t, "wait-synced", "--timeout", "2s", "--interval", "20ms")
	if r.code != cli.Failed || !strings.Contains(r.stderr, "pair uploads: sg1: ") || !strings.Contains(r.stderr, "Error: pair photos: node sg1 was not reached: ") || !strings.Contains(r.stdout, "pair uploads: NOT equal: sg1: ") {
		t.Errorf("exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}

func TestWaitSyncedWithoutPairs(t *testing.T) {
	o := newOperator(t)
	key := o.withKey(t)
	endpoint, _ := (&agent{status: cluster("hk1")}).serve(t, key, "hk1")
	if r := o.run(t, "wait-synced", "--cluster", "web", "--endpoint", endpoint); r.code != cli.Healthy || r.stdout != "cluster web has no pairs\n" {
		t.Errorf("exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
}
