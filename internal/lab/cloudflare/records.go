package cloudflare

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Record is one DNS record.
type Record struct {
	ID                string         `json:"id"`
	ZoneName          string         `json:"zone_name"`
	Name              string         `json:"name"`
	Type              string         `json:"type"`
	Content           string         `json:"content"`
	Proxiable         bool           `json:"proxiable"`
	Proxied           bool           `json:"proxied"`
	TTL               int            `json:"ttl"` // seconds, 1 is the vendor's choice
	Priority          *int           `json:"priority,omitempty"`
	Settings          map[string]any `json:"settings"`
	Meta              map[string]any `json:"meta"`
	Comment           *string        `json:"comment"`
	Tags              []string       `json:"tags"`
	CreatedOn         time.Time      `json:"created_on"`
	ModifiedOn        time.Time      `json:"modified_on"`
	CommentModifiedOn *time.Time     `json:"comment_modified_on,omitempty"`
}

// UnmarshalJSON implements [json.Unmarshaler]; fields that are not there have the vendor's defaults.
func (r *Record) UnmarshalJSON(data []byte) error {
	type plain Record
	v := plain{TTL: 1, Settings: map[string]any{}, Meta: map[string]any{}, Tags: []string{}}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*r = Record(v)
	if r.Tags == nil {
		r.Tags = []string{}
	}
	if r.Comment != nil && *r.Comment == "" {
		r.Comment = nil
	}
	r.Proxiable = slices.Contains([]string{"A", "AAAA", "CNAME"}, r.Type)
	return nil
}

// recordTypes are the types whose records the emulation keeps; the vendor has more, whose content is an object.
var recordTypes = []string{"A", "AAAA", "CNAME", "TXT", "MX", "NS", "PTR", "OPENPGPKEY"}

