// Package worker is the one program of a node that reaches into a pair's tree, and into that tree alone. It runs as a unit of its
// own beside the agent, which knows it only by its control socket: it watches the tree, runs the program that keeps the tree equal
// with the other node's as the account that the tree belongs to, and tells how that goes.
//
// Streams to the other node are the agent's business. The worker on the node that leads is offered one by its agent (Client.Offer)
// and takes it when it needs one; the other worker is handed what comes (Client.Stream). Whatever of all this ends, on whichever
// side, the stream ends with it, and both sides begin anew with a look at their whole trees.
package worker

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Config is one node's side of a pair, as its worker is told.
type Config struct {
	// Driver is whose engine the worker runs.
	Driver spec.ReplicationDriver `json:"driver"`
	// Pair is the pair's name, Node this node's, Peer the other's.
	Pair string `json:"pair"`
	Node string `json:"node"`
	Peer string `json:"peer"`
	// Leads tells whether this node drives the synchronization.
	Leads bool `json:"leads"`
	// Path is the tree's root here, PeerPath on the other node.
	Path     string `json:"path"`
	PeerPath string `json:"peer_path"`
	// Owner and Group are the account that the program runs as.
	Owner string `json:"owner"`
	Group string `json:"group"`
	// Alternates tells that the pair takes turns with another one of the same tree: it carries changes over only while the agent of the node that does
	// not lead says so (Client.Turn), and until then watches what both sides have alike.
	Alternates bool `json:"alternates,omitempty"`
	// Exclude are the patterns of what stays on its node (package exclude).
	Exclude []string `json:"exclude,omitempty"`
	// Cold is how old directories are moved to another root, nil for not at all.
	Cold *Cold `json:"cold,omitempty"`
	// After is what runs after changes of the other node have arrived, nil for nothing.
	After *spec.PairAfter `json:"after_change,omitempty"`
	// RunDir is where the worker's sockets are. It is gone after a restart of the machine.
	RunDir string `json:"run_dir"`
	// StateDir is where the worker and its program keep what outlives them.
	StateDir string `json:"state_dir"`
	// SnapshotDirs are where snapshots of the tree may be, the best first: outside of any tree, each of this pair alone.
	SnapshotDirs []string `json:"snapshot_dirs,omitempty"`
	// Pauses are as nodes have them where a program says nothing else.
	Pauses Pauses `json:"-"`
}

// Pauses are how long a worker waits before it does again what it has done. What is 0 is as nodes have it.
type Pauses struct {
	// Retry is the longest time that the node that leads waits until it begins anew when a synchronization has ended: 5 s. It waits so long
	// when that has happened several times within seconds.
	Retry time.Duration
	// Doubt is for how long the trees have to be compared, while nothing is known of that differs, until contents are: 5 s.
	Doubt time.Duration
	// Recheck is after what time a program is first told to look again at what it could not read: 5 s.
	Recheck time.Duration
	// After is for how long the command after changes is first not tried again when it has failed: 5 s.
	After time.Duration
}

// WithPauses returns the configuration with every pause as it is kept.
func (c Config) WithPauses() Config {
	c.Pauses.Retry = cmp.Or(c.Pauses.Retry, pauseMost)
	c.Pauses.Doubt = cmp.Or(c.Pauses.Doubt, doubtAfter)
	c.Pauses.Recheck = cmp.Or(c.Pauses.Recheck, recheckFirst)
	c.Pauses.After = cmp.Or(c.Pauses.After, afterRetryFirst)
	return c
}

// recheckFirst is Pauses.Recheck on nodes.
const recheckFirst = 5 * time.Second

// ReadConfig reads a file that Config.Marshal has made.
func ReadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, fmt.Errorf("read %s: %w", path, err)
	}
	return c, nil
}

// Marshal returns the configuration as a file for ReadConfig.
func (c Config) Marshal() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// terms returns the digest of what the knowledge of earlier synchronizations depends on: with another path, another node or other
// excludes, what is not there is not what was deleted.
func (c Config) terms() string {
	exclude := slices.Sorted(slices.Values(c.Exclude))
	terms := []any{c.Path, c.Peer, c.PeerPath, exclude}
	if c.Cold != nil {
		// Which directories both sides agree on before a synchronization.
		terms = append(terms, c.Cold.Pattern)
	}
	data, err := json.Marshal(terms)
	if err != nil {
		return "" // not of strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ControlSocket is where the agent reaches the worker.
func (c Config) ControlSocket() string { return filepath.Join(c.RunDir, "control.sock") }

// AfterSocket is where the program that runs the command after changes asks the worker for work. Only the tree's account reaches it.
func (c Config) AfterSocket() string { return filepath.Join(c.RunDir, "after.sock") }

// Home is the home directory of the program that the worker runs, owned by the account that it runs as.
func (c Config) Home() string { return filepath.Join(c.StateDir, "home") }

const (
	// Marker is a directory in the root of each tree which says that this is the tree: where it is missing, the tree is not there, and
	// nothing that is not to be seen was deleted. It belongs to root and is no part of the data.
	Marker = ".atoll"
	// CanaryDir is where the nodes' canaries are, each a file with the node's name in a directory with the pair's. It is replicated, but no part
	// of the data.
	CanaryDir = ".atoll-canary"
)

// Canaries is where the canaries of this pair are, from the tree's root. Those of another pair of the same tree are none of its business.
func (c Config) Canaries() string { return CanaryDir + "/" + c.Pair }

// outside tells whether a path that Atoll itself has made is none of what the pair replicates, and whether it is one of these at all:
// whatever a pair excludes, "*" say, is of the tree's own data.
func (c Config) outside(path string) (outside, ours bool) {
	switch {
	case path == Marker || strings.HasPrefix(path, Marker+"/"), path == cold.Dir || strings.HasPrefix(path, cold.Dir+"/"):
		return true, true
	case path == CanaryDir || path == c.Canaries() || strings.HasPrefix(path, c.Canaries()+"/"):
		return false, true
	case strings.HasPrefix(path, CanaryDir+"/"):
		return true, true
	}
	return false, false
}

// Exclude returns the patterns of what is no part of a tree's data, beside those of a pair and its program: the marker and canaries. Whoever
// compares trees leaves them out.
func Exclude() []string { return []string{"/" + Marker, "/" + CanaryDir, "/" + cold.Dir} }
