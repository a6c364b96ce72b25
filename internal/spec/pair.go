package spec

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ReplicationDriver names the program that keeps a pair's trees equal.
type ReplicationDriver string

// The replication drivers.
const (
	// ReplicationUnison is unison: changes on both sides, each seen at once, conflicts kept.
	ReplicationUnison ReplicationDriver = "unison"
)

// ReplicationDrivers lists every replication driver.
func ReplicationDrivers() []ReplicationDriver { return []ReplicationDriver{ReplicationUnison} }

// IOClass is how the work on a pair shares its disk with everything else on a node (ioprio_set(2)).
type IOClass string

// The I/O classes.
const (
	// IOBestEffort shares the disk as any program does.
	IOBestEffort IOClass = "best-effort"
	// IOIdle takes what others leave. On a busy disk nothing may be left for long.
	IOIdle IOClass = "idle"
)

// IOClasses lists every I/O class.
func IOClasses() []IOClass { return []IOClass{IOBestEffort, IOIdle} }

// Bounds of a pair's numbers.
const (
	// DefaultPairObjective is how soon a change should be on the other node, in seconds.
	DefaultPairObjective = 5
	// MaxNice is the least CPU priority there is.
	MaxNice = 19
	// MinPairMemory is the least memory that agents hold a pair to, in MiB. LeastPairMemory is what is worth asking for: with 47,000 files the
	// programs take 115 on the node that does not lead, and what they need and may not have they wait for.
	MinPairMemory   = 64
	LeastPairMemory = 128
	// MaxExcludes is how many patterns a pair can have.
	MaxExcludes = 200
	// pairNodes is how many nodes make a pair.
	pairNodes = 2
)

// Pair is one directory tree that is kept equal on two nodes. Its name is the object's name.
type Pair struct {
	Driver ReplicationDriver `json:"driver"`
	// Ends are the two nodes' sides, by the node's name.
	Ends map[string]PairEnd `json:"ends"`
	// Leader is the node that drives the synchronization. Changes of both count the same.
	Leader string `json:"leader"`
	// Owner and Group are the account that the tree belongs to, on both nodes by name: the program runs as it.
	Owner string `json:"owner"`
	Group string `json:"group"`
	// Exclude are the patterns of what stays on its node. Patterns come in a fixed order and each stands by itself.
	Exclude []string `json:"exclude,omitempty"`
	// Limits bound what the pair takes of a node.
	Limits PairLimits `json:"limits,omitzero"`
	// Objective is how soon a change should be on the other node, in seconds.
	Objective int `json:"objective"`
	// Cold moves old directories to another root, nil for none.
	Cold *PairCold `json:"cold,omitempty"`
	// Standby makes the pair stand in for a node's while that is dead, nil for a pair that always works.
	Standby *PairStandby `json:"standby,omitempty"`
	// After is what a node runs after changes of the other one have arrived there, nil for nothing.
	After *PairAfter `json:"after_change,omitempty"`
}

// PairEnd is one node's side of a pair.
type PairEnd struct {
	// Path is the tree's root, absolute. It is made when it is not there.
	Path string `json:"path"`
	// ColdPath is the root that old directories are moved to, absolute, with Pair.Cold. It is made when it is not there.
	ColdPath string `json:"cold_path,omitempty"`
}

// PairLimits bound what a pair takes of each of its nodes. Numbers that are 0 mean no limit.
type PairLimits struct {
	// Bandwidth is how much may go to the other node, in KiB/s.
	Bandwidth int `json:"bandwidth,omitempty"`
	// Nice is the CPU priority, from 0 to 19, the least (nice(2)).
	Nice int `json:"nice,omitempty"`
	// IO is the I/O class, "" for best effort.
	IO IOClass `json:"io,omitempty"`
	// Memory is how much memory the pair's programs may use before they are slowed down, in MiB.
	Memory int `json:"memory,omitempty"`
}

// Kind returns KindPair.
func (Pair) Kind() Kind { return KindPair }

// Nodes returns the names of the pair's nodes, sorted.
func (p Pair) Nodes() []string { return slices.Sorted(maps.Keys(p.Ends)) }

