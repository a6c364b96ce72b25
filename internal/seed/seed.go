// Package seed makes what brings first-boot data to a machine that nobody can reach over a network yet: the seed volume,
// one FAT volume that is both Atoll's carrier and cloud-init's NoCloud data source.
//
// The payload is a file of its own, atoll.json, and not a part of user-data: cloud-init keeps a copy of its user-data on
// the machine, and the ticket's key must not be in it. Package platform reads what this package writes.
package seed

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// Seed is what a seed volume holds.
type Seed struct {
	// Payload is the first-boot data, from platform.NewPayload. It is secret.
	Payload []byte
	// Hostname is the machine's name; the node's is usual.
	Hostname string
	// Instance names this seed for cloud-init, which does once for each name what it does once for a machine.
	Instance string
	// SSHKeys are public keys in the form of authorized_keys, for root.
	SSHKeys []string
	// UserData is the user's own cloud-init user-data in place of one made of SSHKeys.
	UserData []byte
	// Network is the machine's network; nil means DHCP.
	Network *Network
}

// ErrKeysAndUserData is returned for a seed with both.
var ErrKeysAndUserData = errors.New("SSH keys cannot be put into user-data that somebody else wrote: name them in it (ssh_authorized_keys), or leave it out")

// keepCache keeps cloud-init from taking the machine for a new one when the volume is gone at a later boot: it would make
// new SSH host keys and ask for an address by DHCP in place of the one that the volume gave. It is in vendor-data, which
// leaves the user's user-data alone.
const keepCache = `#!/bin/sh
# Written by atoll seed: the seed volume may be taken out after the first boot.
printf 'manual_cache_clean: true\n' >/etc/cloud/cloud.cfg.d/99_atoll_seed.cfg
`

// File is one file of a volume.
type File struct {
	Name string
	Data []byte
}

// Files returns the volume's files in a fixed order.
func (s Seed) Files() ([]File, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	meta, err := yaml.Marshal(map[string]string{"instance-id": s.Instance, "local-hostname": s.Hostname})
	if err != nil {
		return nil, fmt.Errorf("write meta-data: %w", err)
	}
	user := s.UserData
	if user == nil {
		if user, err = userData(s.SSHKeys); err != nil {
			return nil, err
		}
	}
	files := []File{
		{platform.SeedFile, s.Payload},
		{"meta-data", meta},
		{platform.SeedUserData, user},
		{"vendor-data", []byte(keepCache)},
	}
	if s.Network != nil {
		config, err := s.Network.config()
		if err != nil {
			return nil, err
		}
		files = append(files, File{"network-config", config})
	}
	return files, nil
}

func (s Seed) check() error {
	if _, err := platform.ParsePayload(s.Payload); err != nil {
		return err
	}
	if s.UserData == nil {
		return nil
	}
	if len(s.SSHKeys) > 0 {
		return ErrKeysAndUserData
	}
	return platform.CheckUserData(s.UserData)
}

// userData returns a cloud-config that lets the keys in as root.
func userData(keys []string) ([]byte, error) {
	config := map[string]any{}
	if len(keys) > 0 {
		config["disable_root"] = false
		config["ssh_authorized_keys"] = keys
	}
	if len(config) == 0 {
		return []byte("#cloud-config\n{}\n"), nil
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("write user-data: %w", err)
	}
	return append([]byte("#cloud-config\n"), text...), nil
}

// InstanceID returns the name of a seed for cloud-init: a new ticket makes a new one.
func InstanceID(cluster, node, ticket string) string {
	return strings.Join([]string{"atoll", cluster, node, ticket}, "-")
}
