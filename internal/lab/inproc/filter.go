package inproc

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/host/hosttest"
)

// filterTable is the table of a node's own packet filter.
const filterTable = "atoll"

// filter stands for the packet filter that a machine's agent keeps. It filters nothing: it knows what was loaded, and for how long
// that is on trial. Its zero value holds nothing.
type filter struct {
	mu    sync.Mutex
	text  string
	until time.Time
}

// trialSeconds finds how long rules are on trial.
var trialSeconds = regexp.MustCompile(`ipv4 timeout (\d+)s`)

// run answers nft, if the command is about the filter.
func (f *filter) run(c host.Command) (out host.Output, mine bool, err error) {
	loads := strings.HasPrefix(string(c.Stdin), "table inet "+filterTable+"\n")
	if !loads && !slices.Contains(c.Args, filterTable) {
		return host.Output{}, false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case loads:
		_, f.text, _ = strings.Cut(string(c.Stdin), "delete table inet "+filterTable+"\n")
		f.until = time.Time{}
		if m := trialSeconds.FindStringSubmatch(f.text); m != nil {
			seconds, err := strconv.Atoi(m[1])
			if err != nil {
				return host.Output{}, true, err
			}
			f.until = time.Now().Add(time.Duration(seconds) * time.Second)
		}
	case f.text == "":
		return host.Output{}, true, hosttest.Fail(c, 1, "No such file or directory")
	case c.Args[0] == "delete":
		f.text = ""
	case slices.Contains(c.Args, "set"):
		elements := "[]"
		if time.Now().Before(f.until) {
			elements = `["ipv4", "ipv6"]`
		}
		return host.Output{Stdout: fmt.Appendf(nil, `{"nftables": [{"set": {"name": "trial", "elem": %s}}]}`, elements)}, true, nil
	case slices.Contains(c.Args, "counters"):
		return host.Output{Stdout: []byte(`{"nftables": []}`)}, true, nil
	default:
		return host.Output{Stdout: []byte(f.text)}, true, nil
	}
	return host.Output{}, true, nil
}

// Filter returns the rules of the packet filter that the agent of the machine at an address keeps, "" while there are none, and whether
// they are on trial.
func (m *Machines) Filter(address netip.Addr) (rules string, trial bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.all {
		if one.Address == address {
			one.filter.mu.Lock()
			defer one.filter.mu.Unlock()
			return one.filter.text, !one.filter.until.IsZero(), nil
		}
	}
	return "", false, fmt.Errorf("there is no machine at %v", address)
}
