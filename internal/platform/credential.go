package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CredentialName is the name of the systemd credential that holds the payload. The agent's unit imports it, so systemd
// brings it from wherever it takes system credentials: SMBIOS type 11 strings ("io.systemd.credential:" and
// "io.systemd.credential.binary:"), QEMU's fw_cfg (opt/io.systemd.credentials/), systemd-boot's files on the ESP, and the
// container manager.
const CredentialName = "atoll.first-boot"

// Credential is the systemd credential CredentialName of this service.
type Credential struct {
	// Dir is where systemd has put the service's credentials; empty means $CREDENTIALS_DIRECTORY.
	Dir string
}

var _ Source = Credential{}

// Name implements Source.
func (Credential) Name() string { return "systemd credential " + CredentialName }

// Fetch implements Source. A credential that holds nothing for Atoll is an error: it has Atoll's name.
func (c Credential) Fetch(context.Context) (data []byte, found bool, err error) {
	dir := c.Dir
	if dir == "" {
		dir = os.Getenv("CREDENTIALS_DIRECTORY")
	}
	if dir == "" {
		return nil, false, nil
	}
	raw, err := os.ReadFile(filepath.Join(dir, CredentialName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the systemd credential: %w", err)
	}
	data, found, err = Extract(raw)
	if err == nil && !found {
		err = errors.New("the systemd credential holds no Atoll payload: give the machine another one, or none")
	}
	return data, found, err
}

// Forget implements Source. A credential belongs to whoever runs the machine and cannot be removed from inside.
func (c Credential) Forget(context.Context, string) error {
	return &StaysError{Source: c.Name(), Remedy: "take it out of the machine's definition (its SMBIOS strings, fw_cfg or boot loader's credentials)"}
}
