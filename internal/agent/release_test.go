package agent_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/agent"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// TestRequestsAtADeadNodeEnd has a node die, once, and another one's application fail: only the dead one's requests are ended.
func TestRequestsAtADeadNodeEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, apps := w.serving("hk1", "hk2", "sg1")
	lb := balancer(httpCheck(), 1, machines...)
	lb.Proxy = &spec.Proxy{Driver: spec.ProxyHAProxy, Port: 80}
	machines[0].push(w.sign(hostname, lb))
	for _, m := range machines {
		m.waitServing("is fit", http.StatusOK, "application", "ok")
	}
	apps[1].code.Store(http.StatusInternalServerError)
	machines[1].waitServing("is unwell", http.StatusServiceUnavailable, "application", "answers 500")
	machines[0].proxy.set(func(f *fakeProxy) { f.busy = 2 })
	machines[2].die()
	w.wait("the requests at the dead node are ended", func() error {
		got := ""
		machines[0].proxy.set(func(f *fakeProxy) { got = strings.Join(f.released, ", ") })
		if got != hostname+" sg1" {
			return fmt.Errorf("those of %q were", got)
		}
		return nil
	})
}

// TestRequestsAtAHungApplicationEnd has the application of another node hang: what waits for it is ended again and again, also when the
// proxy could not be told at first, and nothing else is.
func TestRequestsAtAHungApplicationEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	machines, _ := w.serving("hk1", "sg1")
	machines[0].push(w.sign(hostname, proxied(80, machines...)))
	machines[0].waitServing("is fit", http.StatusOK, "proxy", "ok")
	machines[0].proxy.set(func(f *fakeProxy) { f.hanging, f.busy = []string{"sg1"}, 1 })
	w.wait("the requests at the application that hangs are ended", func() error {
		var got []string
		machines[0].proxy.set(func(f *fakeProxy) { got = slices.Clone(f.released) })
		if len(got) < 2 || slices.ContainsFunc(got, func(r string) bool { return r != hostname+" sg1" }) {
			return fmt.Errorf("those of %q were", got)
		}
		return nil
	})
}

// TestHangs: what waits for an application that hangs is ended when it has hung for ten seconds without a pause and another serves.
func TestHangs(t *testing.T) {
	t.Parallel()
	type look struct {
		after  time.Duration
		hung   string
		served bool
		want   string
	}
	for name, looks := range map[string][]look{
		"for a moment":            {{0, "hk1", true, ""}, {9 * time.Second, "hk1", true, ""}, {11 * time.Second, "", true, ""}},
		"long":                    {{0, "hk1", true, ""}, {10 * time.Second, "hk1", true, "hk1"}, {11 * time.Second, "hk1", true, "hk1"}},
		"with a pause":            {{0, "hk1", true, ""}, {9 * time.Second, "", true, ""}, {11 * time.Second, "hk1", true, ""}, {21 * time.Second, "hk1", true, "hk1"}},
		"one after another":       {{0, "hk1", true, ""}, {5 * time.Second, "hk1 hk2", true, ""}, {10 * time.Second, "hk1 hk2", true, "hk1"}, {15 * time.Second, "hk1 hk2", true, "hk1 hk2"}},
		"all":                     {{0, "hk1 hk2", false, ""}, {time.Minute, "hk1 hk2", false, ""}},
		"all, and one comes back": {{0, "hk1 hk2", false, ""}, {time.Minute, "hk2", true, "hk2"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, now := agent.NewProxyWatch(), time.Now()
			for i, l := range looks {
				if got := strings.Join(w.Hangs(strings.Fields(l.hung), l.served, now.Add(l.after)), " "); got != l.want {
					t.Errorf("look %d (%+v): the requests at %q are ended", i, l, got)
				}
			}
		})
	}
}
