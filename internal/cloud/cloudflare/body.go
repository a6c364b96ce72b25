package cloudflare

import (
	"encoding/json"

	"github.com/cloudflare/cloudflare-go/v7/option"
)

// body sends v as the request. The library's own parameters cannot say everything (a new pool has no check_regions) and have
// another type for the same fields of create and update.
func body(v any) option.RequestOption {
	data, err := json.Marshal(v)
	if err != nil {
		// The wire types of this package hold text, numbers and lists of them.
		data = []byte("null")
	}
	return option.WithRequestBody("application/json", data)
}
