// Package choose is the decision table "which mode for this tree?": what keeps a tree of files in the right places on the nodes of a
// cluster, why, and how it compares with the other ways that there are. It is pure: it knows what it is told, and asks nobody.
package choose

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is what a tree is.
type Kind string

// The kinds of trees.
const (
	// KindData is what an application and its users file: uploads, documents, pictures.
	KindData Kind = "data"
	// KindCode is a program, KindConfig how it is set up. Both come from somewhere else, such as a repository.
	KindCode   Kind = "code"
	KindConfig Kind = "config"
	// KindDatabase is the files of a database, an embedded one such as SQLite included.
	KindDatabase Kind = "database"
	// KindGit is a repository with its object store.
	KindGit Kind = "git"
	// KindLogs is what is only ever appended to.
	KindLogs Kind = "logs"
	// KindSessions is what an application remembers of visitors between two requests.
	KindSessions Kind = "sessions"
	// KindCache can be made again from something else.
	KindCache Kind = "cache"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindData, KindCode, KindConfig, KindDatabase, KindGit, KindLogs, KindSessions, KindCache}
}

// Writers tells on how many nodes programs change a tree.
type Writers string

// The writers.
const (
	WritersNone Writers = "none"
	WritersOne  Writers = "one"
	WritersMany Writers = "many"
)

// AllWriters lists them, the fewest first.
func AllWriters() []Writers { return []Writers{WritersNone, WritersOne, WritersMany} }

// Tree is what is known of a tree. Zero numbers are not known, and nothing is concluded from them.
type Tree struct {
	Kind    Kind
	Writers Writers
	// Files is how many files there are, AverageBytes how large they are.
	Files        int64
	AverageBytes int64
	// ChangesPerMinute is how many files are made, written or removed.
	ChangesPerMinute float64
	// Nodes is how many nodes need the tree.
	Nodes int64
	// RTT is the round trip between the farthest of them, in milliseconds.
	RTT float64
	// Dated tells that files are filed by date, and are hardly changed later.
	Dated bool
	// Locks tells that programs on different nodes rely on locks of files, ACLs that access control lists matter.
	Locks, ACLs bool
}

// Problem is what is wrong with a description of a tree.
type Problem struct {
	// Field is the name of what is wrong, in snake case.
	Field, Message string
}

// Error says what is wrong.
func (p *Problem) Error() string { return p.Field + " " + p.Message }

// check returns a *Problem for a tree that there cannot be.
func (t Tree) check() error {
	if !slices.Contains(Kinds(), t.Kind) {
		return &Problem{"kind", fmt.Sprintf("is %q, which is none of %s", t.Kind, list(Kinds()))}
	}
	if !slices.Contains(AllWriters(), t.Writers) {
		return &Problem{"writers", fmt.Sprintf("is %q, which is none of %s", t.Writers, list(AllWriters()))}
	}
	for _, n := range []struct {
		field string
		value float64
	}{
		{"files", float64(t.Files)}, {"average_bytes", float64(t.AverageBytes)}, {"changes_per_minute", t.ChangesPerMinute}, {"nodes", float64(t.Nodes)}, {"rtt_ms", t.RTT},
	} {
		if n.value < 0 {
			return &Problem{n.field, "is less than nothing"}
		}
	}
	return nil
}

func list[T ~string](all []T) string {
	out := make([]string, len(all))
	for i, one := range all {
		out[i] = string(one)
	}
	return strings.Join(out, ", ")
}

// Mode is a way to have a tree where it is needed.
type Mode string

// The modes.
const (
	// ModePair is an atoll_replication_pair, for each further node one more.
	ModePair Mode = "pair"
	// ModePairCold is one with cold: what is old is moved to a second root, and copied once a day.
	ModePairCold Mode = "pair-cold"
	// ModePairOneWriter is one of which a single node at a time lets programs write.
	ModePairOneWriter Mode = "pair-one-writer"
	// ModeDeploy is the same release, brought to each node by itself.
	ModeDeploy Mode = "deploy"
	// ModeDatabase is an atoll_database.
	ModeDatabase Mode = "database"
	// ModeObjectStorage is a service that keeps objects and is spoken to by HTTP.
	ModeObjectStorage Mode = "object-storage"
	// ModeSharedFileSystem is one that all nodes mount.
	ModeSharedFileSystem Mode = "shared-file-system"
	// ModeGit is a repository on each node, and pushes between them.
	ModeGit Mode = "git"
	// ModeShip sends lines elsewhere as they are written.
	ModeShip Mode = "ship"
	// ModeLocal leaves each node its own.
	ModeLocal Mode = "local"
)

