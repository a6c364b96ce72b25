package drivers_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/agent/drivers"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

func TestEveryMeshDriverIsNamedOnce(t *testing.T) {
	got := slices.Sorted(maps.Keys(drivers.Mesh()))
	want := slices.Sorted(slices.Values(spec.MeshDrivers()))
	if !slices.Equal(got, want) {
		t.Errorf("drivers.Mesh has %v, spec.MeshDrivers lists %v; they must be the same", got, want)
	}
	for name, driver := range drivers.Mesh() {
		if driver == nil {
			t.Errorf("driver %s is nil", name)
		}
	}
}

func TestEveryProxyDriverIsNamedOnce(t *testing.T) {
	got := slices.Sorted(maps.Keys(drivers.Proxies()))
	want := slices.Sorted(slices.Values(spec.ProxyDrivers()))
	if !slices.Equal(got, want) {
		t.Errorf("drivers.Proxies has %v, spec.ProxyDrivers lists %v; they must be the same", got, want)
	}
	for name, driver := range drivers.Proxies() {
		if driver == nil {
			t.Errorf("driver %s is nil", name)
		}
	}
}

func TestEveryDatabaseEngineIsNamedOnce(t *testing.T) {
	got := slices.Sorted(maps.Keys(drivers.Databases()))
	if want := slices.Sorted(slices.Values(spec.DatabaseEngines())); !slices.Equal(got, want) {
		t.Errorf("drivers.Databases has %v, spec.DatabaseEngines lists %v; they must be the same", got, want)
	}
}

func TestEveryRouterDriverIsNamedOnce(t *testing.T) {
	got := slices.Sorted(maps.Keys(drivers.Routers()))
	if want := slices.Sorted(slices.Values(spec.RouterDrivers())); !slices.Equal(got, want) {
		t.Errorf("drivers.Routers has %v, spec.RouterDrivers lists %v; they must be the same", got, want)
	}
}

func TestEveryReplicationDriverIsNamedOnce(t *testing.T) {
	got := slices.Sorted(maps.Keys(drivers.Replications()))
	if want := slices.Sorted(slices.Values(spec.ReplicationDrivers())); !slices.Equal(got, want) {
		t.Errorf("drivers.Replications has %v, spec.ReplicationDrivers lists %v; they must be the same", got, want)
	}
	if engines := slices.Sorted(maps.Keys(drivers.PairEngines())); !slices.Equal(got, engines) {
		t.Errorf("drivers.PairEngines has %v, drivers.Replications %v; they must be the same", engines, got)
	}
}

func TestPackagesAreThoseOfAllDrivers(t *testing.T) {
	want := []host.Package{
		{Name: "ca-certificates", Binary: "update-ca-certificates"},
		{Name: "haproxy", Binary: "haproxy", Service: "haproxy.service"},
		{Name: "iproute2", Binary: "ip"},
		{Name: "iputils-ping", Binary: "ping"},
		{Name: "nftables", Binary: "nft"},
		{Name: "rsync", Binary: "rsync"},
		{Name: "tinc", Binary: "tincd"},
		{Name: "unison", Binary: "unison"},
	}
	if diff := cmp.Diff(want, drivers.Packages()); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestDatabasePackagesAreNoneThatEveryNodeHas(t *testing.T) {
	want := []host.Package{
		{Name: "mysql-client", Binary: "mysql"},
		{Name: "mysql-router", Binary: "mysqlrouter"},
		{Name: "mysql-server", Binary: "mysqld", Service: "mysql.service"},
	}
	if diff := cmp.Diff(want, drivers.DatabasePackages(spec.DatabaseMySQL)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}
