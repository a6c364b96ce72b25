package cloudflare

import (
	"net/http"
	"slices"
	"strings"
)

// The vendor's permission groups that the emulated operations ask for, by the names that its API lists. The dashboard
// calls "Write" "Edit".
const (
	MonitorsAndPoolsRead  = "Load Balancing: Monitors and Pools Read"
	MonitorsAndPoolsWrite = "Load Balancing: Monitors and Pools Write"
	LoadBalancersRead     = "Load Balancers Read"
	LoadBalancersWrite    = "Load Balancers Write"
	DNSRead               = "DNS Read"
	DNSWrite              = "DNS Write"
	ZoneRead              = "Zone Read"
	SSLRead               = "SSL and Certificates Read"
	SSLWrite              = "SSL and Certificates Write"
)

// Token says what an access token may do.
type Token struct {
	// Permissions are the names of permission groups, such as [DNSWrite]; a Write includes the Read.
	Permissions []string
	// Zones are the names of the zones that the token is for, all zones when empty.
	Zones []string
	// Status is "active", "disabled" or "expired"; active when empty.
	Status string
}

// may says whether the token has a permission.
func (t Token) may(wanted string) bool {
	write := strings.TrimSuffix(wanted, "Read") + "Write"
	return slices.Contains(t.Permissions, wanted) || slices.Contains(t.Permissions, write)
}

// everything is what the token in Server.Token may do.
func everything() Token {
	return Token{Permissions: []string{MonitorsAndPoolsWrite, LoadBalancersWrite, DNSWrite, ZoneRead, SSLWrite}}
}

// authenticate returns the request's token and what it may do.
func (s *Server) authenticate(r *http.Request, verify bool) (string, Token, error) {
	header := r.Header.Get("Authorization")
	text, isBearer := strings.CutPrefix(header, "Bearer ")
	switch {
	case header == "":
		return "", Token{}, fail(http.StatusBadRequest, codeNoCredentials, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
	case !isBearer || text == "" || strings.ContainsAny(text, " \t"):
		return "", Token{}, fail(http.StatusBadRequest, codeBadHeaders, "Invalid request headers")
	}
	token, ok := s.granted(text)
	active := token.Status == "" || token.Status == "active"
	switch {
	case ok && (active || verify):
		return text, token, nil
	case verify:
		return "", Token{}, fail(http.StatusUnauthorized, codeInvalidToken, "Invalid API Token")
	}
	return "", Token{}, fail(http.StatusForbidden, codeUnauthorized, "Invalid access token")
}

func (s *Server) granted(text string) (Token, bool) {
	if text == s.Token || s.Token == "" && len(s.Tokens) == 0 {
		return everything(), true
	}
	token, ok := s.Tokens[text]
	return token, ok
}

// authorize refuses a token that lacks a permission. The vendor does not say which one it is.
func (t Token) authorize(permission string) error {
	if permission == "" || t.may(permission) {
		return nil
	}
	if permission == ZoneRead {
		return fail(http.StatusForbidden, codeUnauthorized, "Unauthorized to access requested resource")
	}
	return fail(http.StatusForbidden, codeForbidden, "Authentication error")
}

// verification is the answer to whoever asks whether a token is good.
type verification struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

func (s *Server) tokenRoutes() []route {
	verify := func(c *call) (any, error) {
		status := c.token.Status
		if status == "" {
			status = "active"
		}
		return verification{ID: identifier("token", c.text), Status: status}, nil
	}
	return []route{
		{pattern: "GET /user/tokens/verify", verify: true, do: verify},
		{pattern: "GET /accounts/{account}/tokens/verify", verify: true, do: verify},
	}
}
