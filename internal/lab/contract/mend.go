package contract

import (
	"fmt"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
)

// Mend corrects a mistake in a vendor's document. It returns an error when the place is not there, so
// that it goes when the vendor has corrected it.
type Mend func(*openapi3.T) error

// LinodeMends returns what contradicts live answers in Linode's document 4.208.1.
func LinodeMends() []Mend {
	return []Mend{
		// The enumeration belongs to the items, and they are names such as "Managed Databases".
		func(doc *openapi3.T) error {
			for _, list := range []string{"alerts", "metrics"} {
				schema, err := answer(doc, "/{apiVersion}/regions/{regionId}", http.MethodGet, "monitors", list)
				if err != nil {
					return err
				}
				schema.Enum = nil
			}
			return nil
		},
		// The request may say "linode_interface" and so does the answer, by linodego.
		func(doc *openapi3.T) error {
			const devices = "/{apiVersion}/networking/firewalls/{firewallId}/devices"
			for _, place := range []struct {
				path, method string
				fields       []string
			}{
				{devices, http.MethodGet, []string{"data", "", "entity", "type"}},
				{devices, http.MethodPost, []string{"entity", "type"}},
				{devices + "/{deviceId}", http.MethodGet, []string{"entity", "type"}},
			} {
				schema, err := answer(doc, place.path, place.method, place.fields...)
				if err != nil {
					return err
				}
				schema.Enum = append(schema.Enum, "linode_interface")
			}
			return nil
		},
		// An image without a description has an empty one, as live answers to other operations show.
		func(doc *openapi3.T) error {
			for _, place := range []struct {
				path, method string
				fields       []string
			}{
				{"/{apiVersion}/images/upload", http.MethodPost, []string{"image", "description"}},
				{"/{apiVersion}/images/{imageId}", http.MethodPut, []string{"description"}},
				{"/{apiVersion}/images/{imageId}/regions", http.MethodPost, []string{"description"}},
			} {
				schema, err := answer(doc, place.path, place.method, place.fields...)
				if err != nil {
					return err
				}
				schema.MinLength = 0
			}
			return nil
		},
	}
}

// answer returns the schema of a field of an operation's JSON answer; an empty name is the items of a
// list.
func answer(doc *openapi3.T, path, method string, fields ...string) (*openapi3.Schema, error) {
	where := fmt.Sprintf("%s %s %q", method, path, fields)
	item := doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		return nil, fmt.Errorf("no operation %s", where)
	}
	response := item.GetOperation(method).Responses.Status(http.StatusOK)
	if response == nil || response.Value == nil || response.Value.Content.Get("application/json") == nil {
		return nil, fmt.Errorf("no JSON answer of %s", where)
	}
	ref := response.Value.Content.Get("application/json").Schema
	for _, field := range fields {
		if ref == nil || ref.Value == nil {
			break
		}
		if field == "" {
			ref = ref.Value.Items
		} else {
			ref = ref.Value.Properties[field]
		}
	}
	if ref == nil || ref.Value == nil {
		return nil, fmt.Errorf("no field %s", where)
	}
	return ref.Value, nil
}
