package unison

import (
	"bytes"
	"fmt"
	"path"
	"regexp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/cold"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/exclude"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// profileName is the name of the profile in unison's directory, without its suffix.
const profileName = "atoll"

// own renders which of Atoll's own names in a tree unison replicates, whatever the pair excludes, and that it leaves those of other pairs
// alone. Among them is the pace, a file that the leader has and that the other side's program has no right to make. As long as a path fails,
// unison looks for changes again at once; otherwise it would sleep for a second after each synchronization ("watchinterval" in its
// uitext.ml). The monitors of changes, which are Atoll's own, hold their answers back until there is something to do: they are the pace.
func own(c worker.Config, line func(key, value string)) {
	for _, directory := range []string{worker.Marker, worker.CanaryDir} {
		line("ignore", "Regex "+regexp.QuoteMeta(directory)+"/.+")
		line("ignorenot", "Path "+directory)
	}
	for _, path := range []string{c.PaceFile(), c.Canaries(), c.Canaries() + "/" + c.Node, c.Canaries() + "/" + c.Peer} {
		line("ignorenot", "Path "+path)
	}
	line("ignore", "Path "+cold.Dir)
}

// special are the characters that mean something in a pattern of package exclude, unwritable those that cannot be in one.
var (
	special    = regexp.MustCompile(`[\\*?\[\]!]`)
	unwritable = regexp.MustCompile(`[\x00-\x1f\x7f]`)
)

// otherRoot is what unison calls the other side's tree.
func otherRoot(c worker.Config, tunnel string) string {
	return "socket://{" + tunnel + "}/" + path.Clean(c.PeerPath)
}

// Arguments are unison's for one start with Profile's profile. Thorough has it compare all contents, as if nothing were known of earlier
// synchronizations: by what is known, a file that was damaged without its date telling would be taken for one that was changed, and overwrite
// the good one. Behind has the other side's versions keep their names.
func Arguments(c worker.Config, tunnel string, thorough, behind bool) []string {
	args := []string{profileName}
	if thorough {
		args = append(args, "-ignorearchives")
	}
	if behind {
		args = append(args, "-prefer", otherRoot(c, tunnel))
	}
	return args
}

// Profile returns the profile by which unison keeps a pair on the node that leads. Tunnel is the Unix socket that leads to the other
// side. Attributes says that unison keeps extended attributes, which versions before 2.53 do not. Apart are paths that it leaves alone.
func Profile(c worker.Config, tunnel string, attributes bool, apart []string) ([]byte, error) {
	set, err := exclude.Parse(c.Exclude)
	if err != nil {
		return nil, err
	}
	alone := make([]string, 0, 2*len(apart))
	for _, path := range apart {
		pattern := "/" + unwritable.ReplaceAllString(special.ReplaceAllString(path, `\$0`), "?")
		alone = append(alone, pattern, pattern+"/**")
	}
	asides, err := exclude.Parse(alone)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	line := func(key, value string) { fmt.Fprintf(&out, "%s = %s\n", key, value) }
	out.WriteString("# Written by atolld; changes are overwritten.\n")
	line("root", c.Path)
	line("root", otherRoot(c, tunnel))

	out.WriteString("\n# Nobody is there to be asked.\n")
	for _, key := range []string{"batch", "dumbtty", "terse", "contactquietly"} {
		line(key, "true")
	}
	line("color", "false")
	line("log", "false")

	out.WriteString("\n# Changes are told by a monitor, which is the pace, too: see " + c.PaceFile() + ".\n")
	line("watch", "true")
	line("repeat", "0")
	line("retry", "-1")

	out.WriteString("\n# Of two versions the leader's keeps the name, whatever the clocks say; the other is kept beside it.\n")
	line("prefer", c.Path)
	line("copyonconflict", "true")

	out.WriteString("\n# A tree that is not there is no tree whose files were deleted. One file that fails stops no others.\n")
	line("mountpoint", worker.Marker)
	line("confirmbigdel", "true")
	line("maxerrors", "1000000")

	out.WriteString("\n# Each file takes round trips: over 50 ms, 2,000 new files take 20 s with the default of 20 at once, and 7 s so.\n")
	line("maxthreads", "200")

	out.WriteString("\n# Names are bytes. Everything belongs to the account that this runs as.\n")
	line("unicode", "false")
	line("ignorecase", "false")
	line("links", "true")
	line("times", "true")
	line("perms", "-1")
	if attributes {
		line("xattrs", "true")
		line("xattrignorenot", "Path !system.posix_acl_*")
	}
	out.WriteString("\n# What stays on its node.\n")
	own(c, line)
	for _, expression := range set.Regexps() {
		line("ignore", "Regex "+expression)
	}
	if len(apart) > 0 {
		out.WriteString("\n# One node alone has moved these directories: the other one follows.\n")
	}
	for _, expression := range asides.Regexps() {
		line("ignore", "Regex "+expression)
	}
	return out.Bytes(), nil
}
