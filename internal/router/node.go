package router

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// HasIPv6 tells whether a node has the address ::1.
func HasIPv6(sys host.System) bool {
	// The first process is in the node's own network.
	addresses, err := sys.ReadFile("/proc/1/net/if_inet6")
	return err == nil && strings.Contains(string(addresses), strings.Repeat("0", 31)+"1 ")
}

// Listeners returns where programs on a node listen that are in the way of a listener at a loopback address, by port.
func Listeners(ctx context.Context, sys host.System) (map[int]string, error) {
	out, err := sys.Run(ctx, host.Command{Name: "ss", Args: []string{"-H", "-l", "-t", "-n"}, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("look for programs that listen: %w", err)
	}
	listening := map[int]string{}
	for line := range strings.Lines(string(out.Stdout)) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		at := strings.LastIndex(fields[3], ":")
		address := strings.Trim(fields[3][:max(at, 0)], "[]")
		port, err := strconv.Atoi(fields[3][at+1:])
		if err == nil && (address == "*" || address == "0.0.0.0" || address == "::" || address == "::1" || strings.HasPrefix(address, "127.0.0.1")) {
			listening[port] = fields[3]
		}
	}
	return listening, nil
}

// TakenPort returns a *PortTakenError when another program has one of a database's ports. Own are the ports that the database's
// router has itself.
func TakenPort(ctx context.Context, sys host.System, d Database, own map[int]bool) error {
	if own[d.WritePort] && own[d.ReadPort] {
		return nil
	}
	listening, err := Listeners(ctx, sys)
	if err != nil {
		return err
	}
	for _, port := range []int{d.WritePort, d.ReadPort} {
		if at, taken := listening[port]; taken && !own[port] {
			return &PortTakenError{Database: d.Name, Port: port, At: at}
		}
	}
	return nil
}

// LastWords returns the end of what a unit has said, as the end of an error's text.
func LastWords(ctx context.Context, sys host.System, unit string) string {
	out, err := sys.Run(ctx, host.Command{
		Name: "journalctl", Args: []string{"--unit=" + unit, "--lines=4", "--output=cat", "--no-pager"}, ReadOnly: true,
	})
	words := strings.TrimSpace(string(out.Stdout))
	if err != nil || words == "" {
		return "; see journalctl -u " + unit
	}
	return "; it says: " + strings.Join(strings.Split(words, "\n"), " / ")
}