// Modes lists every mode.
func Modes() []Mode {
	return []Mode{
		ModePair, ModePairCold, ModePairOneWriter, ModeDeploy, ModeDatabase, ModeObjectStorage, ModeSharedFileSystem, ModeGit, ModeShip, ModeLocal,
	}
}

// Advice is what to do with a tree.
type Advice struct {
	Mode Mode
	// Title says it in a few words, and Do how it is done.
	Title, Do string
	// Reasons are why, the most important first, and Cautions what to look out for, none for nothing.
	Reasons, Cautions []string
	// Alternatives are all programs of the table, in its order.
	Alternatives []Alternative
}

// What bounds decisions. The first three are measured (see the guide to performance); the others are rules of thumb.
const (
	// measuredFiles is the largest tree that a pair was measured with.
	measuredFiles = 47_000
	// manyFiles is what a pair should not be the answer to any more: its programs hold a record of every file in memory, about 5 KiB.
	manyFiles = 1_000_000
	// carried is what a mesh of tinc carries, in bytes a second.
	carried = 29_000_000
	// near is the round trip in milliseconds up to which waiting for another node at each step is bearable.
	near = 2
	// manyNodes is how many nodes a star of pairs should not exceed.
	manyNodes = 5
	// small is the size of a file up to which its bytes matter less than that it is a file.
	small = 128 << 10
)

// For returns what to do with a tree. A tree that there cannot be is a *Problem.
func For(t Tree) (Advice, error) {
	if err := t.check(); err != nil {
		return Advice{}, err
	}
	a := byKind(t)
	if a.Mode == "" {
		a = bySize(t)
	}
	a.Alternatives = alternatives(t)
	return a, nil
}

// byKind decides by what the tree is, which outweighs how large it is.
func byKind(t Tree) Advice {
	switch t.Kind {
	case KindDatabase:
		return Advice{
			Mode: ModeDatabase, Title: "A replicated database", Do: "Write an atoll_database with a member on each node; embedded databases such as SQLite have to become one.",
			Reasons: []string{"a copy of the files of an open database is no database: they change together, and files are carried over one by one"},
		}
	case KindSessions:
		return Advice{
			Mode: ModeDatabase, Title: "Sessions in the database", Do: "Have the application keep sessions in an atoll_database, or in signed cookies.",
			Reasons: []string{
				"the next request may reach another node before a file has, and be taken for a stranger's",
				"session files are many, small and changed at every request, the worst case for whatever carries files",
			},
			Cautions: []string{"session_affinity of the load balancer keeps visitors on one node, but not when that node dies"},
		}
	case KindGit:
		return Advice{
			Mode: ModeGit, Title: "git itself", Do: "Keep a repository on each node and push to all of them, from a hook or by several push URLs.",
			Reasons: []string{"the files of a repository have to fit each other; git carries them over so that they always do, and any other program does not"},
		}
	case KindLogs:
		return Advice{
			Mode: ModeShip, Title: "Ship the lines", Do: "Leave logs on their node, and have the journal or a log shipper send each line elsewhere as it is written.",
			Reasons: []string{"a file that is appended to all the time would be carried over again and again as a whole", "logs are needed when the node is gone, and the newest lines most of all"},
		}
	case KindCache:
		return Advice{
			Mode: ModeLocal, Title: "Each node its own", Do: "Leave it out of every pair (exclude), and let each node fill its own.",
			Reasons: []string{"what can be made again need not be carried", "entries of one node can be wrong on another, for example when it has another release"},
		}
	case KindCode, KindConfig:
		return deploy(t)
	case KindData:
	}
	if t.Writers == WritersNone {
		return deploy(t)
	}
	return Advice{}
}

func deploy(t Tree) Advice {
	a := Advice{
		Mode: ModeDeploy, Title: "Deploy to each node", Do: "Bring each release to every node by itself, one node after the other, and look whether it is well before the next: atoll maintenance takes a node out of service meanwhile.",
		Reasons: []string{
			"it comes from somewhere else, so that no node has anything that is lost with it",
			"a mistake, or a break-in, reaches one node and not all of them within a second",
			"the files of a release have to fit each other, and are carried over one by one",
		},
	}
	if t.Writers == WritersOne || t.Writers == WritersMany {
		a.Cautions = append(a.Cautions, "programs on nodes write into it: find out what they write, and keep that in a tree of its own beside it (an application that updates itself is changed with atoll upgrade)")
	}
	return a
}

