//go:build linux

package imagetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// scanVariable makes this test program scan what it names, like "tcp/192.0.2.1 udp/192.0.2.1", where it is started.
const scanVariable = "ATOLL_TEST_SCAN"

func TestMain(m *testing.M) {
	if targets := os.Getenv(scanVariable); targets != "" {
		results := map[string]found{}
		for _, target := range strings.Fields(targets) {
			results[target] = scan(context.Background(), target)
		}
		if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// found is what a scan finds: ports that accept connections, which those of UDP do not tell, and ports that refuse what comes.
// All others say nothing.
type found struct{ Open, Refusing []int }

// A scan begins so many connections a second, and gives each long enough that a lost packet is sent again.
const (
	scanEvery    = 100 * time.Microsecond
	scanPatience = 2500 * time.Millisecond
)

// scan tries every port of an address by one protocol.
func scan(ctx context.Context, target string) found {
	var f found
	var mu sync.Mutex
	add := func(list *[]int, port int) {
		mu.Lock()
		defer mu.Unlock()
		*list = append(*list, port)
	}
	protocol, host, _ := strings.Cut(target, "/")
	every(func(port int) {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		if protocol == "udp" {
			if refusesUDP(ctx, address) {
				add(&f.Refusing, port)
			}
			return
		}
		conn, err := (&net.Dialer{Timeout: scanPatience}).DialContext(ctx, protocol, address)
		switch {
		case err == nil:
			_ = conn.Close()
			add(&f.Open, port)
		case errors.Is(err, syscall.ECONNREFUSED):
			add(&f.Refusing, port)
		}
	})
	slices.Sort(f.Open)
	slices.Sort(f.Refusing)
	return f
}

// every calls f for each port, many at a time.
func every(f func(port int)) {
	var tries sync.WaitGroup
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for port := 1; port <= 65535; port++ {
		<-tick.C
		tries.Go(func() { f(port) })
	}
	tries.Wait()
}

// refusesUDP tells whether a packet reaches a port at which nobody listens: the kernel behind it says so then.
func refusesUDP(ctx context.Context, address string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // nothing was written that could be lost
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_, err = conn.Read(make([]byte, 1500))
	return errors.Is(err, syscall.ECONNREFUSED)
}

// wantOpen scans ports from the operator's workstation, which is nobody in particular to nodes: every TCP port of each, and
// of the first also those of its IPv6 address and those of UDP, for which all have the same rules. TCP ports that are not open
// must say nothing. UDP ports that are open may say nothing either: nobody may be reached at one that has no listener, and what
// the firewall lets through beside answers is asked of itself.
func (s *site) wantOpen(t *testing.T, nodes, udp []string, want ...int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		t.Run(n, func(t *testing.T) {
			t.Parallel()
			machine, err := s.Node(n)
			if err != nil {
				t.Fatal(err)
			}
			targets := "tcp/" + machine.IPv4
			if i == 0 {
				targets += " udp/" + machine.IPv4
				if network.HaveIPv6() {
					targets += " tcp/" + machine.IPv6
				}
			}
			cmd := s.OperatorCommand(t.Context(), self)
			cmd.Env = append(cmd.Environ(), scanVariable+"="+targets)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var results map[string]found
			if err := json.Unmarshal(out, &results); err != nil {
				t.Fatal(err)
			}
			for target, got := range results {
				open := want
				if strings.HasPrefix(target, "udp") {
					open = nil
				}
				if !slices.Equal(got.Open, open) || len(got.Refusing) > 0 {
					t.Errorf("%s: open are %v and refused is at %v…, want %v open and the rest silent", target, got.Open,
						got.Refusing[:min(5, len(got.Refusing))], open)
				}
			}
			set := elements.FindString(s.exec(t, n, "nft", "list", "set", "inet", "atoll_base", "open_udp"))
			if open := portWords.FindAllString(set, -1); !slices.Equal(open, udp) {
				t.Errorf("UDP is let through to %v, want %v", open, udp)
			}
		})
	}
}

// What nft says is in a set.
var (
	elements  = regexp.MustCompile(`(?s)elements = \{[^}]*\}`)
	portWords = regexp.MustCompile(`[0-9]+(-[0-9]+)?`)
)

func onlySSHAndHealth(t *testing.T, s *site) {
	s.wantOpen(t, []string{"hk1"}, nil, 22, spec.DefaultPorts().Health)
}

func onlyExpectedPorts(t *testing.T, s *site) {
	const mesh = 655 // the default of the cluster
	ports := spec.DefaultPorts()
	s.wantOpen(t, everyNode, []string{strconv.Itoa(mesh)}, 22, mesh, ports.API, ports.Health)
}
