package cloudflare

import (
	"net/http"
	"time"
)

// Health is what monitors found out about pools.
type Health interface {
	// PoolHealth returns the findings of each place that checks the pool by the place's name, such as "Singapore, SG". It
	// returns nil while there are none.
	PoolHealth(pool Pool) map[string]PopHealth
}

// PopHealth is what one place found out about a pool.
type PopHealth struct {
	Healthy bool
	// Origins are the endpoints in the pool's order.
	Origins []OriginHealth
}

// OriginHealth is what one place found out about one endpoint.
type OriginHealth struct {
	Address string
	Healthy bool
	// FailureReason is the vendor's text, "No failures" for a healthy endpoint.
	FailureReason string
	// ResponseCode is that of the last answer by HTTP, 0 for none.
	ResponseCode int
	RTT          time.Duration
}

// The vendor's texts of why a check failed, by its list of common errors.
const (
	NoFailures     = "No failures"
	TCPFailed      = "TCP connection failed"
	HTTPTimeout    = "HTTP timeout occurred"
	CodeMismatch   = "Response code mismatch error"
	BodyMismatch   = "Response body mismatch error"
	TLSUntrusted   = "TLS untrusted certificate error"
	TLSMismatch    = "TLS name mismatch error"
	InvalidAnswer  = "HTTP invalid response"
	UnknownHost    = "DNS unknown host"
	OtherFailure   = "Other failure"
	UnknownHealth  = "No health data yet"
	NoRouteToHost  = "No route to host error"
	ConnectionCut  = "Connection reset by peer"
	TCPTimeout     = "TCP timeout"
	InternalTarget = "DNS internal"
)

// healthView is the answer about a pool's health. Its endpoints are a list of objects with one field each, the address.
type healthView struct {
	PoolID    string             `json:"pool_id"`
	PopHealth map[string]popView `json:"pop_health"`
}

type popView struct {
	Healthy bool                    `json:"healthy"`
	Origins []map[string]originView `json:"origins"`
}

type originView struct {
	Healthy       bool   `json:"healthy"`
	RTT           string `json:"rtt"`
	FailureReason string `json:"failure_reason"`
	ResponseCode  int    `json:"response_code"`
}

func (s *Server) poolHealth(c *call) (any, error) {
	n, err := s.findPool(c)
	if err != nil {
		return nil, err
	}
	pool := s.state.Pools[n]
	var found map[string]PopHealth
	switch {
	case pool.Monitor == "":
	case s.Health != nil:
		found = s.Health.PoolHealth(pool)
	default:
		found = healthy(pool)
	}
	if found == nil {
		return nil, fail(http.StatusNotFound, codeHealth, "Health info unavailable")
	}
	out := healthView{PoolID: pool.ID, PopHealth: map[string]popView{}}
	for place, pop := range found {
		view := popView{Healthy: pop.Healthy, Origins: []map[string]originView{}}
		for _, o := range pop.Origins {
			view.Origins = append(view.Origins, map[string]originView{o.Address: {
				Healthy: o.Healthy, RTT: o.RTT.Round(100 * time.Microsecond).String(), FailureReason: o.FailureReason, ResponseCode: o.ResponseCode,
			}})
		}
		out.PopHealth[place] = view
	}
	return out, nil
}

// healthy is the health of a pool of which nobody measures anything.
func healthy(pool Pool) map[string]PopHealth {
	pop := PopHealth{Healthy: true}
	for _, o := range pool.Origins {
		if o.Enabled {
			pop.Origins = append(pop.Origins, OriginHealth{
				Address: o.Address, Healthy: true, FailureReason: NoFailures, ResponseCode: http.StatusOK, RTT: 12 * time.Millisecond,
			})
		}
	}
	return map[string]PopHealth{"Singapore, SG": pop}
}
