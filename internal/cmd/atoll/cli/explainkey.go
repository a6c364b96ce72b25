package cli

import (
	"fmt"
	"strings"
)

// meshKey tells of the node's mesh key, as far as the node has.
func (x explanation) meshKey(b *strings.Builder, r report) {
	defer b.WriteString("\n")
	k := x.State.MeshKey
	if k == nil {
		return
	}
	fmt.Fprintf(b, "  mesh key number %d of generation %d, made %s ago", k.Number, k.Generation, r.ago(k.Made))
	switch {
	case k.Waits != "":
		fmt.Fprintf(b, "; it is being replaced and waits for %s", k.Waits)
	case k.Changing:
		b.WriteString("; it is being replaced")
	}
	b.WriteString("\n")
}
