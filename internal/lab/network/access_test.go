//go:build linux

package network_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/network"
)

// TestAccess connects hosts that have no public address of one family, or none at all.
func TestAccess(t *testing.T) {
	i := newInternet(t, "access")
	for name, access := range map[string]network.Access{"six": network.AccessIPv6, "home": network.AccessTranslated} {
		addresses, err := i.ReserveFor(name, network.SiteVPS, access)
		i.must(err)
		i.addresses[name] = addresses
		i.plug(name)
	}
	if a := i.addresses["six"]; a.IPv4.IsValid() || a.Best() != a.IPv6 {
		t.Errorf("a host without IPv4 has %+v", a)
	}
	reaches := func(from, to string) {
		t.Helper()
		begin := time.Now()
		for i.ping(i.namespaces[from], to, 3) == 0 {
			if time.Since(begin) > patience {
				t.Errorf("%s does not reach %s", from, to)
				return
			}
		}
	}
	reaches("a", i.addresses["six"].IPv6.String())
	reaches("six", i.addresses["a"].IPv6.String())
	if _, err := i.namespaces["six"].Dial(t.Context(), "tcp", net.JoinHostPort(i.addresses["a"].IPv4.String(), "9")); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("a host without IPv4 calls one by it: %v", err)
	}
	reaches("home", i.addresses["a"].IPv4.String())
	if n := i.ping(i.namespaces["a"], i.addresses["home"].IPv4.String(), 3); n > 0 {
		t.Error("the router of a host answers strangers")
	}

	// Impairments are of the address that others see.
	i.must(i.Impair(t.Context(), "home", "a", 100, false))
	if n := i.ping(i.namespaces["home"], i.addresses["a"].IPv4.String(), 3); n > 0 {
		t.Error("a cut path carries packets of a host behind a router")
	}
	i.must(i.HealAll(t.Context()))

	// A cable that was pulled and put back.
	i.must(i.Silence("home"))
	i.must(i.Restore("home"))
	reaches("home", i.addresses["a"].IPv4.String())
	if _, err := i.ReserveFor("odd", network.SiteVPS, "odd"); err == nil {
		t.Error("there is no such access")
	}
	i.must(i.Release(t.Context(), "home"))
	i.must(i.Release(t.Context(), "six"))
}

// TestForgetTranslations: what was let in as an answer is not any more, and the next packet of the host opens the way again.
func TestForgetTranslations(t *testing.T) {
	i := newInternet(t, "forget")
	if err := i.ForgetTranslations("a"); !errors.Is(err, network.ErrNotTranslated) {
		t.Errorf("a host with an address: %v", err)
	}
	addresses, err := i.ReserveFor("home", network.SiteVPS, network.AccessTranslated)
	i.must(err)
	i.addresses["home"] = addresses
	i.plug("home")

	listener, err := i.namespaces["a"].Listen(t.Context(), "tcp", net.JoinHostPort(i.addresses["a"].IPv4.String(), "8080"))
	i.must(err)
	defer func() { _ = listener.Close() }()
	conn, err := i.namespaces["home"].Dial(t.Context(), "tcp", listener.Addr().String())
	i.must(err)
	defer func() { _ = conn.Close() }()
	other, err := listener.Accept()
	i.must(err)
	defer func() { _ = other.Close() }()
	from, _, err := net.SplitHostPort(other.RemoteAddr().String())
	i.must(err)
	if from != i.addresses["home"].IPv4.String() {
		t.Errorf("the host is seen as %s", from)
	}
	i.must(i.ForgetTranslations("home"))
	// What comes from outside now is nobody's answer.
	if _, err := io.WriteString(other, "lost"); err != nil {
		t.Fatal(err)
	}
	i.must(conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)))
	if n, err := conn.Read(make([]byte, 4)); err == nil {
		t.Errorf("%d bytes came by a mapping that was forgotten", n)
	}
	// The host's own packets are translated anew.
	again, err := i.namespaces["home"].Dial(t.Context(), "tcp", listener.Addr().String())
	i.must(err)
	defer func() { _ = again.Close() }()
	second, err := listener.Accept()
	i.must(err)
	defer func() { _ = second.Close() }()
}

// TestBadWeather loses some of all packets.
func TestBadWeather(t *testing.T) {
	i := newInternet(t, "weather")
	i.must(i.Impair(t.Context(), network.Everything, network.Everything, 50, true))
	got := i.ping(i.namespaces["a"], i.addresses["c"].IPv4.String(), 400)
	// A quarter of the echoes comes back: the request and the answer must both pass.
	if got < 20 || got > 250 {
		t.Errorf("%d of 400 echoes came back through loss of 50 %%", got)
	}
}
