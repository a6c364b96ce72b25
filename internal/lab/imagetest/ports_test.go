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

// scanVariable makes this test program scan the ports of the addresses that it names, separated by spaces, where it is started.
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

// found is what a scan finds: TCP ports that accept connections, and ports that refuse them; UDP ports that refuse what is
// sent to them. All others say nothing.
type found struct{ Open, Refusing, RefusingUDP []int }

// A scan begins so many connections a second, and gives each long enough that a lost packet is sent again.
const (
	scanEvery    = 100 * time.Microsecond
	scanPatience = 2500 * time.Millisecond
)

// scan tries every TCP port of an address, and every UDP port of one of IPv4.
func scan(ctx context.Context, target string) found {
	var f found
	var mu sync.Mutex
	add := func(list *[]int, port int) {
		mu.Lock()
		defer mu.Unlock()
		*list = append(*list, port)
	}
	every(func(port int) {
		conn, err := (&net.Dialer{Timeout: scanPatience}).DialContext(ctx, "tcp", net.JoinHostPort(target, strconv.Itoa(port)))
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
	if strings.Contains(target, ":") {
		return f // the firewall's rules for UDP are the same for both kinds of address
	}
	every(func(port int) {
		if refusesUDP(ctx, net.JoinHostPort(target, strconv.Itoa(port))) {
			add(&f.RefusingUDP, port)
		}
	})
	slices.Sort(f.RefusingUDP)
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

// wantOpen scans every port of nodes from the operator's workstation, which is nobody in particular to them. TCP ports that
// are not open must say nothing. UDP ports that are open may say nothing either: nobody may be reached at one that has no
// listener, and what the firewall lets through beside answers is asked of itself.
func (s *site) wantOpen(t *testing.T, nodes, udp []string, want ...int) {
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
			targets := machine.IPv4
			if network.HaveIPv6() {
				targets += " " + machine.IPv6
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
			for address, got := range results {
				if !slices.Equal(got.Open, want) || len(got.Refusing) > 0 || len(got.RefusingUDP) > 0 {
					t.Errorf("%s: open are %v, refused is at %v… and by UDP at %v…, want %v open and the rest silent", address, got.Open,
						first(got.Refusing), first(got.RefusingUDP), want)
				}
			}
			var open []string
			for _, port := range portWords.FindAllString(elements.FindString(s.exec(t, n, "nft", "list", "set", "inet", "atoll_base", "open_udp")), -1) {
				open = append(open, port)
			}
			if !slices.Equal(open, udp) {
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

func first(ports []int) []int { return ports[:min(5, len(ports))] }

func onlySSHAndHealth(t *testing.T, s *site) {
	s.wantOpen(t, []string{"hk1"}, nil, 22, spec.DefaultPorts().Health)
}

func onlyExpectedPorts(t *testing.T, s *site) {
	const mesh = 655 // the default of the cluster
	ports := spec.DefaultPorts()
	s.wantOpen(t, everyNode, []string{strconv.Itoa(mesh)}, 22, mesh, ports.API, ports.Health)
}
