package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// NetDevice is a network interface as it is.
type NetDevice struct {
	Exists bool
	// Up tells whether it is switched on.
	Up bool
	// Addresses are its addresses with the length of their prefixes.
	Addresses []netip.Prefix
}

// netDevices is a System that can be asked without a command. It returns errors.ErrUnsupported where it cannot.
type netDevices interface {
	netDevice(name string) (NetDevice, error)
}

// LookAtNetDevice returns a machine's network interface. One that does not exist is no error.
func LookAtNetDevice(ctx context.Context, sys System, name string) (NetDevice, error) {
	if direct, ok := sys.(netDevices); ok {
		if dev, err := direct.netDevice(name); !errors.Is(err, errors.ErrUnsupported) {
			return dev, err
		}
	}
	out, err := sys.Run(ctx, Command{Name: "ip", Args: []string{"-json", "address", "show"}, ReadOnly: true})
	if err != nil {
		return NetDevice{}, err
	}
	return parseAddresses(out.Stdout, name)
}

// parseAddresses reads what "ip -json address show" prints.
func parseAddresses(text []byte, name string) (NetDevice, error) {
	var links []struct {
		Name  string   `json:"ifname"`
		Flags []string `json:"flags"`
		Info  []struct {
			Local  netip.Addr `json:"local"`
			Length int        `json:"prefixlen"`
		} `json:"addr_info"`
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return NetDevice{}, nil
	}
	if err := json.Unmarshal(text, &links); err != nil {
		return NetDevice{}, fmt.Errorf("read the machine's interfaces: %w", err)
	}
	var dev NetDevice
	for _, l := range links {
		if l.Name != name {
			continue
		}
		dev.Exists, dev.Up = true, slices.Contains(l.Flags, "UP")
		for _, a := range l.Info {
			dev.Addresses = append(dev.Addresses, netip.PrefixFrom(a.Local, a.Length))
		}
	}
	return dev, nil
}
