//go:build linux

package mysqlgroup

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
)

// The accounts and data of every group.
const (
	// RouterUser is the account of routers, which asks for TLS as Atoll's own does.
	RouterUser = "atoll_router"
	// RouterPassword is that of RouterUser.
	RouterPassword = "Router-password_0123456789abcdefghijklmnop"
	// User is an application's account.
	User = "web"
	// Password is that of User.
	Password = "web-password"
	// Schema has a table "t" with columns "id", counted up, and "text".
	Schema = "shop"
)

//go:embed metadata.sql
var metadata string

// Options are what a group is made of.
type Options struct {
	// Members is how many servers it has.
	Members int
	// Settings are the servers' beside what a group needs, by name.
	Settings map[string]string
}

// Group is servers of one group. Its first primary is the first server.
type Group struct {
	// Name is the group's UUID, Database what routers know it by.
	Name, Database string
	Servers        []*Server
}

// New makes machines "db1", "db2" … in a lab, a server on each, and a group of them that is complete.
func New(ctx context.Context, lab *bare.Lab, o Options) (*Group, error) {
	g := &Group{Name: "7d2f4c1e-0b8a-4e3f-9a6d-1c5b8e7f9a01", Database: "app", Servers: make([]*Server, o.Members)}
	machines := make([]*bare.Machine, o.Members)
	err := each(o.Members, func(i int) (err error) {
		machines[i], err = lab.Add(ctx, fmt.Sprintf("db%d", i+1))
		return err
	})
	if err != nil {
		return nil, err
	}
	seeds := make([]string, 0, len(machines))
	for _, m := range machines {
		seeds = append(seeds, fmt.Sprintf("%s:%d", m.Address, Port))
	}
	err = each(o.Members, func(i int) (err error) {
		g.Servers[i], err = newServer(ctx, machines[i], i+1, g.Name, strings.Join(seeds, ","), o.Settings)
		return err
	})
	if err != nil {
		return nil, err
	}
	return g, g.fill(ctx)
}

// each calls fn for all numbers below n at once.
func each(n int, fn func(int) error) error {
	problems := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { problems[i] = fn(i) })
	}
	all.Wait()
	return errors.Join(problems...)
}

// fill begins the group and makes what replicates: an application's account and data, and what routers read.
func (g *Group) fill(ctx context.Context) error {
	first := g.Servers[0]
	if err := first.Begin(ctx); err != nil {
		return err
	}
	if err := g.AwaitOnline(ctx, 1); err != nil {
		return err
	}
	text := fmt.Sprintf(`CREATE DATABASE %[1]s; CREATE TABLE %[1]s.t (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(100));
CREATE USER %[2]s@'%%' IDENTIFIED BY %[3]s; GRANT ALL ON %[1]s.* TO %[2]s@'%%';
CREATE USER %[4]s@'%%' IDENTIFIED BY %[5]s REQUIRE SSL;
`, Schema, User, quote(Password), RouterUser, quote(RouterPassword)) + metadata + fmt.Sprintf(`
GRANT SELECT, EXECUTE ON mysql_innodb_cluster_metadata.* TO %[1]s@'%%'; GRANT SELECT ON performance_schema.* TO %[1]s@'%%';
INSERT INTO clusters (cluster_id, cluster_name, group_name, options, attributes, router_options) VALUES (%[2]s, %[3]s, %[2]s, '{}', '{}', '{}');
INSERT INTO routers (router_id, router_name, product_name, address, version, attributes, cluster_id, options)
VALUES (1, 'atoll', 'MySQL Router', 'atoll', '9.7.4', '{}', %[2]s, '{"unreachable_quorum_allowed_traffic": "read", "stats_updates_frequency": 0}');`,
		RouterUser, quote(g.Name), quote(g.Database))
	if err := first.Exec(ctx, text); err != nil {
		return err
	}
	for _, s := range g.Servers {
		if err := g.Tell(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range g.Servers[1:] {
		if err := s.Join(ctx); err != nil {
			return err
		}
	}
	return g.AwaitOnline(ctx, len(g.Servers))
}

// Tell has routers know of a member.
func (g *Group) Tell(ctx context.Context, s *Server) error {
	id, err := s.Text(ctx, "SELECT @@server_uuid")
	if err != nil {
		return err
	}
	primary, err := g.Primary(ctx)
	if err != nil {
		return err
	}
	return primary.Exec(ctx, fmt.Sprintf(`INSERT INTO mysql_innodb_cluster_metadata.instances (cluster_id, address, mysql_server_uuid, label, attributes)
VALUES (%s, '%s:%d', %s, %s, '{}')`, quote(g.Name), s.Address, Port, quote(id), quote(s.Name)))
}

// Forget has routers forget a member.
func (g *Group) Forget(ctx context.Context, s *Server) error {
	primary, err := g.Primary(ctx)
	if err != nil {
		return err
	}
	return primary.Exec(ctx, "DELETE FROM mysql_innodb_cluster_metadata.instances WHERE label = "+quote(s.Name))
}

// ErrNoPrimary says that no server takes writes.
var ErrNoPrimary = errors.New("no server takes writes")

// Primary returns the server that takes writes.
func (g *Group) Primary(ctx context.Context) (*Server, error) {
	for _, s := range g.Servers {
		if r, err := s.Role(ctx); err == nil && r.Writable() {
			return s, nil
		}
	}
	return nil, ErrNoPrimary
}

// Secondaries returns the servers that are online and take no writes.
func (g *Group) Secondaries(ctx context.Context) []*Server {
	return slices.DeleteFunc(slices.Clone(g.Servers), func(s *Server) bool {
		r, err := s.Role(ctx)
		return err != nil || r.State != "ONLINE" || r.Role == "PRIMARY"
	})
}

// AwaitOnline waits until there is a primary and n members are online.
func (g *Group) AwaitOnline(ctx context.Context, n int) error {
	_, err := await.Attempt(ctx, patience, func(ctx context.Context) error {
		var is []string
		online, writable := 0, 0
		for _, s := range g.Servers {
			r, err := s.Role(ctx)
			is = append(is, fmt.Sprintf("%s: %s %s %v", s.Name, r.State, r.Role, err))
			if r.State == "ONLINE" {
				online++
			}
			if r.Writable() {
				writable++
			}
		}
		if online != n || writable != 1 {
			return fmt.Errorf("%d members are to be online, but the servers say %v", n, is)
		}
		return nil
	})
	return err
}

// patience is how long a server may take for what it does by itself.
const patience = time.Minute
