// Package drivers is where the agent's drivers are named: the one place that knows concrete ones. A new driver is one line
// here, one constant in package spec and a folder of its own.
package drivers

import (
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// Mesh returns the mesh drivers.
func Mesh() map[spec.MeshDriver]mesh.New {
	return map[spec.MeshDriver]mesh.New{
		spec.MeshTinc: tinc.New,
	}
}
