package mysqlrouter

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/host"
	"github.com/atollhq/terraform-provider-atoll/internal/router"
)

var portLine = regexp.MustCompile(`(?m)^bind_port=(\d+)$`)

// takenPorts returns a *router.PortTakenError when another program has one of a database's ports. Router itself would end with an
// error, and with it the ports that it has.
func (d *Driver) takenPorts(ctx context.Context, database router.Database, old []byte, running bool) error {
	own := map[int]bool{}
	if running {
		for _, m := range portLine.FindAllSubmatch(old, -1) {
			if port, err := strconv.Atoi(string(m[1])); err == nil {
				own[port] = true
			}
		}
	}
	if own[database.WritePort] && own[database.ReadPort] {
		return nil
	}
	listening, err := d.listeners(ctx)
	if err != nil {
		return err
	}
	for _, port := range []int{database.WritePort, database.ReadPort} {
		if at, taken := listening[port]; taken && !own[port] {
			return &router.PortTakenError{Database: database.Name, Port: port, At: at}
		}
	}
	return nil
}

// listeners returns where programs listen that would be in the way of a listener at a loopback address, by port.
func (d *Driver) listeners(ctx context.Context) (map[int]string, error) {
	out, err := d.sys.Run(ctx, host.Command{Name: "ss", Args: []string{"-H", "-l", "-t", "-n"}, ReadOnly: true})
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
