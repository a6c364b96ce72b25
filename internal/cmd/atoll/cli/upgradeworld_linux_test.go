package cli_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/cmd/atoll/cli"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/snapshot"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// upgradeWorld is a cluster of hk1, sg1 and hk2, the first two of which have a pair: hk1's tree is copied to sg1's whenever somebody looks there.
type upgradeWorld struct {
	*operator
	store *store.Store
	key   *trust.SigningKey
	args  []string
	dir   string

	arriving sync.Mutex

	mu sync.Mutex
	// star has a second pair of the same trees, which comes after the other one.
	star bool
	// happens is told of what the nodes are asked for, before it is done.
	happens func(what string) error
}

func (w *upgradeWorld) tell(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.happens == nil {
		return nil
	}
	return w.happens(what)
}

// upgradeAgent is the agent of one of the nodes.
type upgradeAgent struct {
	heeder
	w    *upgradeWorld
	node string
	live *digest.Tree
	*snapshot.Store
}

func (*upgradeAgent) Admit(trust.Member) ([]store.Record, error) { return nil, nil }

func (a *upgradeAgent) Status() api.ClusterStatus {
	s := a.heeder.Status()
	s.Seen = a.node
	side := api.PairSideView{PairStatus: spec.PairStatus{State: spec.PairSynced}}
	s.Pairs = map[string]api.PairView{"app": {Leader: "hk1", Sides: map[string]api.PairSideView{"hk1": side, "sg1": side}}}
	if a.w.star {
		s.Pairs["star"] = s.Pairs["app"]
	}
	return s
}

func (a *upgradeAgent) Push(from trust.Caller, recs []store.Record) []store.Outcome {
	if err := a.w.tell("push to " + a.node); err != nil {
		return nil
	}
	return a.heeder.Push(from, recs)
}

// arrive has everything arrive that is on its way.
func (a *upgradeAgent) arrive(ctx context.Context) error {
	if a.node == "hk1" {
		return nil
	}
	a.w.arriving.Lock()
	defer a.w.arriving.Unlock()
	// What has begun to arrive does so, whoever has gone.
	return exec.CommandContext(context.WithoutCancel(ctx), "sh", "-ec", `mkdir -p "$2"; rm -rf "$2"/*; cp -a "$1"/* "$2"`, "sh", a.w.tree("hk1"), a.w.tree("sg1")).Run()
}

// Digest implements api.Digester.
func (a *upgradeAgent) Digest(ctx context.Context, _ string, _ digest.Request) (digest.Result, error) {
	if err := errors.Join(a.w.tell("digest on "+a.node), a.arrive(ctx)); err != nil {
		return digest.Result{}, err
	}
	s, err := a.live.Digest(ctx, nil)
	return digest.Result{Snapshot: s}, err
}

// Directory implements api.Digester.
func (a *upgradeAgent) Directory(ctx context.Context, _ string, _ digest.Part, path string) (digest.Directory, error) {
	return a.live.Directory(ctx, path)
}

// Snapshot implements api.Snapshotter.
func (a *upgradeAgent) Snapshot(_ context.Context, pair string, r snapshot.Request) (out snapshot.Result, err error) {
	switch {
	case pair == "star" && r.Action == snapshot.List:
		return snapshot.Result{Done: true}, nil
	case pair == "star":
		return out, &api.Error{StatusCode: 409, Reason: api.ReasonSnapshotRefused, Message: "it has the tree of another pair"}
	}
	if err := a.w.tell(string(r.Action)); err != nil {
		return out, err
	}
	ctx, quiet := context.Background(), func(snapshot.Progress) {} // it goes on when its caller has gone
	out.Done = true
	switch r.Action {
	case snapshot.Check:
		room, roomErr := a.Check(ctx, a.live, quiet)
		out.Room, err = &room, roomErr
	case snapshot.Take:
		one, takeErr := a.Take(ctx, r.ID, a.live, quiet)
		out.Snapshots, err = []snapshot.Snapshot{one}, takeErr
	case snapshot.Restore:
		restored, restoreErr := a.Restore(ctx, r.ID, a.live, quiet)
		out.Restored, err = &restored, restoreErr
	case snapshot.List:
		out.Snapshots, err = a.List()
	case snapshot.Remove:
		err = a.Remove(r.ID)
	}
	var refused *snapshot.RefusedError
	if errors.As(err, &refused) {
		err = &api.Error{StatusCode: 409, Reason: api.ReasonSnapshotRefused, Message: refused.Error()}
	}
	return out, err
}

