//go:build linux

package drills

import "slices"

// All returns every drill, those of one cluster side by side.
func All() []Drill {
	return slices.Concat(edgeDrills(), databaseDrills(), filesDrills(), filesColdDrills(), filesStarDrills(), meshDrills(), meshWorldDrills())
}
