package choose

import "fmt"

// Grade is how well something does by one criterion.
type Grade string

// The grades, the best first.
const (
	Good Grade = "good"
	Fair Grade = "fair"
	Poor Grade = "poor"
)

// Criterion is what programs are compared by.
type Criterion string

// The criteria.
const (
	Maintenance Criterion = "maintenance"
	Complexity  Criterion = "complexity"
	Performance Criterion = "performance"
	Scalability Criterion = "scalability"
	Durability  Criterion = "durability"
	Consistency Criterion = "consistency"
	ACLs        Criterion = "acls"
)

// Criteria lists every criterion.
func Criteria() []Criterion {
	return []Criterion{Maintenance, Complexity, Performance, Scalability, Durability, Consistency, ACLs}
}

// Mark is a grade, and why.
type Mark struct {
	Grade Grade
	Why   string
}

// Alternative is one program of the table.
type Alternative struct {
	Name  string
	Marks map[Criterion]Mark
	// Against is what speaks against it for this tree, "" for nothing.
	Against string
}

// program is a row of the table, and what it cannot do.
type program struct {
	name    string
	marks   [7]Mark // in the order of Criteria
	against func(Tree) string
}

// alternatives returns the table for a tree.
func alternatives(t Tree) []Alternative {
	var out []Alternative
	for _, p := range programs() {
		a := Alternative{Name: p.name, Marks: map[Criterion]Mark{}, Against: p.against(t)}
		for i, c := range Criteria() {
			a.Marks[c] = p.marks[i]
		}
		out = append(out, a)
	}
	return out
}

// far tells whether nodes are too far apart to wait for each other at every access.
func (t Tree) far() bool { return t.RTT > near }

// whole tells that the files of the tree have to fit each other.
func (t Tree) whole() bool { return t.Kind == KindDatabase || t.Kind == KindGit }

const fitting = "files that have to fit each other are carried over one by one"

