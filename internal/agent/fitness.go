package agent

import (
	"maps"
	"sync"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// fitness is how fit this node is to serve each load balancer that it belongs to. It is safe for concurrent use; its zero
// value knows of none.
type fitness struct {
	mu sync.Mutex
	// serving is the last judgement, by hostname; nil before the first.
	serving map[string]spec.ServingStatus
	// proxies holds what is wrong with each local proxy, "" for nothing, by hostname.
	proxies map[string]string
	// news is closed when the judgement changes, and replaced.
	news chan struct{}
}

// of returns how fit the node is for a hostname, and whether that is known: it is not before the first look after a start,
// and of a load balancer that the node does not belong to.
func (f *fitness) of(hostname string) (spec.ServingStatus, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.serving[hostname]
	return s, ok
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

// set records a judgement and says whether it differs from the last one.
func (f *fitness) set(serving map[string]spec.ServingStatus) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serving != nil && maps.Equal(f.serving, serving) {
		return false
	}
	f.serving = serving
	if f.news != nil {
		close(f.news)
		f.news = nil
	}
	return true
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