// checkRecord brings a record into the vendor's form and says what is wrong with it.
func (s *Server) checkRecord(r *Record, zone *Zone) error {
	r.Name = strings.ToLower(strings.TrimSuffix(r.Name, "."))
	switch {
	case r.Name == "@" || r.Name == "":
		r.Name = zone.Name
	case !zone.holds(r.Name):
		r.Name += "." + zone.Name
	}
	bad := func(code int, text string) error { return fail(http.StatusBadRequest, code, text) }
	switch {
	case !slices.Contains(recordTypes, r.Type):
		return bad(codeRecordInvalid, "DNS record type \""+r.Type+"\" is invalid.")
	case !hostPattern.MatchString(r.Name):
		return bad(codeRecordInvalid, "DNS name is invalid.")
	case r.Proxied && !r.Proxiable:
		return bad(codeRecordInvalid, "This record type cannot be proxied.")
	}
	if err := checkContent(r); err != nil {
		return err
	}
	if r.Proxied {
		r.TTL = 1
	}
	if r.TTL != 1 && (r.TTL < 60 || r.TTL > 86400) {
		return bad(codeTTL, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")
	}
	return s.checkNeighbours(r)
}

func checkContent(r *Record) error {
	bad := func(code int, text string) error { return fail(http.StatusBadRequest, code, text) }
	address, err := netip.ParseAddr(r.Content)
	switch r.Type {
	case "A":
		if err != nil || !address.Is4() {
			return bad(codeContentA, "Content for A record must be a valid IPv4 address.")
		}
	case "AAAA":
		if err != nil || !address.Is6() {
			return bad(codeContentAAAA, "Content for AAAA record must be a valid IPv6 address.")
		}
		r.Content = address.String()
	case "CNAME":
		r.Content = strings.ToLower(strings.TrimSuffix(r.Content, "."))
		if err == nil || !hostPattern.MatchString(r.Content) {
			return bad(codeContentCNAME, "Content for CNAME record is invalid.")
		}
	default:
		if r.Content == "" {
			return bad(codeRecordInvalid, "Content for "+r.Type+" record is missing.")
		}
	}
	return nil
}

// checkNeighbours compares a record with the others of its name. A load balancer of that name does not stand in the way:
// it answers instead of the record.
func (s *Server) checkNeighbours(r *Record) error {
	for _, other := range s.state.Records {
		if other.ID == r.ID || other.Name != r.Name {
			continue
		}
		switch {
		case other.Type == r.Type && other.Content == r.Content:
			return fail(http.StatusBadRequest, codeIdentical, "An identical record already exists.")
		case r.Type == "CNAME" && other.Proxiable:
			return fail(http.StatusBadRequest, codeHostTaken, "An A, AAAA, or CNAME record with that host already exists.")
		case other.Type == "CNAME" && r.Proxiable:
			return fail(http.StatusBadRequest, codeCNAMETaken, "A CNAME record with that host already exists.")
		}
	}
	return nil
}

func (s *Server) recordRoutes() []route {
	const (
		list = "/zones/{zone}/dns_records"
		one  = list + "/{id}"
	)
	return []route{
		{pattern: "GET " + list, permission: DNSRead, do: s.listRecords},
		{pattern: "POST " + list, permission: DNSWrite, do: s.createRecord},
		{pattern: "GET " + one, permission: DNSRead, do: s.getRecord},
		{pattern: "PUT " + one, permission: DNSWrite, do: s.updateRecord},
		{pattern: "PATCH " + one, permission: DNSWrite, do: s.updateRecord},
		{pattern: "DELETE " + one, permission: DNSWrite, do: s.deleteRecord},
	}
}

func (s *Server) findRecord(c *call) (int, error) {
	n := slices.IndexFunc(s.state.Records, func(r Record) bool { return r.ID == c.PathValue("id") && r.ZoneName == c.zone.Name })
	if n < 0 {
		return 0, fail(http.StatusNotFound, codeNoRecord, "Record does not exist.")
	}
	return n, nil
}

func (s *Server) listRecords(c *call) (any, error) {
	query := c.URL.Query()
	var list []Record
	for _, r := range s.state.Records {
		if r.ZoneName == c.zone.Name && matchesSearch(r, query.Get("search")) {
			list = append(list, r)
		}
	}
	list, err := filter(query, list, "name", "type", "content", "proxied", "comment")
	if err != nil {
		return nil, err
	}
	if list, err = order(query, list, "type", "name", "content", "ttl", "proxied"); err != nil {
		return nil, err
	}
	return page(c, list, 100, 1, 5000000)
}

func matchesSearch(r Record, text string) bool {
	text = strings.ToLower(text)
	comment := ""
	if r.Comment != nil {
		comment = strings.ToLower(*r.Comment)
	}
	return strings.Contains(r.Name, text) || strings.Contains(strings.ToLower(r.Content), text) || strings.Contains(comment, text)
}

func (s *Server) getRecord(c *call) (any, error) {
	n, err := s.findRecord(c)
	if err != nil {
		return nil, err
	}
	return s.state.Records[n], nil
}

var recordReadOnly = []string{"id", "zone_name", "proxiable", "meta", "created_on", "modified_on", "comment_modified_on"}

func (s *Server) createRecord(c *call) (any, error) {
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	r, err := merge[Record](nil, fields, recordReadOnly...)
	if err != nil {
		return nil, err
	}
	if err := s.checkRecord(&r, c.zone); err != nil {
		return nil, err
	}
	now := s.now()
	r.ID, r.ZoneName, r.CreatedOn, r.ModifiedOn = newID(), c.zone.Name, now, now
	stampComment(&r, nil)
	s.state.Records = append(s.state.Records, r)
	return r, nil
}

func (s *Server) updateRecord(c *call) (any, error) {
	n, err := s.findRecord(c)
	if err != nil {
		return nil, err
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	old := s.state.Records[n]
	r, err := merge(over(c, &old), fields, recordReadOnly...)
	if err != nil {
		return nil, err
	}
	r.ID, r.ZoneName, r.CreatedOn, r.ModifiedOn = old.ID, old.ZoneName, old.CreatedOn, s.now()
	if err := s.checkRecord(&r, c.zone); err != nil {
		return nil, err
	}
	stampComment(&r, &old)
	s.state.Records[n] = r
	return r, nil
}

func stampComment(r, old *Record) {
	switch {
	case r.Comment == nil:
	case old != nil && old.Comment != nil && *old.Comment == *r.Comment:
		r.CommentModifiedOn = old.CommentModifiedOn
	default:
		now := r.ModifiedOn
		r.CommentModifiedOn = &now
	}
}

func (s *Server) deleteRecord(c *call) (any, error) {
	n, err := s.findRecord(c)
	if err != nil {
		return nil, err
	}
	id := s.state.Records[n].ID
	s.state.Records = slices.Delete(slices.Clone(s.state.Records), n, n+1)
	return deleted{id}, nil
}
