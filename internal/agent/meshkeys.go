package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/topology"
)

// maxKeyNumber bounds what a node may say of its keys: numbers become names.
const maxKeyNumber = 1 << 31

// keyring is what this node knows of its mesh keys beside the keys themselves, on disk, and what its reports say of them. It is
// safe for concurrent use.
type keyring struct {
	mu    sync.Mutex
	state state
	log   *slog.Logger
	book  keyBook
	// takes is what the node's mesh has taken over of the others' keys.
	takes map[string]int
}

// keyBook is meshkeys.json. It holds nothing secret.
type keyBook struct {
	// Told is what the last report said, so that an agent that was started again never says less.
	Told *spec.MeshKeyStatus `json:"told,omitempty"`
	// Keys are the node's keys, in use or prepared, by a digest of their public half.
	Keys map[string]keyEntry `json:"keys"`
}

// keyEntry is one key of this node.
type keyEntry struct {
	Number     int       `json:"number"`
	Made       time.Time `json:"made"`
	Generation int       `json:"generation"`
	// Previous is the key before this one while others may still believe it, and Switched when this one took its place.
	Previous *spec.MeshKey `json:"previous,omitempty"`
	Switched time.Time     `json:"switched,omitzero"`
}

func openKeyring(s state, log *slog.Logger) *keyring {
	k := &keyring{state: s, log: log, takes: map[string]int{}}
	if _, err := s.readJSON(meshKeysFile, &k.book); err != nil {
		// The node's last report, which the others have too, says what it said.
		log.Warn("what is known of this node's mesh keys is lost, and found again from its last report", "error", err)
		k.book = keyBook{}
	}
	if k.book.Keys == nil {
		k.book.Keys = map[string]keyEntry{}
	}
	return k
}

// remember begins with what the node has said in its last report, where the book does not know.
func (k *keyring) remember(last *spec.MeshKeyStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.book.Told == nil {
		k.book.Told = last
	}
}

func keyDigest(public string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(public)))
	return hex.EncodeToString(sum[:16])
}

// entry returns what is known of a key.
func (k *keyring) entry(public string) (keyEntry, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, known := k.book.Keys[keyDigest(public)]
	return e, known
}

// note writes down what is known of a key, and forgets the keys that are not among those kept.
func (k *keyring) note(public string, e keyEntry, kept ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := maps.Clone(k.book.Keys)
	next[keyDigest(public)] = e
	maps.DeleteFunc(next, func(digest string, _ keyEntry) bool {
		return !slices.ContainsFunc(append(kept, public), func(public string) bool { return keyDigest(public) == digest })
	})
	if reflect.DeepEqual(next, k.book.Keys) {
		return nil
	}
	book := k.book
	book.Keys = next
	if err := k.state.writeJSON(meshKeysFile, book); err != nil {
		return err
	}
	k.book = book
	return nil
}

// tell sets what reports say from now on, and returns whether that is news.
func (k *keyring) tell(st *spec.MeshKeyStatus) (news bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if reflect.DeepEqual(k.book.Told, st) {
		return false, nil
	}
	book := k.book
	book.Told = st
	if err := k.state.writeJSON(meshKeysFile, book); err != nil {
		return false, err
	}
	k.book = book
	return true, nil
}

// told returns what reports say, nil before the mesh was made. It is shared: nobody changes it.
func (k *keyring) told() *spec.MeshKeyStatus {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.book.Told
}

// took remembers that the mesh has taken the keys of a view over, and returns whether that is news.
func (k *keyring) took(v *topology.View) bool {
	takes := map[string]int{}
	for _, p := range v.Peers {
		newest := p.KeyNumber
		if p.OtherKey != nil {
			newest = max(newest, p.OtherKey.Number)
		}
		if newest > 0 {
			takes[p.Name] = newest
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	news := !maps.Equal(takes, k.takes)
	k.takes = takes
	return news
}

func (k *keyring) taken() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.takes) == 0 {
		return nil
	}
	return maps.Clone(k.takes)
}

// saidKeys returns what a member says of its keys of the cluster's mesh, nil when it says nothing that can be used. The store has
// taken it from the member alone, and its newest word.
func saidKeys(snapshot *store.Snapshot, name string) *spec.MeshKeyStatus {
	st := snapshot.Statuses[name].MeshKey
	if st == nil || snapshot.Cluster == nil || st.Driver != snapshot.Cluster.Mesh.Driver || st.Number < 0 || st.Number > maxKeyNumber {
		return nil
	}
	if st.Other != nil && (st.Other.Number < 0 || st.Other.Number > maxKeyNumber || st.Other.Number == st.Number || st.Other.Public == "") {
		return nil
	}
	return st
}

// addMeshKeys fills in the keys under which the members are to be believed: the ones that they joined with, or what they have
// said since.
func addMeshKeys(in *topology.Input, snapshot *store.Snapshot) {
	in.MeshKeys, in.KeyNumbers, in.OtherKeys = map[string]string{}, map[string]int{}, map[string]spec.MeshKey{}
	for name, member := range snapshot.Members {
		key := member.MeshKeys[snapshot.Cluster.Mesh.Driver]
		if key == "" {
			continue
		}
		in.MeshKeys[name] = key
		st := saidKeys(snapshot, name)
		if st == nil {
			continue
		}
		if st.Public != "" {
			in.MeshKeys[name] = st.Public
		}
		in.KeyNumbers[name] = st.Number
		if st.Other != nil {
			in.OtherKeys[name] = *st.Other
		}
	}
}

// keyNews returns a text that changes with everything that others say of mesh keys and that makes this node do something.
func (s *session) keyNews(snapshot *store.Snapshot) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(snapshot.Statuses)) {
		st := saidKeys(snapshot, name)
		if st == nil || name == s.m.record.Node {
			continue
		}
		_, _ = fmt.Fprintf(&b, "%s %d %d %d %t %d;", name, st.Number, st.Newest(), st.Generation, st.Rotating(), st.Takes[s.m.record.Node]) // a builder never fails
	}
	return b.String()
}
