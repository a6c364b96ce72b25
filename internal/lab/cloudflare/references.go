package cloudflare

import "fmt"

// reference is an object that uses another one, or is used by it.
type reference struct {
	Type         string `json:"reference_type"`
	ResourceID   string `json:"resource_id"`
	ResourceName string `json:"resource_name"`
	ResourceType string `json:"resource_type"`
}

func plural(n int, what string) string { return fmt.Sprintf("%d %s", n, what) }

func (s *Server) monitorReferences(c *call) (any, error) {
	n, err := s.findMonitor(c)
	if err != nil {
		return nil, err
	}
	out := []reference{}
	for _, pool := range s.state.Pools {
		if pool.Monitor == s.state.Monitors[n].ID {
			out = append(out, reference{"referrer", pool.ID, pool.Name, "pool"})
		}
	}
	return out, nil
}

func (s *Server) poolReferences(c *call) (any, error) {
	n, err := s.findPool(c)
	if err != nil {
		return nil, err
	}
	out := []reference{}
	pool := s.state.Pools[n]
	if m, ok := s.state.Monitor(pool.Monitor); ok {
		out = append(out, reference{"referral", m.ID, m.Description, "monitor"})
	}
	for _, b := range s.state.LoadBalancers {
		if b.uses(pool.ID) {
			out = append(out, reference{"referrer", b.ID, b.Name, "load_balancer"})
		}
	}
	return out, nil
}

// usage is how much of its quotas an account uses, and what they are.
type usage struct {
	LoadBalancers          int `json:"load_balancers"`
	Monitors               int `json:"monitors"`
	Origins                int `json:"origins"`
	Pools                  int `json:"pools"`
	MaxOriginsPerPool      int `json:"max_origins_per_pool"`
	MinimumMonitorInterval int `json:"minimum_monitor_interval"`
}

func (s *Server) accountRoutes() []route {
	return []route{
		{pattern: "GET /accounts/{account}/load_balancers/usage", permission: MonitorsAndPoolsRead, do: func(*call) (any, error) {
			return usage{
				LoadBalancers: len(s.state.LoadBalancers), Monitors: len(s.state.Monitors), Pools: len(s.state.Pools),
				Origins: endpoints(s.state.Pools, ""), MaxOriginsPerPool: s.Quotas.Endpoints,
				MinimumMonitorInterval: int(s.Quotas.Interval.Seconds()),
			}, nil
		}},
	}
}
