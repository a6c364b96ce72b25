package spec

// MeshDriver is the technology of a cluster's mesh.
type MeshDriver string

// The mesh drivers.
const (
	// MeshTinc is tinc 1.0: it routes round a dead link by itself.
	MeshTinc MeshDriver = "tinc"
	// MeshWireGuard is WireGuard, whose packets the agent's own program sends round a dead or bad link.
	MeshWireGuard MeshDriver = "wireguard"
)

// WireGuardHelloPort is the UDP port of what the nodes of a WireGuard mesh say to each other of their links, at IPv6 link-local
// addresses inside the tunnel.
const WireGuardHelloPort = 7655

// MeshDrivers lists every mesh driver.
func MeshDrivers() []MeshDriver { return []MeshDriver{MeshTinc, MeshWireGuard} }

// TCP tells whether the driver can send a pair's packets over TCP, and then listens for TCP on the mesh's port beside UDP.
func (d MeshDriver) TCP() bool { return d == MeshTinc }

// Mesh is how the nodes of a cluster are joined to a private network.
type Mesh struct {
	Driver MeshDriver `json:"driver"`
	// Port is the public port of the mesh: UDP, and for tinc TCP too.
	Port int `json:"port"`
	// Tinc holds the settings of driver tinc; nil means DefaultTinc.
	Tinc *Tinc `json:"tinc,omitempty"`
	// KeyGeneration is raised to have every node replace its key; 0 means 1. Older agents refuse a cluster that has it.
	KeyGeneration int `json:"key_generation,omitempty"`
}

// Tinc holds tinc's timers, in seconds. See tinc.conf(5) for their meaning.
type Tinc struct {
	PingInterval int `json:"ping_interval"`
	PingTimeout  int `json:"ping_timeout"`
	// MaxTimeout is the longest pause between two attempts to reach a peer.
	MaxTimeout int `json:"max_timeout"`
}

// DefaultMesh returns the mesh of a cluster that names no settings.
func DefaultMesh() Mesh { return Mesh{Driver: MeshTinc, Port: 655} }

// DefaultTinc returns timers that leave a dead link after two to four seconds, where tinc's own (60, 5, 900) take up to
// a minute and then may not try again for a quarter of an hour. One second each would save a second, but tincd also gives
// a handshake no longer than PingTimeout: links then broke several times a minute at any distance, and none came up at a
// round-trip time of 400 ms.
func DefaultTinc() Tinc { return Tinc{PingInterval: 2, PingTimeout: 2, MaxTimeout: 5} }

// TincOrDefault returns the tinc settings that hold.
func (m Mesh) TincOrDefault() Tinc {
	if m.Tinc == nil {
		return DefaultTinc()
	}
	return *m.Tinc
}

// Validate returns everything that is wrong with the settings, except for the port, which the cluster checks beside its
// other ports.
func (m Mesh) Validate() Problems {
	var ps Problems
	switch m.Driver {
	case MeshTinc:
		if m.Tinc != nil {
			ps = append(ps, m.Tinc.Validate().Under("tinc")...)
		}
	case MeshWireGuard:
		if m.Tinc != nil {
			ps.add("tinc", "leave it out", "the settings are those of driver %q, and the driver is %q", MeshTinc, m.Driver)
		}
	default:
		ps.add("driver", "use one of the mesh drivers that this version knows", "%q is unknown", m.Driver)
	}
	return append(ps, m.validateGeneration()...)
}

// Validate returns everything that is wrong with the timers.
func (t Tinc) Validate() Problems {
	var ps Problems
	if t.PingInterval < 1 || t.PingInterval > 3600 {
		ps.add("ping_interval", "", "%d s is not between 1 and 3600", t.PingInterval)
	}
	if t.PingTimeout < 1 || t.PingTimeout > t.PingInterval {
		// tinc itself silently lowers a longer timeout to the interval.
		ps.add("ping_timeout", "make it at most ping_interval", "%d s is not between 1 and ping_interval (%d s)", t.PingTimeout, t.PingInterval)
	}
	if t.MaxTimeout < 1 || t.MaxTimeout > 900 {
		ps.add("max_timeout", "", "%d s is not between 1 and 900", t.MaxTimeout)
	}
	return ps
}
