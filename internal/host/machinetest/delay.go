package machinetest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Slow makes the router hold every packet for d, each way, so that a round trip takes twice as long. Not every kernel has
// netem, so packets make a detour through a tun device that this process serves.
func (n *Internet) Slow(t *testing.T, d time.Duration) {
	t.Helper()
	tun, err := openTun(n.router.PID, "slow")
	if err != nil {
		t.Fatalf("make the slow path: %v", err)
	}
	var setup strings.Builder
	setup.WriteString("ip link set dev slow up\nip route add default dev slow table 100\necho 0 >/proc/sys/net/ipv4/conf/slow/rp_filter\n")
	for line := range strings.Lines(n.router.Run(t, "ip", "-o", "link", "show", "type", "veth")) {
		port, _, _ := strings.Cut(strings.Fields(line)[1], "@")
		fmt.Fprintf(&setup, "ip rule add iif %s lookup 100\n", port)
	}
	n.router.Run(t, "sh", "-ec", setup.String())

	type held struct {
		packet []byte
		until  time.Time
	}
	queue := make(chan held, 1<<14)
	go func() {
		defer close(queue)
		for {
			packet := make([]byte, 2048)
			size, err := tun.Read(packet)
			if err != nil {
				return
			}
			select {
			case queue <- held{packet[:size], time.Now().Add(d)}:
			default: // the path is full
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for h := range queue {
			<-time.After(time.Until(h.until))
			_, _ = tun.Write(h.packet) // a packet that cannot be sent is lost
		}
	}()
	t.Cleanup(func() {
		_ = tun.Close()
		<-done
	})
}
