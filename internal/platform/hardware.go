package platform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Hardware is by what a machine can be told from another one: facts that stay with it over reboots and reinstallations, and
// that a copy of its disk does not take along. Each field may be empty where a machine does not say.
type Hardware struct {
	// UUID and Serial are the system's of its DMI tables, Board the serial number of its main board. On a Linode the serial
	// is the instance's number.
	UUID   string `json:"uuid,omitempty"`
	Serial string `json:"serial,omitempty"`
	Board  string `json:"board,omitempty"`
	// MACs are the permanent addresses of its network ports, sorted.
	MACs []string `json:"macs,omitempty"`
}

// Hardware returns the facts of this machine.
func (m Machine) Hardware() Hardware {
	dmi := func(name string) string {
		text, err := os.ReadFile(filepath.Join("/", m.Root, "sys/class/dmi/id", name))
		if err != nil {
			return ""
		}
		return telling(strings.TrimSpace(string(text)))
	}
	return Hardware{
		UUID: strings.ToLower(dmi("product_uuid")), Serial: dmi("product_serial"), Board: dmi("board_serial"), MACs: m.macs(),
	}
}

// macs returns the permanent addresses of the ports that belong to a device, which those that software made do not.
func (m Machine) macs() []string {
	dir := filepath.Join("/", m.Root, "sys/class/net")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(dir, e.Name(), name))
			if err != nil {
				return ""
			}
			return strings.ToLower(strings.TrimSpace(string(text)))
		}
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "device")); err != nil || read("addr_assign_type") != "0" {
			continue
		}
		if mac := read("address"); mac != "" && strings.Trim(mac, "0:") != "" {
			out = append(out, mac)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// telling drops what makers write where they have nothing to say, and what is the same on many machines.
func telling(text string) string {
	plain := strings.ToLower(text)
	for _, nothing := range []string{
		"", "none", "n/a", "na", "not specified", "not settable", "not present", "not available", "not applicable", "unknown", "invalid", "default string",
		"to be filled by o.e.m.", "system serial number", "base board serial number", "chassis serial number", "serial number",
		"0123456789", "123456789", "1234567890", "03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc",
	} {
		if plain == nothing {
			return ""
		}
	}
	// One character again and again: zeros, dots, Fs.
	first := plain[:1]
	if strings.Trim(strings.ReplaceAll(plain, "-", ""), first) == "" {
		return ""
	}
	return text
}

// IsZero tells whether nothing is known.
func (h Hardware) IsZero() bool {
	return h.UUID == "" && h.Serial == "" && h.Board == "" && len(h.MACs) == 0
}

// Other tells whether these are surely two machines: there are facts of both to compare, and not one of them is the same. A
// machine that was repaired keeps some; where there is nothing to compare, nothing is claimed.
func (h Hardware) Other(o Hardware) bool {
	compared := false
	for _, pair := range [][2]string{{h.UUID, o.UUID}, {h.Serial, o.Serial}, {h.Board, o.Board}} {
		if pair[0] == "" || pair[1] == "" {
			continue
		}
		if pair[0] == pair[1] {
			return false
		}
		compared = true
	}
	for _, mac := range h.MACs {
		if slices.Contains(o.MACs, mac) {
			return false
		}
	}
	return compared || len(h.MACs) > 0 && len(o.MACs) > 0
}

// String names the facts for people.
func (h Hardware) String() string {
	var out []string
	for _, f := range [][2]string{{"system UUID", h.UUID}, {"serial number", h.Serial}, {"board", h.Board}, {"ports", strings.Join(h.MACs, " ")}} {
		if f[1] != "" {
			out = append(out, f[0]+" "+f[1])
		}
	}
	if len(out) == 0 {
		return "nothing that tells it from others"
	}
	return strings.Join(out, ", ")
}
