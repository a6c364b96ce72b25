package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// joinRecord is join.json: that this node is a member, and by what right. Writing it is the moment of joining. It holds no
// secret.
type joinRecord struct {
	Wire       int             `json:"wire"`
	Cluster    string          `json:"cluster"`
	Node       string          `json:"node"`
	SigningKey trust.PublicKey `json:"signing_key"`
	Proof      trust.Proof     `json:"proof"`
	// Objects came with the first-boot data; they go into the store at each start, where newer ones win.
	Objects []trust.Envelope `json:"objects,omitempty"`
	// Source and SHA256 tell where the first-boot data came from.
	Source string    `json:"source"`
	SHA256 string    `json:"sha256"`
	Joined time.Time `json:"joined"`
	// Forgotten is true once the first-boot data is removed from its carrier.
	Forgotten bool `json:"forgotten"`
}

func (r joinRecord) root() trust.Root { return trust.Root{Cluster: r.Cluster, Key: r.SigningKey} }

// membership is a node that has joined.
type membership struct {
	record   joinRecord
	root     trust.Root
	identity *trust.Identity
	member   trust.Member
}

// loadMembership returns the membership of an earlier start, or nil. It fails when there is one that cannot be used.
func loadMembership(s state) (*membership, error) {
	var r joinRecord
	found, err := s.readJSON(joinFile, &r)
	if err != nil || !found {
		return nil, err
	}
	if r.Wire > spec.WireVersion {
		return nil, &newerStateError{file: s.path(joinFile), version: r.Wire}
	}
	if r.Wire < 1 {
		return nil, fmt.Errorf("%s has version %d, which never was: it is not what an agent wrote", s.path(joinFile), r.Wire)
	}
	m := &membership{record: r, root: r.root()}
	if m.member, err = m.root.VerifyProof(r.Proof); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(joinFile), err)
	}
	if m.identity, err = loadIdentity(s); err != nil {
		return nil, err
	}
	if m.identity == nil {
		return nil, fmt.Errorf("%s is missing, but %s says that the node has joined: put it back, or remove both and join with a new ticket",
			s.path(identityFile), s.path(joinFile))
	}
	if m.identity.Public() != m.member.Identity {
		return nil, fmt.Errorf("%s is not the identity that %s was made with: put the right one back, or remove both and join with a new ticket",
			s.path(identityFile), s.path(joinFile))
	}
	return m, nil
}

// newerStateError says that a newer agent wrote the state.
type newerStateError struct {
	file    string
	version int
}

func (e *newerStateError) Error() string {
	return fmt.Sprintf("%s has version %d, this agent knows up to %d: install the newer agent again", e.file, e.version, spec.WireVersion)
}

// loadIdentity returns the node's identity, or nil when it has none yet.
func loadIdentity(s state) (*trust.Identity, error) {
	pem, err := os.ReadFile(s.path(identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	id, err := trust.ParseIdentity(pem)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(identityFile), err)
	}
	return id, nil
}

// ensureIdentity returns the node's identity and makes it if there is none. One that was made on another machine and has not
// joined came with a copy of its disk.
func (a *Agent) ensureIdentity() (*trust.Identity, error) {
	id, err := loadIdentity(a.state)
	if err != nil {
		return nil, err
	}
	_, elsewhere, err := a.elsewhere()
	if err != nil {
		return nil, err
	}
	if id != nil && !elsewhere {
		return id, a.rememberHardware()
	}
	if elsewhere {
		if err := errors.Join(a.state.remove(identityFile), a.state.remove(hardwareFile)); err != nil {
			return nil, err
		}
	}
	if err := a.rememberHardware(); err != nil {
		return nil, err
	}
	if id, err = trust.NewIdentity(); err != nil {
		return nil, err
	}
	pem, err := id.MarshalPEM()
	if err != nil {
		return nil, err
	}
	return id, a.state.write(identityFile, pem)
}
