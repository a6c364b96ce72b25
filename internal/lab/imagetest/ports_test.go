//go:build linux

package imagetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// scanVariable makes this test program scan the ports of the address that it names, where it is started.
const scanVariable = "ATOLL_TEST_SCAN"

func TestMain(m *testing.M) {
	if target := os.Getenv(scanVariable); target != "" {
		if err := json.NewEncoder(os.Stdout).Encode(scan(context.Background(), target)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// found is what a scan finds: ports that accept connections, and ports that refuse them. All others say nothing.
type found struct{ Open, Refusing []int }

// A scan begins so many connections a second, and gives each long enough that a lost packet is sent again.
const (
	scanEvery    = 100 * time.Microsecond
	scanPatience = 2500 * time.Millisecond
)

// scan tries every TCP port of an address.
func scan(ctx context.Context, target string) found {
	var f found
	var mu sync.Mutex
	var tries sync.WaitGroup
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	dialer := net.Dialer{Timeout: scanPatience}
	for port := 1; port <= 65535; port++ {
		<-tick.C
		tries.Go(func() {
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(target, strconv.Itoa(port)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				_ = conn.Close()
				f.Open = append(f.Open, port)
			case errors.Is(err, syscall.ECONNREFUSED):
				f.Refusing = append(f.Refusing, port)
			}
		})
	}
	tries.Wait()
	slices.Sort(f.Open)
	slices.Sort(f.Refusing)
	return f
}

// wantOpen scans every TCP port of nodes from the operator's workstation, which is nobody in particular to them. Ports that
// are not open must say nothing.
func (s *site) wantOpen(t *testing.T, nodes []string, want ...int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		t.Run(n, func(t *testing.T) {
			t.Parallel()
			machine, err := s.Node(n)
			if err != nil {
				t.Fatal(err)
			}
			cmd := s.OperatorCommand(t.Context(), self)
			cmd.Env = append(cmd.Environ(), scanVariable+"="+machine.IPv4)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got found
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Open, want) || len(got.Refusing) > 0 {
				t.Errorf("open are %v and refused is %d times (%v…), want %v open and the rest silent", got.Open, len(got.Refusing),
					got.Refusing[:min(5, len(got.Refusing))], want)
			}
		})
	}
}

func onlySSHAndHealth(t *testing.T, s *site) {
	s.wantOpen(t, []string{"hk1"}, 22, spec.DefaultPorts().Health)
}

func onlyExpectedPorts(t *testing.T, s *site) {
	const mesh = 655 // the default of the cluster
	ports := spec.DefaultPorts()
	s.wantOpen(t, everyNode, 22, mesh, ports.API, ports.Health)
}
