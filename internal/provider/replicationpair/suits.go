package replicationpair

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/place"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

const unfit = "Unfit for a pair"

// suits asks both nodes what their trees are on, and says what keeps them from becoming a pair. A plan must also work where nobody can be
// asked; that one node of a new pair cannot is worth a word when the other can.
func (r *Resource) suits(ctx context.Context, p *pair, fresh bool) diag.Diagnostics {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	facts, silent := make([]*place.Facts, len(p.ends)), make([]error, len(p.ends))
	var both sync.WaitGroup
	for i, e := range p.ends {
		both.Go(func() { facts[i], silent[i] = r.lookAt(ctx, e) })
	}
	both.Wait()
	var diags diag.Diagnostics
	if len(p.ends) != 2 {
		return diags // said already
	}
	patterns, err := exclude.Parse(p.body.Exclude)
	if err != nil {
		return diags // said already
	}
	for i, e := range p.ends {
		other := p.ends[1-i]
		switch {
		case facts[i] != nil:
			diags.Append(e.suits(*facts[i], patterns, other, facts[1-i])...)
		case fresh && facts[1-i] != nil && len(e.node.Endpoints) > 0:
			diags.AddAttributeWarning(e.at().AtName("path"), "Not looked at", fmt.Sprintf(
				"Node %q does not say what %s is on: %v. So it was not checked whether the tree has room there.\n\nBoth nodes must be up when a pair is made.",
				e.node.Name, e.path.ValueString(), silent[i]))
		}
	}
	return diags
}

// lookAt returns the facts of a side's directory.
func (r *Resource) lookAt(ctx context.Context, e end) (*place.Facts, error) {
	agent, err := r.op.Agent(e.cluster, e.node)
	if err != nil {
		return nil, err
	}
	defer agent.Close()
	facts, err := agent.Place(ctx, e.path.ValueString())
	if err != nil {
		return nil, err
	}
	return &facts, nil
}

// suits says what is wrong with a side's directory. Of the other one nothing may be known.
func (e end) suits(f place.Facts, patterns *exclude.Set, other end, there *place.Facts) diag.Diagnostics {
	var diags diag.Diagnostics
	at, tree := e.at().AtName("path"), e.path.ValueString()
	wrong := func(remedy, format string, args ...any) {
		diags.AddAttributeError(at, unfit, fmt.Sprintf("%s on %s %s.\n\n%s.", tree, e.node.Name, fmt.Sprintf(format, args...), remedy))
	}
	warn := func(summary, remedy, format string, args ...any) {
		diags.AddAttributeWarning(at, summary, fmt.Sprintf("%s on %s %s.\n\n%s.", tree, e.node.Name, fmt.Sprintf(format, args...), remedy))
	}
	if mounted := e.mounted(f, patterns); len(mounted) > 0 {
		wrong("Exclude what does not matter, and mount the rest elsewhere, as the tree of a pair of its own",
			"has other file systems in it, at %s: while one is not mounted, its files would look as if they were deleted", strings.Join(mounted, ", "))
	}
	on := fmt.Sprintf("is on a file system of type %s (mounted at %s)", f.FileSystem, f.Mount)
	switch {
	case f.NoDirectory && f.Exists:
		wrong("Choose another path, or move away what is there", "is no directory")
		return diags
	case f.NoDirectory:
		wrong("Choose another path", "cannot be made: something above it is no directory")
		return diags
	case f.Hidden:
		return diags
	case f.Volatile():
		wrong("Choose a directory on a disk", "%s, whose contents are gone after a restart of the node", on)
		return diags
	case f.Poor():
		wrong("Choose a directory on a file system such as ext4 or XFS", "%s, which keeps neither owners nor permissions", on)
		return diags
	case f.ReadOnly:
		wrong("Mount it for writing, or choose another directory", "%s that is read-only", on)
		return diags
	case f.Shared():
		warn("Changes may go unnoticed", "Use a directory on the node's own disk. If other machines share that file system, they have the files already",
			"%s: what other machines change there is not noticed at once", on)
	}
	if there == nil || there.Hidden {
		return diags
	}
	files, bytes := there.Files+there.Directories-f.Files-f.Directories, there.Bytes-f.Bytes
	whole := ""
	if !there.Counted {
		whole = " at least"
	}
	switch {
	case !f.Counted:
		// It may have all of that.
	case bytes > f.FreeBytes:
		wrong("Make room, or choose another directory", "has room for %s more, and the tree on %s has%s %s more", size(f.FreeBytes), other.node.Name, whole, size(bytes))
	case f.FreeInodes >= 0 && files > f.FreeInodes:
		wrong("Make room: remove files, or choose a file system with more inodes",
			"has inodes for %d more files, and the tree on %s has%s %d more", f.FreeInodes, other.node.Name, whole, files)
	}
	if directories, most := max(f.Directories, there.Directories), max(f.Watches, watch.Watches); !f.Handles && f.Watches > 0 && directories > most {
		wrong("Choose a file system with file handles, such as ext4 or XFS, of which one watch is enough",
			"%s, whose directories have to be watched one by one; there are%s %d of them, and %d can be watched", on, whole, directories, most)
	}
	for _, kept := range []struct {
		what        string
		here, there bool
	}{{"access control lists (ACLs)", f.ACLs, there.ACLs}, {"extended attributes", f.Attributes, there.Attributes}} {
		if !kept.here && kept.there {
			warn("Not everything can be kept equal", "Mount it so that it keeps them, or do not use them",
				"%s, which keeps no %s. Files that have some on %s cannot be brought here", on, kept.what, other.node.Name)
		}
	}
	return diags
}

// mounted returns what is mounted in a tree and not excluded.
func (e end) mounted(f place.Facts, patterns *exclude.Set) []string {
	var out []string
	for _, at := range f.Mounts {
		if !patterns.Covers(at) {
			out = append(out, path.Join(e.path.ValueString(), at))
		}
	}
	return out
}

// size says how much bytes are, to three digits or so.
func size(bytes int64) string {
	n, units := float64(max(bytes, 0)), []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for ; n >= 1000 && i < len(units)-1; i++ {
		n /= 1000
	}
	if i == 0 || n >= 100 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
