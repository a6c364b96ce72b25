package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Platform is a vendor whose machines bring first-boot data by themselves.
type Platform string

// The platforms.
const (
	// None is a machine without a metadata service that is known.
	None Platform = ""
	// PlatformLinode is a Linode.
	PlatformLinode Platform = "linode"
)

// Platforms lists every platform except None.
func Platforms() []Platform { return []Platform{PlatformLinode} }

// Machine tells where to look for first-boot data. The zero value is this machine.
type Machine struct {
	// Root is put before the paths of files; empty means "/".
	Root string
	// Credentials is the directory of the service's systemd credentials; empty means $CREDENTIALS_DIRECTORY.
	Credentials string
	// MetadataURLs replace the addresses of the platform's metadata service, MetadataTransport the way to it.
	MetadataURLs      []string
	MetadataTransport http.RoundTripper
}

// Platform returns the machine's platform: what /etc/atoll/platform names, where it exists ("none" for no platform), else
// the one of the DMI vendor. It fails when the file names a platform that is not known.
func (m Machine) Platform() (Platform, error) {
	named, err := os.ReadFile(filepath.Join("/", m.Root, "etc/atoll/platform"))
	switch {
	case err == nil:
		name := strings.TrimSpace(string(named))
		if name == "none" {
			return None, nil
		}
		for _, p := range Platforms() {
			if string(p) == name {
				return p, nil
			}
		}
		return None, fmt.Errorf("/etc/atoll/platform names %q, which is unknown: write one of %v or none", name, Platforms())
	case !errors.Is(err, fs.ErrNotExist):
		return None, fmt.Errorf("find out the platform: %w", err)
	}
	vendor, err := os.ReadFile(filepath.Join("/", m.Root, "sys/class/dmi/id/sys_vendor"))
	if err != nil {
		// Containers and some boards have no DMI; that is a machine without a platform.
		return None, nil //nolint:nilerr // see above
	}
	switch strings.TrimSpace(string(vendor)) {
	case "Linode", "Akamai":
		return PlatformLinode, nil
	default:
		return None, nil
	}
}

// Sources returns the machine's carriers in the order in which they are to be looked at: what somebody put there on purpose
// comes before what the vendor brings. An unknown platform is an error beside the sources that there are nevertheless.
func (m Machine) Sources() ([]Source, error) {
	sources := []Source{
		m.File(),
		Credential{Dir: m.Credentials},
		CommandLine{Path: filepath.Join("/", m.Root, "proc/cmdline")},
		Seed{Label: LabelAtoll, Root: m.Root},
		Seed{Label: LabelNoCloud, Root: m.Root},
		ESP{Root: m.Root},
	}
	p, err := m.Platform()
	if p == PlatformLinode {
		sources = append(sources, Linode{URLs: m.MetadataURLs, Transport: m.MetadataTransport})
	}
	return sources, err
}

// File returns the machine's first-boot file.
func (m Machine) File() File { return File{Path: filepath.Join("/", m.Root, FirstBootFile)} }
