package router_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/router"
)

func good(name string, port int) router.Database {
	return router.Database{
		Name: name, Group: "7d2f4c1e-0b8a-4e3f-9a6d-1c5b8e7f9a01", Node: "hk1", WritePort: port, ReadPort: port + 1, User: "router", Password: "secret",
		Members: []router.Member{{Node: "hk1", Address: netip.MustParseAddrPort("10.66.0.1:3306")}},
	}
}

func TestValid(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*router.Database)
		want  string
	}{
		"good":                {func(*router.Database) {}, ""},
		"no name":             {func(d *router.Database) { d.Name = "" }, "a name has"},
		"a path for a name":   {func(d *router.Database) { d.Name = "a/b" }, "a name has"},
		"another's name":      {func(d *router.Database) { d.Name = "first" }, "twice"},
		"another's port":      {func(d *router.Database) { d.ReadPort = 6446 }, `also one of the router of database "first"`},
		"one port":            {func(d *router.Database) { d.ReadPort = d.WritePort }, "for writes and for reads"},
		"no port":             {func(d *router.Database) { d.ReadPort = 0 }, "0 is no port"},
		"no members":          {func(d *router.Database) { d.Members = nil }, "no members yet"},
		"a member of no name": {func(d *router.Database) { d.Members[0].Node = "a b" }, "cannot be the name"},
		"a member nowhere":    {func(d *router.Database) { d.Members[0].Address = netip.AddrPort{} }, "address of member hk1"},
		"no account":          {func(d *router.Database) { d.User = "" }, "account"},
		"two lines":           {func(d *router.Database) { d.Group = "a\nb" }, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			d := good("app", 6456)
			tt.spoil(&d)
			c := router.Config{Databases: []router.Database{good("first", 6446), d}}
			valid, err := c.Valid()
			var invalid *router.InvalidError
			switch {
			case tt.want == "" && (err != nil || len(valid) != 2):
				t.Errorf("got %v, %v", valid, err)
			case tt.want != "" && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case tt.want != "" && (len(valid) != 1 || valid[0].Name != "first"):
				t.Errorf("what is good is left out: %v", valid)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error has the password: %v", err)
			}
		})
	}
}