// bySize decides about data that is written.
func bySize(t Tree) Advice {
	if t.Locks && t.Writers == WritersMany {
		return locked(t)
	}
	if rate := t.ChangesPerMinute / 60 * float64(t.AverageBytes); rate > carried {
		return Advice{
			Mode: ModeObjectStorage, Title: "Object storage", Do: "Have the application file it in object storage, and keep references in the database.",
			Reasons:  []string{fmt.Sprintf("each change carries the whole file: %.0f MB/s, and the mesh carries %d with tinc", rate/1e6, carried/1_000_000)},
			Cautions: []string{"with mesh.driver = \"wireguard\" a pair may do, since that carries several times as much; measure it"},
		}
	}
	if t.Files > manyFiles && !t.Dated {
		return Advice{
			Mode: ModeObjectStorage, Title: "Object storage", Do: "Have the application file it in object storage, and keep references in the database.",
			Reasons:  []string{fmt.Sprintf("%d files: programs that keep trees equal remember every file, about 5 KiB of memory each", t.Files)},
			Cautions: []string{"of trees that can be split, several pairs of parts may do"},
		}
	}
	a := pair(t)
	if t.Dated {
		a.Mode, a.Title = ModePairCold, "A pair with a cold part"
		a.Do = "Write an atoll_replication_pair with cold: what is older than some days is moved to a second root, where it is copied once a day and watched by nobody."
		a.Reasons = append(a.Reasons, "files that are filed by date are hardly changed later: moved away, they cost neither memory nor looks")
	}
	return a
}

// locked decides about data whose programs rely on locks on several nodes.
func locked(t Tree) Advice {
	if t.RTT > 0 && t.RTT <= near {
		return Advice{
			Mode: ModeSharedFileSystem, Title: "A file system that all mount", Do: "Mount NFS or a cluster file system on all nodes, and say in the failure analysis that its server is a single point of failure, or give it a second one.",
			Reasons: []string{
				"a lock holds on all nodes only where there is one file, not a copy for each",
				fmt.Sprintf("the nodes are near enough to wait for each other: %g ms", t.RTT),
			},
			Cautions: []string{"Atoll does not make it; when its server is gone, so is the tree on all nodes"},
		}
	}
	why := "how far apart the nodes are is not said; between sites every access would wait for a round trip"
	if t.RTT > 0 {
		why = fmt.Sprintf("with %g ms between the nodes, a file system that all mount would wait that long at every access, and for ever when the line is cut", t.RTT)
	}
	return Advice{
		Mode: ModePairOneWriter, Title: "A pair, and one writer at a time", Do: "Write an atoll_replication_pair, and lead all requests that write to one node: a load balancer with one enabled node, or the node that has the database's primary.",
		Reasons:  []string{"a lock on one node is unknown on another, so that only one may write", why},
		Cautions: []string{"better still, keep what needs locks in the database, whose locks hold on all nodes"},
	}
}

func pair(t Tree) Advice {
	a := Advice{
		Mode: ModePair, Title: "A pair", Do: "Write an atoll_replication_pair.",
		Reasons: []string{"each node reads and writes its own disk, and goes on when the other is gone"},
	}
	if t.Writers == WritersMany {
		a.Reasons = append(a.Reasons, "both nodes may write: of changes to one file at the same time both versions are kept")
	}
	if t.RTT > near {
		a.Reasons = append(a.Reasons, fmt.Sprintf("no program waits for the other node, %g ms away", t.RTT))
		if t.Writers == WritersMany {
			a.Cautions = append(a.Cautions, "two users who change one file within the second or so that it takes make a conflict: have the application file everything under a name of its own")
		}
	}
	if t.ACLs {
		a.Reasons = append(a.Reasons, "ACLs and extended attributes are kept, where both file systems keep them")
	}
	if t.Files > measuredFiles {
		a.Cautions = append(a.Cautions, fmt.Sprintf("measured are %d files; %d take about %d MiB of memory on each node", measuredFiles, t.Files, t.Files*5/1024))
	}
	if t.Nodes > 2 {
		a.Cautions = append(a.Cautions, fmt.Sprintf("%d nodes are %d pairs, each with one and the same node", t.Nodes, t.Nodes-1))
	}
	if t.Nodes > manyNodes {
		a.Cautions = append(a.Cautions, "the node in the middle carries everything to each of the others: of that many, ask whether all need the tree")
	}
	a.Cautions = append(a.Cautions, "a pair is no backup: what is deleted on one node is gone on both")
	return a
}
