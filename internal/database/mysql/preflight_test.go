package mysql_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/database"
	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// found is a finding that a test wants, with some of its words.
type found struct {
	check    string
	severity database.Severity
	words    []string
}

func wantFindings(t *testing.T, got []database.Finding, want ...found) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("found %+v, want %+v", got, want)
		return
	}
	for i, w := range want {
		if got[i].Check != w.check || got[i].Severity != w.severity {
			t.Errorf("found %+v, want %+v", got[i], w)
		}
		for _, words := range w.words {
			if !strings.Contains(got[i].Message, words) {
				t.Errorf("%s says %q, which lacks %q", w.check, got[i].Message, words)
			}
		}
	}
}

// TestPreflightOfServers compares a server with those of the group that it is to join.
func TestPreflightOfServers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, version string
		id            uint32
		group         []mysql.Donor
		want          []found
	}{
		{"nobody there", "9.7.0", 7, nil, nil},
		{"one of them", "9.7.0", 7, []mysql.Donor{{Version: "9.7.4", ID: 8}}, nil},
		{"the same ID", "9.7.0", 8, []mysql.Donor{{Version: "9.7.0", ID: 8}}, []found{{"server-id", database.Blocks, []string{"hk1 and hk2 have the same server_id, 8"}}}},
		{"an older server", "8.4.9", 7, []mysql.Donor{{Version: "9.7.0", ID: 8}}, []found{{"version", database.Blocks, []string{"hk1 has MySQL 8.4.9, hk2 has 9.7.0", "upgrade it"}}}},
		{"a newer server", "10.1.0", 7, []mysql.Donor{{Version: "9.7.0", ID: 8}}, []found{{"version", database.Warns, []string{"hk1 has MySQL 10.1.0, hk2 has 9.7.0", "soon"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantFindings(t, mysql.CheckDonors(tt.version, tt.id, tt.group...), tt.want...)
		})
	}
}

// hardware is a machine with some memory, in MiB, some room, in MiB, and a disk that rotates or not, "" for one of which nothing is known.
type hardware struct {
	host.System
	memory, free int
	rotational   string
}

func (h hardware) ReadFile(path string) ([]byte, error) {
	switch {
	case path == "/proc/meminfo":
		return fmt.Appendf(nil, "MemTotal: %d kB\nMemFree: 1 kB\n", h.memory<<10), nil
	case path == "/sys/dev/block/8:1/../queue/rotational" && h.rotational != "":
		return []byte(h.rotational + "\n"), nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func (h hardware) Run(_ context.Context, c host.Command) (host.Output, error) {
	if c.Name == "findmnt" {
		return host.Output{Stdout: []byte("  8:1\n")}, nil
	}
	return host.Output{Stdout: fmt.Appendf(nil, "Avail\n%d\n", h.free<<20)}, nil
}

// TestPreflightOfMachines looks at machines that are to have a member.
func TestPreflightOfMachines(t *testing.T) {
	t.Parallel()
	group := []mysql.Donor{{Bytes: 3 << 30}}
	const some = "3f0a1b5e-7c56-4c55-9d7e-0a6c8f1f2b3c:1-5"
	good := hardware{memory: 2048, free: 50_000, rotational: "0"}
	with := func(change func(*hardware)) hardware {
		h := good
		change(&h)
		return h
	}
	for _, tt := range []struct {
		name    string
		machine hardware
		own     string
		group   []mysql.Donor
		want    []found
	}{
		{"the first one", good, "", nil, nil},
		{"one that has data", good, some, group, nil},
		{"a disk of which nothing is known", with(func(h *hardware) { h.rotational = "" }), some, group, nil},
		{"a copy", good, "", group, []found{{"clone", database.Warns, []string{"copies 3.0 GiB from another member", "48.8 GiB are free"}}}},
		{"no room for a copy", with(func(h *hardware) { h.free = 3 << 10 }), "", group, []found{{"disk", database.Blocks, []string{"takes 3.0 GiB, and 512 MiB besides", "hk1 has 3.0 GiB left"}}}},
		{"room for a copy, just so", with(func(h *hardware) { h.free = 3<<10 + 512 }), "", group, []found{{"clone", database.Warns, nil}}},
		{"little room", with(func(h *hardware) { h.free = 300 }), some, group, []found{{"disk", database.Warns, []string{"hk1 has 300 MiB left"}}}},
		{"no room", with(func(h *hardware) { h.free = 100 }), some, group, []found{{"disk", database.Blocks, []string{"hk1 has 100 MiB left"}}}},
		{"little memory", with(func(h *hardware) { h.memory = 700 }), some, group, []found{{"memory", database.Warns, []string{"hk1 has 700 MiB of memory"}}}},
		{"a disk that rotates", with(func(h *hardware) { h.rotational = "1" }), some, group, []found{{"rotational", database.Warns, []string{"on a rotating disk"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mysql.CheckMachine(t.Context(), tt.machine, tt.own, tt.group...)
			if err != nil {
				t.Fatal(err)
			}
			wantFindings(t, got, tt.want...)
		})
	}
}