// programs is the table. What is measured is from the guide to performance; the rest is how the programs work.
func programs() []program {
	return []program{
		{
			name: "pair",
			marks: [7]Mark{
				{Good, "made, watched and explained by Atoll; nothing is done by hand but conflicts"},
				{Fair, "two programs on each node, and a record of what was last equal"},
				{Good, "the speed of each node's disk; a change is on the other node after 13 ms at the median, measured"},
				{Fair, "two nodes each; a star for more; 47,000 files measured, with 222 MiB of memory"},
				{Good, "a whole copy on each node; no backup"},
				{Fair, "equal after a second or so; of a conflict both versions are kept"},
				{Good, "kept, where both file systems keep them"},
			},
			against: func(t Tree) string {
				switch {
				case t.whole():
					return fitting
				case t.Kind == KindLogs:
					return "each line that is appended carries the whole file"
				case t.Kind == KindCode || t.Kind == KindConfig:
					return "a mistake reaches both nodes at once"
				case t.Locks && t.Writers == WritersMany:
					return "a lock on one node is unknown on the other"
				case t.Files > manyFiles && !t.Dated:
					return "every file takes about 5 KiB of memory"
				}
				return ""
			},
		},
		{
			name: "rsync",
			marks: [7]Mark{
				{Fair, "timers and SSH keys of your own"},
				{Good, "one program, no state"},
				{Poor, "looks at every file in each run, and a change waits for the next"},
				{Poor, "a run takes as long as there are files"},
				{Fair, "a copy as old as the last run; --delete carries deletions over"},
				{Poor, "one direction: what the other side has written is overwritten"},
				{Good, "kept, with -A and -X"},
			},
			against: func(t Tree) string {
				switch {
				case t.whole():
					return fitting
				case t.Writers == WritersMany:
					return "it goes in one direction, and several nodes write"
				case t.ChangesPerMinute >= 1:
					return "changes wait for the next run"
				}
				return ""
			},
		},
		{
			name: "csync2",
			marks: [7]Mark{
				{Poor, "a database of file hints on each node, and conflicts that somebody has to settle"},
				{Fair, "certificates, groups and a daemon; nothing runs it by itself"},
				{Fair, "good for few changes; falls behind when many small files change"},
				{Fair, "many nodes, each with each"},
				{Good, "a whole copy on each node"},
				{Poor, "a file in conflict stays different until somebody decides, or one side always wins"},
				{Poor, "owner and mode alone"},
			},
			against: func(t Tree) string {
				switch {
				case t.whole():
					return fitting
				case t.ACLs:
					return "it does not keep ACLs"
				case t.Writers == WritersMany:
					return "several nodes write, and its conflicts stop files"
				case t.ChangesPerMinute >= 1 && t.AverageBytes > 0 && t.AverageBytes <= small:
					return "small files that change often make it fall behind"
				}
				return ""
			},
		},
		{
			name: "nfs",
			marks: [7]Mark{
				{Good, "one server, known to everybody"},
				{Good, "a mount on each node"},
				{Fair, "each file that is opened asks the server"},
				{Fair, "as far as one server goes"},
				{Poor, "one server's disk: when it is gone, so is the tree on all nodes"},
				{Good, "one copy; what was closed is there for who opens it next, and locks hold"},
				{Fair, "NFSv4 has its own, which are not those of the local file systems"},
			},
			against: func(t Tree) string {
				if t.far() {
					return fmt.Sprintf("each file that is opened waits %g ms, and for ever when the line is cut", t.RTT)
				}
				return "its server is a single point of failure"
			},
		},
		{
			name: "gluster",
			marks: [7]Mark{
				{Fair, "no management node, but bricks to heal and upgrades to plan"},
				{Poor, "daemons, volumes and quorum of its own"},
				{Poor, "good at writing large files; reading many small ones asks every replica, and takes CPU and memory"},
				{Good, "more bricks, more room"},
				{Good, "a copy on each replica"},
				{Good, "one truth with three replicas; with two it can split"},
				{Good, "kept"},
			},
			against: func(t Tree) string {
				switch {
				case t.far():
					return fmt.Sprintf("every access asks nodes that are %g ms away", t.RTT)
				case t.AverageBytes > 0 && t.AverageBytes <= small:
					return "reading many small files is what it is slowest at"
				case t.Nodes > 0 && t.Nodes < 3:
					return "with two replicas it splits, or stops when one is gone"
				}
				return ""
			},
		},
		{
			name: "lustre",
			marks: [7]Mark{
				{Poor, "a kernel of its own on every machine"},
				{Poor, "four or five machines more, for metadata and storage"},
				{Good, "made for large files and many readers in one hall"},
				{Good, "thousands of machines"},
				{Fair, "what the storage below it gives; no copies elsewhere"},
				{Good, "one truth, and locks hold"},
				{Good, "kept"},
			},
			against: func(Tree) string {
				return "it takes four or five machines more and a kernel of its own, which is out of scope for a small cluster"
			},
		},
		{
			name: "drbd",
			marks: [7]Mark{
				{Fair, "split brains are resolved by hand"},
				{Fair, "a kernel module and a block device; a cluster manager decides who mounts it"},
				{Fair, "the disk's speed for reading; each write waits for the other node"},
				{Poor, "one node mounts it; more need a cluster file system above"},
				{Good, "the same blocks on two disks"},
				{Good, "the same blocks, in order"},
				{Good, "those of the file system above"},
			},
			against: func(t Tree) string {
				switch {
				case t.Writers == WritersMany:
					return "one node mounts it at a time, and several write"
				case t.far():
					return fmt.Sprintf("each write waits %g ms for the other node, or is lost with this one", t.RTT)
				}
				return "the second node cannot read it while the first has it"
			},
		},
		{
			name: "syncthing",
			marks: [7]Mark{
				{Good, "runs by itself, with a page to look at"},
				{Good, "one program on each node"},
				{Fair, "gathers changes for 10 s: 10 s at the median, measured, with its defaults"},
				{Good, "many nodes, each with each"},
				{Good, "a whole copy on each node"},
				{Fair, "the newest version wins and the other is kept as a copy"},
				{Fair, "owners and extended attributes only when asked to, and as root"},
			},
			against: func(t Tree) string {
				switch {
				case t.whole():
					return fitting
				case t.Locks && t.Writers == WritersMany:
					return "a lock on one node is unknown on the other"
				case t.ACLs:
					return "it has to run as root to keep ACLs"
				case t.ChangesPerMinute >= 1 && t.Writers == WritersMany:
					return "changes take ten seconds and more by default, in which the other node makes conflicts"
				}
				return ""
			},
		},
	}
}