func (w *upgradeWorld) tree(node string) string { return filepath.Join(w.dir, node, "app") }

func newUpgradeWorld(t *testing.T) *upgradeWorld {
	t.Helper()
	o := newOperator(t)
	w := &upgradeWorld{operator: o, key: o.withKey(t), dir: t.TempDir(), args: []string{"--cluster", "web"}}
	w.store = store.New(trust.Root{Cluster: "web", Key: w.key.Public()}, store.Options{Now: func() time.Time { return now }})
	c := maintainedCluster{operator: o, key: w.key, store: w.store}
	leaveOut, err := exclude.Parse([]string{"/.atoll"})
	if err != nil {
		t.Fatal(err)
	}
	options := digest.Options{Exclude: leaveOut, Permissions: 0o7777}
	for i, name := range []string{"hk1", "sg1", "hk2"} {
		c.merge(t, name, 1, spec.Node{
			Provider: "lab", Site: "a", MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i + 1)}), Machine: spec.Machine{Variant: spec.MachineManual},
		})
		tree := w.tree(name)
		if err := os.MkdirAll(filepath.Join(tree, ".atoll"), 0o755); err != nil {
			t.Fatal(err)
		}
		a := &upgradeAgent{
			heeder: heeder{keeper: keeper{api.StoreBackend{Store: w.store, Node: name, Now: func() time.Time { return now }}}}, w: w, node: name,
			live: digest.New(tree, options),
			Store: &snapshot.Store{
				Pair: "app", Node: name, Tree: tree, Dir: filepath.Join(w.dir, name, "snapshots"), Aside: ".atoll/replaced/app", Options: options,
				Now: func() time.Time { return now },
			},
		}
		endpoint, _ := serveBackend(t, a, w.key, name)
		w.args = append(w.args, "--endpoint", endpoint)
	}
	for _, node := range []string{"hk1", "sg1"} {
		write(t, filepath.Join(w.tree(node), "version"), "1")
	}
	return w
}

// upgrade runs one of the commands. Until ctx ends.
func (w *upgradeWorld) upgrade(ctx context.Context, command string, args ...string) result {
	var stdout, stderr bytes.Buffer
	all := append(append([]string{"upgrade", command}, w.args...), args...)
	code := cli.Run(ctx, cli.Environment{
		Args: all, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(name string) string { return w.env[name] }, Version: "1.2.3",
		Now: func() time.Time { return now },
	})
	return result{code, stdout.String(), stderr.String()}
}

// version is what a node's tree has.
func (w *upgradeWorld) version(node string) string {
	text, err := os.ReadFile(filepath.Join(w.tree(node), "version"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// away returns the nodes in maintenance.
func (w *upgradeWorld) away() map[string]spec.Maintenance { return w.store.Snapshot().Maintenance }

// change is a command that changes the version, and a letter that a user has written.
func (w *upgradeWorld) change() []string {
	return []string{"--", "sh", "-c", `printf 2 >"$1/version"; printf dear >"$1/letter"`, "sh", w.tree("hk1")}
}

func (w *upgradeWorld) want(t *testing.T, what string, r result, code int, version string, away int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("%s: exit code %d, want %d:\n%s%s", what, r.code, code, r.stdout, r.stderr)
	}
	for _, node := range []string{"hk1", "sg1"} {
		if got := w.version(node); got != version {
			t.Errorf("%s: %s has version %q, want %q", what, node, got, version)
		}
	}
	if got := w.away(); len(got) != away {
		t.Errorf("%s: in maintenance are %v, want %d", what, got, away)
	}
	for _, text := range says {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%s: it does not say %q:\n%s%s", what, text, r.stdout, r.stderr)
		}
	}
}
