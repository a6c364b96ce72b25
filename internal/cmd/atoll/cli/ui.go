package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap/livepage"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// uiOptions are the flags of atoll ui.
type uiOptions struct {
	nodes    nodeFlags
	listen   string
	interval time.Duration
	timeout  time.Duration
	asJSON   bool
}

func uiCommand(env Environment) *cobra.Command {
	var o uiOptions
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Show a cluster in a browser as it is, until interrupted",
		Long: `Serves a page on this machine that shows the map of the cluster (see atoll map) and keeps itself up to date, and prints its address.
It runs until it is interrupted, and asks the nodes only while somebody looks.

The page can be read by this machine alone, and only by whom knows its address, which holds a secret made for this run. It shows and
changes nothing. To look from another machine lead a port here: ssh -L 8000:127.0.0.1:PORT THIS-MACHINE.

The exit code is 0 when it was interrupted, and 2 when it could not begin.`,
		Example: `  atoll ui
  atoll ui --listen 127.0.0.1:8000 --interval 5s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "the loopback `address` and port to serve the page on; port 0 is one that is free")
	flags.DurationVar(&o.interval, "interval", 2*time.Second, "how often the nodes are asked while somebody looks, at least 1s")
	flags.DurationVar(&o.timeout, "timeout", 8*time.Second, "how long a node may take to answer")
	flags.BoolVar(&o.asJSON, "json", false, "print the address as JSON")
	return cmd
}

// check refuses what would show the cluster to others: the page has no login.
func (o *uiOptions) check() error {
	at, err := netip.ParseAddrPort(o.listen)
	if err != nil {
		return fmt.Errorf("--listen %q is no address and port such as 127.0.0.1:8000: %w", o.listen, err)
	}
	if !at.Addr().IsLoopback() {
		return fmt.Errorf("--listen %s is reached from elsewhere, and the page has no login: listen on 127.0.0.1 or [::1] and lead a port there, as with ssh -L", o.listen)
	}
	if o.interval < time.Second {
		return fmt.Errorf("--interval %s would ask the nodes more than once a second: write 1s or more", o.interval)
	}
	return nil
}

func (o *uiOptions) run(ctx context.Context, env Environment) error {
	if err := o.check(); err != nil {
		return err
	}
	key, err := trust.SigningKeyFromEnvironment(env.Getenv)
	if err != nil {
		return err
	}
	if _, err := o.nodes.targets(env); err != nil {
		return err
	}
	page := livepage.New(livepage.Options{Interval: o.interval, Source: func(ctx context.Context) (clustermap.Map, error) {
		// The state is read each time: an apply may have brought nodes meanwhile.
		targets, err := o.nodes.targets(env)
		if err != nil {
			return clustermap.Map{}, err
		}
		r, err := ask(ctx, key, targets, o.timeout)
		if err != nil {
			return clustermap.Map{}, err
		}
		return clustermap.New(r.ClusterStatus), nil
	}})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("serve the page: %w", err)
	}
	secret := "/" + rand.Text()
	mux := http.NewServeMux()
	mux.Handle(secret+"/", http.StripPrefix(secret, page))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	if err := o.announce(env, "http://"+listener.Addr().String()+secret+"/"); err != nil {
		return errors.Join(err, listener.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	return nil
}

func (o *uiOptions) announce(env Environment, url string) error {
	if o.asJSON {
		return json.NewEncoder(env.Stdout).Encode(map[string]string{"url": url})
	}
	_, err := fmt.Fprintf(env.Stdout, "The cluster is shown at\n\n  %s\n\nuntil this program is interrupted (Ctrl-C).\n", url)
	return err
}
