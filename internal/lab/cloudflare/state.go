package cloudflare

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// stateVersion is raised when older servers could not read the snapshot.
const stateVersion = 1

// Account is what an account holds, as the API shows it. What [Server.Account] returned is never changed: look, do not
// touch.
type Account struct {
	Version       int            `json:"version"`
	Zones         []Zone         `json:"zones"`
	Records       []Record       `json:"records"`
	Monitors      []Monitor      `json:"monitors"`
	Pools         []Pool         `json:"pools"`
	LoadBalancers []LoadBalancer `json:"load_balancers"`
	// Certificates are those that OriginCA has issued and that are not revoked.
	Certificates []Certificate `json:"certificates"`
	// Revoked are those that were.
	Revoked  []Certificate `json:"revoked_certificates,omitempty"`
	OriginCA OriginCA      `json:"origin_ca"`
}

func newAccount(zones []string, now time.Time) Account {
	a := Account{Version: stateVersion}
	for _, name := range zones {
		a.Zones = append(a.Zones, Zone{ID: ZoneID(name), Name: name, CreatedOn: now})
	}
	return a
}

// Zone finds a zone by its name.
func (a *Account) Zone(name string) (Zone, bool) {
	return find(a.Zones, func(z Zone) bool { return z.Name == name })
}

// Monitor finds a monitor by its identifier.
func (a *Account) Monitor(id string) (Monitor, bool) {
	return find(a.Monitors, func(m Monitor) bool { return m.ID == id })
}

// Pool finds a pool by its identifier.
func (a *Account) Pool(id string) (Pool, bool) {
	return find(a.Pools, func(p Pool) bool { return p.ID == id })
}

// LoadBalancer finds a load balancer by its hostname.
func (a *Account) LoadBalancer(hostname string) (LoadBalancer, bool) {
	return find(a.LoadBalancers, func(b LoadBalancer) bool { return b.Name == hostname })
}

func find[T any](list []T, match func(T) bool) (T, bool) {
	var none T
	n := slices.IndexFunc(list, match)
	if n < 0 {
		return none, false
	}
	return list[n], true
}

// index is where an object is in its list, or an error as the vendor's.
func index[T any](list []T, what string, match func(T) bool) (int, error) {
	n := slices.IndexFunc(list, match)
	if n < 0 {
		return 0, notFound(what)
	}
	return n, nil
}

// Account returns what the account holds now. It does not wait for requests under way.
func (s *Server) Account() *Account {
	s.start()
	return s.current.Load()
}

// publish makes a change visible to Account. The caller holds the lock.
func (s *Server) publish() {
	// The objects of the lists are replaced as a whole, so the lists are all there is to copy.
	s.current.Store(&Account{
		Version: s.state.Version, Zones: slices.Clone(s.state.Zones), Records: slices.Clone(s.state.Records),
		Monitors: slices.Clone(s.state.Monitors), Pools: slices.Clone(s.state.Pools), LoadBalancers: slices.Clone(s.state.LoadBalancers),
		Certificates: slices.Clone(s.state.Certificates), Revoked: slices.Clone(s.state.Revoked), OriginCA: s.state.OriginCA,
	})
}

// Snapshot returns the account as JSON for Restore.
func (s *Server) Snapshot() ([]byte, error) {
	data, err := json.Marshal(s.Account())
	if err != nil {
		return nil, fmt.Errorf("snapshot account: %w", err)
	}
	return data, nil
}

// Restore replaces the account by a snapshot. Zones that the server was told of and the snapshot lacks are added. Call it
// before the first request.
func (s *Server) Restore(data []byte) error {
	s.start()
	var restored Account
	if err := json.Unmarshal(data, &restored); err != nil {
		return fmt.Errorf("restore account: %w", err)
	}
	if restored.Version != stateVersion {
		return fmt.Errorf("restore account: snapshot has version %d, this program knows %d", restored.Version, stateVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, zone := range s.state.Zones {
		if _, ok := restored.Zone(zone.Name); !ok {
			restored.Zones = append(restored.Zones, zone)
		}
	}
	if restored.OriginCA == (OriginCA{}) {
		restored.OriginCA = s.state.OriginCA // an older server had none
	}
	s.state = restored
	s.publish()
	return nil
}
