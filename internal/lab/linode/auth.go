package linode

import (
	"net/http"
	"strings"
)

// authorize returns the request's token when it may do what scope says.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, scope string) (string, error) {
	header := r.Header.Get("Authorization")
	token, isBearer := strings.CutPrefix(header, "Bearer ")
	if header == "" && scope == "*" && isPublic(r.URL.Path) {
		return "", nil
	}
	if !isBearer || token == "" {
		return "", fail(http.StatusUnauthorized, "Invalid Token")
	}
	granted, ok := s.granted(token)
	if !ok {
		return "", fail(http.StatusUnauthorized, "Invalid Token")
	}
	w.Header().Set("X-Oauth-Scopes", granted)
	if scope != "*" && !covers(granted, scope) {
		// The vendor says 401 here as well, not 403.
		return "", fail(http.StatusUnauthorized, "Your OAuth token is not authorized to use this endpoint.")
	}
	return token, nil
}

func (s *Server) granted(token string) (scopes string, ok bool) {
	if token == s.Token || s.Token == "" && len(s.Scopes) == 0 {
		return "*", true
	}
	scopes, ok = s.Scopes[token]
	return scopes, ok
}

// isPublic says which parts need no account.
func isPublic(path string) bool {
	for _, prefix := range []string{"/regions", "/linode/types", "/linode/kernels"} {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return false
}

// covers says whether the granted scopes contain all the wanted ones; both are separated by spaces or commas.
func covers(granted, wanted string) bool {
	for scope := range strings.SplitSeq(wanted, ",") {
		if !coversOne(granted, scope) {
			return false
		}
	}
	return true
}

func coversOne(granted, wanted string) bool {
	area, level, _ := strings.Cut(wanted, ":")
	for _, scope := range strings.FieldsFunc(granted, func(r rune) bool { return r == ' ' || r == ',' }) {
		has, upTo, _ := strings.Cut(scope, ":")
		switch {
		case scope == "*":
			return true
		case has != area:
		case upTo == level, upTo == "read_write", upTo == "*":
			return true
		}
	}
	return false
}
