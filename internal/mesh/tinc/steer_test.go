package tinc_test

import (
	"log/slog"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/meshtest"
	"github.com/atollhq/terraform-provider-atoll/internal/mesh/tinc"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestSteering(t *testing.T) {
	meshtest.Require(t, "tincd")
	meshtest.Steering(t, spec.MeshTinc, func(sys host.System, log *slog.Logger) mesh.Driver {
		return tinc.NewWith(sys, log, tinc.Options{KeyBits: 2048})
	})
}
