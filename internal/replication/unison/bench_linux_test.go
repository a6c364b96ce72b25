package unison_test

import (
	"fmt"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/host/machinetest"
)

// BenchmarkChange measures changes in trees of many files, on machines of namespaces and file systems in memory.
func BenchmarkChange(b *testing.B) {
	machinetest.Require(b, "unison")
	for _, files := range []int{1_000, 47_000, 200_000, 470_000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			suite().Benchmark(b, files, newMachine(b, "hk1"), newMachine(b, "sg1"))
		})
	}
}
