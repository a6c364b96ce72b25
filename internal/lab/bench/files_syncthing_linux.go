package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// syncthingBegin makes a configuration by syncthing itself, without the folder that it shares otherwise, starts Debian's unit, and prints
// the device's name and the key of its API.
const syncthingBegin = `install -d -o www-data -g www-data /var/www
as() { runuser -u www-data -- env HOME=/var/www "$@"; }
as syncthing generate --no-default-folder >&2
as syncthing --device-id
sed -n 's/.*<apikey>\(.*\)<.*/\1/p' /var/www/.local/state/syncthing/config.xml
systemctl start syncthing@www-data.service`

// syncthingEnd leaves nothing of it.
const syncthingEnd = `systemctl stop syncthing@www-data.service; rm -rf /var/www`

// syncthingDevice is syncthing on a machine.
type syncthingDevice struct {
	machine *bare.Machine
	id, key string
}

// ask asks the device's API. A nil body asks, another one is told.
func (d *syncthingDevice) ask(ctx context.Context, method, path string, body any) (string, error) {
	argv := []string{"curl", "-sS", "--fail-with-body", "-X", method, "-H", "X-API-Key: " + d.key, "http://127.0.0.1:8384" + path}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return "", err
		}
		argv = append(argv, "-H", "Content-Type: application/json", "-d", string(text))
	}
	out, err := d.machine.Run(ctx, argv...)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", method, path, err, out)
	}
	return out, nil
}

// syncthing shares a folder of two devices that know each other's addresses. All else is as syncthing sets it itself.
func (s *stockFiles) syncthing(ctx context.Context) (*filesWay, func(context.Context) error, error) {
	var devices [2]*syncthingDevice
	for i, m := range s.machines {
		out, err := m.Run(ctx, "sh", "-euc", syncthingBegin)
		if err != nil {
			return nil, nil, err
		}
		lines := strings.Fields(out)
		if len(lines) != 2 {
			return nil, nil, fmt.Errorf("syncthing of %s says %q of itself", m.Name, out)
		}
		devices[i] = &syncthingDevice{machine: m, id: lines[0], key: lines[1]}
	}
	for i, d := range devices {
		if _, err := await.Attempt(ctx, time.Minute, func(ctx context.Context) error {
			_, err := d.ask(ctx, "GET", "/rest/system/ping", nil)
			return err
		}); err != nil {
			return nil, nil, err
		}
		other := devices[1-i]
		if _, err := d.ask(ctx, "POST", "/rest/config/devices", map[string]any{
			"deviceID": other.id, "name": other.machine.Name, "addresses": []string{"tcp://" + other.machine.Address.String() + ":22000"},
		}); err != nil {
			return nil, nil, err
		}
	}
	share := func(ctx context.Context, d *syncthingDevice) error {
		_, err := d.ask(ctx, "POST", "/rest/config/folders", map[string]any{
			"id": rig.PairName, "path": rig.PairPath, "devices": []map[string]any{{"deviceID": devices[0].id}, {"deviceID": devices[1].id}},
		})
		return err
	}
	begin := func(ctx context.Context) error {
		if err := sh(ctx, s.machines[1], "install -d -o www-data -g www-data "+rig.PairPath); err != nil {
			return err
		}
		for _, d := range devices {
			if err := share(ctx, d); err != nil {
				return err
			}
		}
		return watchedBySyncthing(ctx, devices[0])
	}
	again := func(ctx context.Context) error {
		done := make(chan error, len(devices))
		for _, d := range devices {
			go func() {
				_, err := d.ask(ctx, "POST", "/rest/db/scan?folder="+rig.PairName, nil)
				done <- err
			}()
		}
		if err := <-done; err != nil {
			return err
		}
		return <-done
	}
	end := func(ctx context.Context) error {
		return s.both(func(m *bare.Machine) error { return sh(ctx, m, syncthingEnd) })
	}
	return &filesWay{live: true, twoWay: true, begin: begin, again: again, note: "its watcher gathers changes for 10 s"}, end, nil
}

// watchedBySyncthing demands that the folder has the defaults of a new one.
func watchedBySyncthing(ctx context.Context, d *syncthingDevice) error {
	out, err := d.ask(ctx, "GET", "/rest/config/folders/"+rig.PairName, nil)
	if err != nil {
		return err
	}
	var folder struct {
		Watched bool    `json:"fsWatcherEnabled"`
		Delay   float64 `json:"fsWatcherDelayS"`
	}
	if err := json.Unmarshal([]byte(out), &folder); err != nil {
		return err
	}
	if !folder.Watched || folder.Delay != 10 {
		return fmt.Errorf("syncthing's folder is not at its defaults: %+v", folder)
	}
	return nil
}
