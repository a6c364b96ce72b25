//go:build linux

package nodes

// What the tests of this package look at from outside.
var (
	PickMirror    = pickMirror
	PickTransport = pickTransport
)

// Hierarchies returns the folders of the control group trees that a node joins, the unified one first in a list of its own.
func Hierarchies(mounts string) (unified, others []string) {
	for _, h := range parseHierarchies(mounts) {
		if h.unified {
			unified = append(unified, h.path)
		} else {
			others = append(others, h.path)
		}
	}
	return unified, others
}
