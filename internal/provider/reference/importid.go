package reference

import (
	"fmt"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ImportID is what `terraform import` is given: names joined by slashes, and where to read.
type ImportID struct {
	// Names are the cluster's name and those below it.
	Names []string
	// Endpoint is host:port of the API of a node of the cluster.
	Endpoint string
}

// ParseImportID reads "NAME[/NAME…]@host:port" with the given number of names.
func ParseImportID(id string, names int) (ImportID, error) {
	left, endpoint, ok := strings.Cut(id, "@")
	parts := strings.Split(left, "/")
	if !ok || len(parts) != names {
		return ImportID{}, fmt.Errorf("%q is not %d name(s) joined by slashes, then @ and host:port", id, names)
	}
	var ps spec.Problems
	for _, p := range parts {
		ps = append(ps, spec.ValidateName("name", p)...)
	}
	ps = append(ps, spec.ValidateEndpoint("endpoint", endpoint)...)
	return ImportID{Names: parts, Endpoint: endpoint}, ps.Err()
}
