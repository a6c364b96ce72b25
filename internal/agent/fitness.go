package agent

import (
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/appcheck"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// fitness is how fit this node is to serve each load balancer that it belongs to. "Since" changes only together with Fit,
// and survives restarts of the agent. It is safe for concurrent use; its zero value knows of nothing and keeps nothing.
type fitness struct {
	mu    sync.Mutex
	state state
	log   *slog.Logger

	// serving is the last judgement, by hostname; nil before the first. Before is that of an earlier start of the agent, on
	// this start of the machine if sameBoot.
	serving, before map[string]spec.ServingStatus
	sameBoot        bool
	// parts is what the health endpoint says beside the parts of the node itself, by hostname.
	parts map[string]map[string]string
	// proxies holds what is wrong with each local proxy, "" for nothing, by hostname.
	proxies map[string]string
	// news is closed when the judgement changes, and replaced.
	news chan struct{}
}

// servingRecord is what is kept of fitness across restarts.
type servingRecord struct {
	// Boot is the start of the machine.
	Boot    string                        `json:"boot"`
	Serving map[string]spec.ServingStatus `json:"serving"`
}

// remember continues with what was judged before a restart. A damaged file only loses that.
func (f *fitness) remember(s state, log *slog.Logger) {
	f.state, f.log = s, log
	var r servingRecord
	if _, err := s.readJSON(servingFile, &r); err != nil {
		log.Warn("since when this node serves is lost", "error", err)
		return
	}
	f.before, f.sameBoot = r.Serving, r.Boot != "" && r.Boot == machineBoot()
}

// machineBoot names this start of the machine, "" where the kernel does not say.
func machineBoot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// resumed returns how the application of a hostname was when the agent was stopped, until the first look after that: an
// agent that is started again does not change who is in service for as long as a slow check takes. After a start of the
// machine nothing is known of applications.
func (f *fitness) resumed(hostname string) appcheck.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, known := f.before[hostname]
	if f.serving != nil || !f.sameBoot || !known || old.Node == partApplication {
		return appcheck.State{}
	}
	s := appcheck.State{Known: true, Since: time.Now(), Well: old.Application == "", Detail: old.Application}
	if !s.Well {
		s.Reason = "was unwell before the agent was restarted"
	}
	return s
}

// of returns how fit the node is for a hostname, and whether that is known: it is not before the first look after a start,
// and of a load balancer that the node does not belong to.
func (f *fitness) of(hostname string) (spec.ServingStatus, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.serving[hostname]
	return s, ok
}

// judged tells whether there was a first look.
func (f *fitness) judged() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serving != nil
}

// partsOf returns what the health endpoint says of a hostname.
func (f *fitness) partsOf(hostname string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parts[hostname]
}

// allParts returns partsOf of every hostname.
func (f *fitness) allParts() map[string]map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parts
}

// changed returns a channel that is closed at the next change. Take it before asking.
func (f *fitness) changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.news == nil {
		f.news = make(chan struct{})
	}
	return f.news
}

// all returns the last judgement.
func (f *fitness) all() map[string]spec.ServingStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.serving)
}

// set records a judgement, whose dates are ignored, and says whether it differs from the last one. Parts are not to be
// changed any more.
func (f *fitness) set(serving map[string]spec.ServingStatus, parts map[string]map[string]string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts = parts
	old := f.serving
	if old == nil {
		old = f.before
	}
	for hostname, s := range serving {
		s.Since = now
		if o, known := old[hostname]; known && o.Fit == s.Fit {
			s.Since = o.Since
		}
		serving[hostname] = s
	}
	if f.serving != nil && maps.Equal(f.serving, serving) {
		return false
	}
	f.serving = serving
	if f.log != nil {
		f.tell(old)
		if err := f.state.writeJSON(servingFile, servingRecord{Boot: machineBoot(), Serving: serving}); err != nil {
			f.log.Error("cannot keep across a restart since when this node serves", "error", err)
		}
	}
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
	return true
}

// tell logs what has changed.
func (f *fitness) tell(old map[string]spec.ServingStatus) {
	for hostname, s := range f.serving {
		if o, known := old[hostname]; !known || o.Fit != s.Fit || o.Kept != s.Kept || o.Application != s.Application {
			f.log.Info("fitness to serve changed", "hostname", hostname, "fit", s.Fit, "kept", s.Kept, "node", s.Node, "application", s.Application)
		}
	}
}

// setProxy records what is wrong with the local proxy of a hostname, "" for nothing, and says whether that is news. Until
// it is called for a load balancer with a proxy, the node is not fit to serve that one.
func (f *fitness) setProxy(hostname, problem string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, known := f.proxies[hostname]
	if known && old == problem {
		return false
	}
	if f.proxies == nil {
		f.proxies = map[string]string{}
	}
	f.proxies[hostname] = problem
	return true
}

// proxy returns what is wrong with the local proxy of a hostname, "" for nothing.
func (f *fitness) proxy(hostname string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	problem, known := f.proxies[hostname]
	if !known {
		return "not started yet"
	}
	return problem
}
