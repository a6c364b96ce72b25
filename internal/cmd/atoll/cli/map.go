package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// mapFormat is a form that a map is written in, and the ends of names of files that are usually of it.
type mapFormat struct {
	name  string
	ends  []string
	write func(clustermap.Map) ([]byte, error)
}

func mapFormats() []mapFormat {
	return []mapFormat{
		{"svg", []string{".svg"}, clustermap.Map.SVG},
		{"mermaid", []string{".mmd", ".mermaid"}, func(m clustermap.Map) ([]byte, error) { return m.Mermaid(), nil }},
		{"json", []string{".json"}, clustermap.Map.JSON},
	}
}

// mapOptions are the flags of atoll map.
type mapOptions struct {
	nodes   nodeFlags
	format  string
	out     string
	timeout time.Duration
}

func mapCommand(env Environment) *cobra.Command {
	var o mapOptions
	cmd := &cobra.Command{
		Use:   "map",
		Short: "Draw a cluster as its nodes observe it: sites, nodes, roles and links",
		Long: `Draws a cluster as its nodes observe it: sites, nodes with their state and what they do (primary of a database, leader of a pair,
node of a load balancer), and every link in both directions with its round-trip time, the packets that it loses and the detour that
traffic takes. What is degraded or down is told by words, signs and dashes as well as by colours.

The forms are svg (a picture that needs nothing else, with a description for screen readers, and a title for each node and each
direction, which browsers show on hovering), mermaid (a flowchart for pages that draw Mermaid, such as GitHub's) and json (for programs).

The picture is that of the node that sees most of the cluster, as with atoll status. The exit code is 0 for a map that was
drawn, whatever is on it, and 2 otherwise; atoll status says by its exit code whether the cluster is healthy.`,
		Example: `  atoll map --out cluster.svg
  atoll map --format mermaid
  atoll map --format json | jq '.links[] | select(.there.level != "good" or .back.level != "good")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := o.chosen()
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), env, format)
		},
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.StringVar(&o.format, "format", "", "svg, mermaid or json (default by the end of --out, else svg)")
	flags.StringVar(&o.out, "out", "", "the `file` to write, replacing what it holds (default standard output)")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	return cmd
}

// chosen returns the form that is asked for.
func (o *mapOptions) chosen() (mapFormat, error) {
	formats := mapFormats()
	at := 0
	if o.format != "" {
		at = slices.IndexFunc(formats, func(f mapFormat) bool { return f.name == o.format })
	} else if end := strings.ToLower(filepath.Ext(o.out)); end != "" {
		at = slices.IndexFunc(formats, func(f mapFormat) bool { return slices.Contains(f.ends, end) })
	}
	if at < 0 && o.format != "" {
		return mapFormat{}, fmt.Errorf("--format %q is none: write svg, mermaid or json", o.format)
	}
	if at < 0 {
		return mapFormat{}, fmt.Errorf("the name %s does not tell the form of the map: add --format svg, mermaid or json", o.out)
	}
	return formats[at], nil
}

func (o *mapOptions) run(ctx context.Context, env Environment, format mapFormat) error {
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return err
	}
	targets, err := o.nodes.targets(env)
	if err != nil {
		return err
	}
	r, err := ask(ctx, key, targets, o.timeout)
	if err != nil {
		return err
	}
	data, err := format.write(clustermap.New(r.ClusterStatus))
	if err != nil {
		return err
	}
	if o.out == "" {
		_, err := env.Stdout.Write(data)
		return err
	}
	if err := replaceFile(o.out, data); err != nil {
		return fmt.Errorf("write the map to %s: %w", o.out, err)
	}
	return nil
}

// replaceFile writes a file as a whole: whoever reads it, such as a web server, finds the old or the new one. A link stays one.
func replaceFile(name string, data []byte) (err error) {
	if target, linkErr := filepath.EvalSymlinks(name); linkErr == nil {
		name = target
	}
	if info, statErr := os.Stat(name); statErr == nil && !info.Mode().IsRegular() {
		// A pipe or a device, such as /dev/stdout, has no old content to keep.
		return os.WriteFile(name, data, 0o644) //nolint:gosec // a map holds nothing secret
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".atoll-map-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Chmod(0o644); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
