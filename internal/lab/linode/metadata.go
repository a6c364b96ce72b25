package linode

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MetadataPath stands before the paths of the metadata service for a Fault.
const MetadataPath = "/metadata"

// maxTokenLife bounds Metadata-Token-Expiry-Seconds.
const maxTokenLife = 86400

// metadataToken lets one instance ask about itself for a while.
type metadataToken struct {
	instance int
	expires  time.Time
}

// Metadata returns the service that instances reach at 169.254.169.254. Who asks is known by the
// remote address, see Lookup.
func (s *Server) Metadata() http.Handler {
	s.start()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/token", s.metadataToken)
	mux.HandleFunc("GET /v1/instance", s.metadata(s.instanceMetadata))
	mux.HandleFunc("GET /v1/network", s.metadata(networkMetadata))
	mux.HandleFunc("GET /v1/ssh-keys", s.metadata(keyMetadata))
	mux.HandleFunc("GET /v1/user-data", s.metadata(func(i *instance) any { return verbatim(i.UserData) }))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeError(w, notFound()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := r.Clone(r.Context())
		known.URL.Path = MetadataPath + r.URL.Path
		s.serveFaulty(w, known, func(w http.ResponseWriter, _ *http.Request) { mux.ServeHTTP(w, r) },
			func(w http.ResponseWriter, status int, text string) { writeError(w, fail(status, text)) })
	})
}

// verbatim is answered as it is, whatever the client accepts: user data stays base64.
type verbatim string

func (s *Server) metadataToken(w http.ResponseWriter, r *http.Request) {
	life, err := strconv.Atoi(r.Header.Get("Metadata-Token-Expiry-Seconds"))
	if err != nil || life < 1 || life > maxTokenLife {
		writeError(w, fail(http.StatusBadRequest, fmt.Sprintf("Metadata-Token-Expiry-Seconds must be 1-%d", maxTokenLife)))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.asking(r)
	if i == nil {
		writeError(w, fail(http.StatusForbidden, "No instance has this address"))
		return
	}
	now := s.Now()
	for token, held := range s.tokens {
		if !now.Before(held.expires) {
			delete(s.tokens, token)
		}
	}
	token := rand.Text()
	s.tokens[token] = metadataToken{i.View.ID, now.Add(time.Duration(life) * time.Second)}
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, []string{token})
		return
	}
	writeText(w, token)
}

func (s *Server) metadata(describe func(*instance) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := s.asking(r)
		held, ok := s.tokens[r.Header.Get("Metadata-Token")]
		if i == nil || !ok || held.instance != i.View.ID || !s.Now().Before(held.expires) {
			writeError(w, fail(http.StatusUnauthorized, "Unauthorized"))
			return
		}
		switch answer := describe(i).(type) {
		case verbatim:
			writeText(w, string(answer))
		default:
			if wantsJSON(r) {
				writeJSON(w, http.StatusOK, answer)
				return
			}
			text, err := asText(answer)
			if err != nil {
				writeError(w, err)
				return
			}
			writeText(w, text)
		}
	}
}

// asking returns the instance that a request comes from, or nil. The caller holds the lock.
func (s *Server) asking(r *http.Request) *instance {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	address := remote.Addr().Unmap()
	var i *instance
	if s.Lookup != nil {
		if id, ok := s.Lookup(address); ok {
			i = s.state.Instances[id]
		}
	} else {
		for _, candidate := range s.state.Instances {
			if candidate.Addresses.IPv4 == address || candidate.Addresses.IPv6 == address {
				i = candidate
			}
		}
	}
	if i == nil || i.View.Status == statusDeleting {
		return nil
	}
	return i
}

func (s *Server) instanceMetadata(i *instance) any {
	type named struct {
		ID    string `json:"id"`
		Label string `json:"label"`
	}
	image := (*named)(nil)
	if i.View.Image != nil {
		image = &named{*i.View.Image, s.imageEntity(*i.View.Image).Label}
	}
	backupStatus := (*string)(nil)
	return map[string]any{
		"id": i.View.ID, "label": i.View.Label, "region": i.View.Region, "type": i.View.Type, "host_uuid": i.View.HostUUID,
		"tags":  i.View.Tags,
		"specs": map[string]int{"vcpus": i.View.Specs.VCPUs, "memory": i.View.Specs.Memory, "gpus": 0, "transfer": i.View.Specs.Transfer, "disk": i.View.Specs.Disk},
		"backups": map[string]any{
			"enabled": i.View.Backups.Enabled, "status": backupStatus,
		},
		"image": image, "account_euuid": "00000000-0000-4000-8000-000000000001",
	}
}

func networkMetadata(i *instance) any {
	return map[string]any{
		"interfaces": []any{},
		"ipv4": map[string][]string{
			"public": {netip.PrefixFrom(i.Addresses.IPv4, 32).String()}, "private": {}, "shared": {},
		},
		"ipv6": map[string]any{
			"slaac": i.View.IPv6.String(), "link_local": netip.PrefixFrom(i.linkLocal(), 128).String(),
			"ranges": []string{}, "shared_ranges": []string{},
		},
	}
}

func keyMetadata(i *instance) any {
	keys := slices.Clone(i.AuthorizedKeys)
	if keys == nil {
		keys = []string{}
	}
	return map[string]any{"users": map[string][]string{"root": keys}}
}

func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the client may be gone already
}

// asText writes one line for each value, "ipv4.public: 192.0.2.1/32", sorted by name.
func asText(answer any) (string, error) {
	data, err := json.Marshal(answer)
	if err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber() // an ID must not become 9e+07
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	lines := flatten(nil, "", tree)
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func flatten(lines []string, name string, value any) []string {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			path := key
			if name != "" {
				path = name + "." + key
			}
			lines = flatten(lines, path, inner)
		}
	case []any:
		for _, inner := range value {
			lines = flatten(lines, name, inner)
		}
	case nil:
	default:
		lines = append(lines, fmt.Sprintf("%s: %v", name, value))
	}
	return lines
}
