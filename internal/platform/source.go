package platform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Source is one carrier of first-boot data. Fetch and Forget may be called again at any time.
type Source interface {
	// Name returns the carrier's name for logs, such as "file /etc/atoll/first-boot.json".
	Name() string
	// Fetch returns the payload's JSON form and whether the carrier holds one. Data that is not meant for Atoll counts as
	// none. An error says why the carrier could not be read or what is wrong with the data.
	Fetch(ctx context.Context) (data []byte, found bool, err error)
	// Forget removes the payload with the checksum used from the carrier. It is no error when there is none, and another
	// payload is left alone. It fails with *StaysError when the carrier cannot be changed, so that trying again is of no use.
	Forget(ctx context.Context, used string) error
}

// StaysError says that a used payload stays where it is. Its ticket cannot bring another machine in under another identity
// unnoticed, but it is better gone.
type StaysError struct {
	// Source is where the payload is, Remedy what a person can do.
	Source, Remedy string
	// Err is why it could not be removed; nil where that is the carrier's nature.
	Err error
}

// Error says both.
func (e *StaysError) Error() string {
	why := "it cannot be removed from inside the machine"
	if e.Err != nil {
		why = e.Err.Error()
	}
	return fmt.Sprintf("the used first-boot data stays in %s (%s): %s", e.Source, why, e.Remedy)
}

// Unwrap returns why it could not be removed.
func (e *StaysError) Unwrap() error { return e.Err }

// Finding is what a look at one source gave, in a form that may be shown to anybody.
type Finding struct {
	Source string `json:"source"`
	// SHA256 is the checksum of the payload that was found, empty when there was none.
	SHA256 string `json:"sha256,omitempty"`
	// Problem says why the source or its data could not be used.
	Problem string `json:"problem,omitempty"`
}

// Found is a complete payload and where it came from.
type Found struct {
	Source  Source
	Payload *Payload
	SHA256  string
}

// Look looks at the sources in order and returns the first complete payload, or nil, and what each look gave. A source
// that fails does not keep the ones after it from being looked at.
func Look(ctx context.Context, sources []Source) (*Found, []Finding) {
	findings := make([]Finding, 0, len(sources))
	for _, source := range sources {
		finding := Finding{Source: source.Name()}
		data, found, err := source.Fetch(ctx)
		if found {
			finding.SHA256 = checksum(data)
		}
		var payload *Payload
		if err == nil && found {
			payload, err = ParsePayload(data)
		}
		if err != nil {
			finding.Problem = err.Error()
		}
		findings = append(findings, finding)
		if payload != nil {
			return &Found{Source: source, Payload: payload, SHA256: finding.SHA256}, findings
		}
	}
	return nil, findings
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