// Validate implements Body.
func (p Pair) Validate() Problems {
	var ps Problems
	if !slices.Contains(ReplicationDrivers(), p.Driver) {
		ps.add("driver", "update the agent", "%q is unknown", p.Driver)
	}
	if len(p.Ends) != pairNodes {
		ps.add("ends", "name two nodes; more nodes make more pairs, each with one and the same node", "has %d nodes, a pair has two", len(p.Ends))
	}
	for _, node := range p.Nodes() {
		ps = append(ps, ValidateName("ends", node)...)
		ps = append(ps, ValidateTree("ends."+node+".path", p.Ends[node].Path)...)
	}
	if _, ok := p.Ends[p.Leader]; !ok {
		ps.add("leader", "name one of the two nodes", "%q is none of the pair's nodes", p.Leader)
	}
	ps = append(ps, ValidateAccount("owner", p.Owner)...)
	ps = append(ps, ValidateAccount("group", p.Group)...)
	if len(p.Exclude) > MaxExcludes {
		ps.add("exclude", "join some of them", "has %d patterns, more than %d", len(p.Exclude), MaxExcludes)
	}
	if p.Objective < 1 || p.Objective > 3600 {
		ps.add("objective", "choose one from 1 to 3600 seconds", "is %d", p.Objective)
	}
	ps = append(ps, p.validateCold()...)
	ps = append(ps, p.validateStandby()...)
	ps = append(ps, p.After.validate().Under("after_change")...)
	return append(ps, p.Limits.validate().Under("limits")...)
}

func (l PairLimits) validate() Problems {
	var ps Problems
	if l.Bandwidth < 0 {
		ps.add("bandwidth", "leave it out for no limit", "is %d KiB/s", l.Bandwidth)
	}
	if l.Nice < 0 || l.Nice > MaxNice {
		ps.add("nice", "choose one from 0 to 19", "is %d", l.Nice)
	}
	if l.IO != "" && !slices.Contains(IOClasses(), l.IO) {
		ps.add("io", "update the agent", "%q is unknown", l.IO)
	}
	if l.Memory != 0 && l.Memory < MinPairMemory {
		ps.add("memory", "leave it out for no limit", "%d MiB is not enough, it takes %d", l.Memory, MinPairMemory)
	}
	return ps
}

// systemTrees are what belongs to the operating system or to Atoll: two machines with equal ones are two broken machines.
// Folders in /var and /opt are applications', these themselves are not.
var systemTrees = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var/lib/atoll", "/var/lib/atoll-mysql", "/var/lib/atoll-pairs", "/var/lib/atoll-snapshots", "/var/lib/mysql", "/var/tmp"}

// ValidateTree reports what keeps tree from being the root of a pair on a node.
func ValidateTree(field, tree string) Problems {
	var ps Problems
	switch {
	case tree == "":
		ps.add(field, "name a directory", "is empty")
	case !strings.HasPrefix(tree, "/"):
		ps.add(field, "begin it with a slash", "%q is not absolute", tree)
	case path.Clean(tree) != tree:
		ps.add(field, "write "+path.Clean(tree), "%q is not the shortest form", tree)
	case strings.ContainsFunc(tree, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`"'\%$`, r) }):
		ps.add(field, "choose another directory", "%q has characters that units and profiles give a meaning", tree)
	case len(tree) > 255:
		ps.add(field, "shorten it", "has %d characters, more than 255", len(tree))
	case strings.Count(tree, "/") == 1 && slices.Contains([]string{"/", "/home", "/mnt", "/opt", "/srv", "/var", "/media"}, tree):
		ps.add(field, "choose a directory in it", "%s holds what is not of one application", tree)
	default:
		for _, system := range systemTrees {
			if tree == system || Within(tree, system) {
				ps.add(field, "choose a directory in /srv or /var", "%s belongs to the system", system)
			}
		}
	}
	return ps
}

// Within tells whether tree lies below another, both in their shortest forms.
func Within(tree, of string) bool { return strings.HasPrefix(tree, strings.TrimSuffix(of, "/")+"/") }

var accountPattern = regexp.MustCompile(`^[a-z_][a-z0-9_-]*$`)

// ValidateAccount reports what keeps name from being the name of a user or group that a pair belongs to, by the rules of
// Debian's adduser.
func ValidateAccount(field, name string) Problems {
	var ps Problems
	switch {
	case name == "":
		ps.add(field, "name the account that the application runs as, such as www-data", "is empty")
	case len(name) > 32 || !accountPattern.MatchString(name):
		ps.add(field, "use lower-case letters, digits, hyphens and underscores, beginning with a letter", "%q is not the name of an account", name)
	case name == "root":
		ps.add(field, "name the account that the application runs as, such as www-data", "root may write everywhere on the node")
	}
	return ps
}
