package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// UnitName is the service that loads at boot what was confirmed last, before there is a network.
const UnitName = "atoll-firewall.service"

// unit returns the service. It comes after the distribution's own, whose rules often begin with "flush ruleset".
func (f *Firewall) unit() host.Unit {
	file := path.Join(f.dir, scriptName)
	return host.Unit{Name: UnitName, Enabled: true, Content: []byte(`# Written by atolld; changes are overwritten.
[Unit]
Description=Atoll's packet filter of this node
DefaultDependencies=no
RequiresMountsFor=` + f.dir + `
ConditionPathExists=` + file + `
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target nftables.service
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=nft -f ` + file + `

[Install]
WantedBy=sysinit.target
`)}
}

// table is the filter as the kernel has it.
type table struct {
	there bool
	// mark is that of the ruleset that was loaded, text the table without what changes by itself.
	mark, text string
}

// look returns the table in the kernel.
func (f *Firewall) look(ctx context.Context) (table, error) {
	out, err := f.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"-s", "list", "table", "inet", Table}, ReadOnly: true})
	var failed *host.CommandError
	switch {
	case errors.As(err, &failed) && failed.ExitCode > 0 && ctx.Err() == nil:
		return table{}, nil
	case err != nil:
		return table{}, fmt.Errorf("look at the firewall: %w", err)
	}
	t := table{text: string(out.Stdout)}
	t.there = strings.HasPrefix(t.text, "table inet "+Table+" ")
	_, rest, _ := strings.Cut(t.text, `comment "`+markPrefix)
	t.mark, _, _ = strings.Cut(rest, `"`)
	return t, nil
}

// onTrial tells whether the kernel still holds to the rules on trial.
func (f *Firewall) onTrial(ctx context.Context) (bool, error) {
	out, err := f.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"-j", "list", "set", "inet", Table, trialSet}, ReadOnly: true})
	if err != nil {
		return false, fmt.Errorf("look whether the firewall is still on trial: %w", err)
	}
	var list struct {
		Objects []struct {
			Set *struct {
				Elements []json.RawMessage `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(out.Stdout, &list); err != nil {
		return false, fmt.Errorf("look whether the firewall is still on trial: nft printed no JSON: %w", err)
	}
	for _, o := range list.Objects {
		if o.Set != nil && len(o.Set.Elements) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// counted returns the counters of the table in the kernel. That they cannot be read is no reason not to replace it.
func (f *Firewall) counted(ctx context.Context) counters {
	out, err := f.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"-j", "list", "counters", "table", "inet", Table}, ReadOnly: true})
	var list struct {
		Objects []struct {
			Counter *struct {
				Name    string `json:"name"`
				Packets uint64 `json:"packets"`
				Bytes   uint64 `json:"bytes"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	values := counters{}
	if err != nil || json.Unmarshal(out.Stdout, &list) != nil {
		return values
	}
	for _, o := range list.Objects {
		if o.Counter != nil {
			values[o.Counter.Name] = counter{o.Counter.Packets, o.Counter.Bytes}
		}
	}
	return values
}

// put replaces the table by a ruleset.
func (f *Firewall) put(ctx context.Context, r ruleset) error {
	script := r.script(f.counted(ctx))
	if _, err := f.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"-f", "-"}, Stdin: []byte(script)}); err != nil {
		return fmt.Errorf("load the firewall of this node: %w", err)
	}
	// What nft prints of it is in the order and the words of its version.
	now, err := f.look(ctx)
	if err != nil {
		return err
	}
	f.loaded = now
	return nil
}

// drop removes the table.
func (f *Firewall) drop(ctx context.Context) error {
	now, err := f.look(ctx)
	if err != nil || !now.there {
		// Without nft there cannot be a table that the agent made.
		return nil //nolint:nilerr // see above
	}
	if _, err := f.sys.Run(ctx, host.Command{Name: "nft", Args: []string{"delete", "table", "inet", Table}}); err != nil {
		return fmt.Errorf("remove the firewall of this node: %w", err)
	}
	return nil
}

// hold makes the kernel hold to what was confirmed: it repairs what somebody else has changed, and changes nothing otherwise.
func (f *Firewall) hold(ctx context.Context, r record, now table) error {
	if r.Confirmed == nil {
		if !now.there {
			return nil
		}
		return f.drop(ctx)
	}
	want := ruleset{filter: r.Confirmed}
	if now.mark == want.mark() && now == f.loaded {
		return nil
	}
	return f.put(ctx, want)
}
