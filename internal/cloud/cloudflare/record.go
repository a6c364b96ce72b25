package cloudflare

import (
	"context"

	"github.com/cloudflare/cloudflare-go/v7/dns"
)

// RecordType is the type of a DNS record.
type RecordType string

// The types of records that say where a hostname is.
const (
	RecordA     RecordType = "A"
	RecordAAAA  RecordType = "AAAA"
	RecordCNAME RecordType = "CNAME"
)

// Addresses tells whether a record of this type is what a browser would connect to.
func (t RecordType) Addresses() bool { return t == RecordA || t == RecordAAAA || t == RecordCNAME }

// AutomaticTTL is the time to live that leaves it to the vendor. It is that of every proxied record.
const AutomaticTTL = 1

// Record is a DNS record.
type Record struct {
	ID      string
	Type    RecordType
	Name    string
	Content string
	Proxied bool
	// TTL is in seconds, or AutomaticTTL.
	TTL     int
	Comment string
}

// Records returns the zone's records of a hostname, of every type.
func (c *Client) Records(ctx context.Context, zone, hostname string) ([]Record, error) {
	list, err := pages(ctx, "list DNS records of "+hostname, func(ctx context.Context, n float64) ([]dns.RecordResponse, error) {
		var name dns.RecordListParamsName
		name.Exact.Value, name.Exact.Present = hostname, true
		var p dns.RecordListParams
		p.ZoneID.Value = zone
		p.Name.Value, p.Name.Present = name, true
		p.Page.Value, p.Page.Present = n, true
		p.PerPage.Value, p.PerPage.Present = perPage, true
		page, err := c.records.List(ctx, p)
		if err != nil {
			return nil, err
		}
		return page.Result, nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]Record, len(list))
	for i := range list {
		out[i] = recordFromAPI(&list[i])
	}
	return out, nil
}

// Record returns the record with id, ErrNotFound when it does not exist.
func (c *Client) Record(ctx context.Context, zone, id string) (Record, error) {
	var p dns.RecordGetParams
	p.ZoneID.Value = zone
	r, err := call(ctx, "read DNS record "+id, func(ctx context.Context) (*dns.RecordResponse, error) { return c.records.Get(ctx, id, p) })
	if err != nil {
		return Record{}, err
	}
	return recordFromAPI(r), nil
}

// CreateRecord creates an A or AAAA record, or returns the one with the same name, type and content that is there already:
// existed tells that this call has not made it.
func (c *Client) CreateRecord(ctx context.Context, zone string, r Record) (made Record, existed bool, err error) {
	var p dns.RecordNewParams
	p.ZoneID.Value = zone
	p.Body = recordParam(r)
	return once(ctx, c, func(ctx context.Context) (Record, bool, error) {
		list, err := c.Records(ctx, zone, r.Name)
		for _, one := range list {
			if one.Type == r.Type && one.Content == r.Content {
				return one, true, err
			}
		}
		return Record{}, false, err
	}, func(ctx context.Context) (Record, error) {
		made, err := call(ctx, "create DNS record "+r.String(), func(ctx context.Context) (*dns.RecordResponse, error) {
			return c.records.New(ctx, p)
		})
		if err != nil {
			return Record{}, err
		}
		return recordFromAPI(made), nil
	})
}

// UpdateRecord replaces everything of the record with r.ID.
func (c *Client) UpdateRecord(ctx context.Context, zone string, r Record) error {
	var p dns.RecordUpdateParams
	p.ZoneID.Value = zone
	p.Body = recordParam(r)
	_, err := call(ctx, "update DNS record "+r.String(), func(ctx context.Context) (*dns.RecordResponse, error) {
		return c.records.Update(ctx, r.ID, p)
	})
	return err
}

// DeleteRecord deletes the record with id. That it does not exist is no error.
func (c *Client) DeleteRecord(ctx context.Context, zone, id string) error {
	var p dns.RecordDeleteParams
	p.ZoneID.Value = zone
	return remove(ctx, "delete DNS record "+id, func(ctx context.Context) (*dns.RecordDeleteResponse, error) {
		return c.records.Delete(ctx, id, p)
	})
}

// String is the record as a zone file has it, without its TTL.
func (r Record) String() string { return r.Name + " " + string(r.Type) + " " + r.Content }

// recordParam is an A or AAAA record as the API takes it. The library has a type for each; on the wire they are one.
func recordParam(r Record) dns.ARecordParam {
	var p dns.ARecordParam
	p.Name.Value, p.Name.Present = r.Name, true
	p.Type.Value, p.Type.Present = dns.ARecordType(r.Type), true
	p.Content.Value, p.Content.Present = r.Content, true
	p.Proxied.Value, p.Proxied.Present = r.Proxied, true
	p.TTL.Value, p.TTL.Present = dns.TTL(r.TTL), true
	p.Comment.Value, p.Comment.Present = r.Comment, true
	return p
}

func recordFromAPI(in *dns.RecordResponse) Record {
	return Record{
		ID: in.ID, Type: RecordType(in.Type), Name: in.Name, Content: in.Content, Proxied: in.Proxied, TTL: int(in.TTL), Comment: in.Comment,
	}
}
