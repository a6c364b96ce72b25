package agent

import "time"

// Summary is what a node remembers of its membership, as it may be shown.
type Summary struct {
	Cluster, Node string
	// Identity is the node's identity key, SigningKey the cluster's root of trust, both as fingerprints.
	Identity, SigningKey string
	// Source is where the first-boot data came from.
	Source string
	Joined time.Time
}

// Remember returns what the state directory says of this node's membership, without asking a running agent. It fails with
// ErrNotJoined on a node that is no member.
func Remember(stateDir string) (Summary, error) {
	m, err := loadMembership(state{stateDir})
	if err != nil {
		return Summary{}, err
	}
	if m == nil {
		return Summary{}, ErrNotJoined
	}
	return Summary{
		Cluster: m.record.Cluster, Node: m.record.Node, Identity: m.identity.Public().Fingerprint(),
		SigningKey: m.record.SigningKey.Fingerprint(), Source: m.record.Source, Joined: m.record.Joined,
	}, nil
}
