//go:build linux

package writer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/writer"
)

// begin makes a server of its own, $1, that listens at port $2, and starts it.
const begin = `set -eu
install -d -o mysql -g mysql /var/lib/mysql /run/mysqld
mysqld --no-defaults --user=mysql --initialize-insecure --datadir=/var/lib/mysql/$1 2>/dev/null
systemd-run --quiet --unit=$1 mysqld --no-defaults --user=mysql --datadir=/var/lib/mysql/$1 --port=$2 --socket=/run/mysqld/$1.sock \
  --mysqlx=OFF --gtid-mode=ON --enforce-gtid-consistency --server-id=$2 --pid-file=/run/mysqld/$1.pid`

// accounts are what the tests' servers have. Both write under the same name, as members of a group do.
var accounts = []string{"SET sql_log_bin = 0", "CREATE DATABASE app", "CREATE USER app IDENTIFIED BY 'secret'", "GRANT ALL ON app.* TO app"}

// TestRealServers writes to two real servers that know nothing of each other, which no group of members may ever be like.
func TestRealServers(t *testing.T) {
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	l, err := bare.New(t.Context(), fmt.Sprintf("writer%d", os.Getpid()), bare.Options{Progress: func(doing string) { t.Log(doing) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	machine, err := l.Add(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	var servers, roots []writer.Server
	for i, name := range []string{"one", "other"} {
		port := fmt.Sprint(3306 + i)
		if _, err := machine.Run(t.Context(), "sh", "-c", begin, "sh", name, port); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, writer.Server{
			Name: name, Network: "tcp", Address: machine.Address.String() + ":" + port, Dial: machine.Dial, User: "app", Password: "secret", Schema: "app",
		})
		roots = append(roots, writer.Server{Name: name, Network: "unix", Address: "/run/mysqld/" + name + ".sock", Dial: machine.Dial, User: "root"})
		await.NoError(t, name+" has started", time.Minute, func(ctx context.Context) error { return exec(ctx, roots[i], accounts...) })
		if err := writer.Prepare(t.Context(), servers[i]); err != nil {
			t.Fatal(err)
		}
	}

	crowd, watch := writer.Start(t.Context(), writer.Plan{Servers: servers[:1]}), writer.StartWatch(t.Context(), servers)
	await.True(t, "writes are acknowledged", time.Minute, func() bool { return crowd.Acknowledged() > 20 })
	fault := time.Now()
	if _, err := machine.Run(t.Context(), "systemctl", "kill", "--signal=KILL", "one"); err != nil {
		t.Fatal(err)
	}
	await.True(t, "writes fail", time.Minute, func() bool { return crowd.Calm() < time.Since(fault) })
	if _, err := machine.Run(t.Context(), "sh", "-c", restart); err != nil {
		t.Fatal(err)
	}
	await.True(t, "writes go on", time.Minute, func() bool { return crowd.Calm() > 500*time.Millisecond })
	// Attempts that overlap prove nothing.
	await.True(t, "it is seen that two servers take writes", time.Minute, func() bool {
		return errors.As(watch.Probes().OneWriter(), new(*writer.TwoWritersError))
	})
	record, probes := crowd.Stop(), watch.Stop()

	outage, err := record.Outage(fault)
	if err != nil || outage.First.IsZero() || outage.Length() < 50*time.Millisecond {
		t.Errorf("the outage is %+v, %v", outage, err)
	}
	if lost, err := record.Lost(t.Context(), servers[0]); err != nil || len(lost) > 0 {
		t.Errorf("lost are %v, %v", lost, err)
	}
	if lost, err := record.Lost(t.Context(), servers[1]); err != nil || len(lost) != len(record.Acknowledged()) {
		t.Errorf("the server that nobody wrote to lacks %d of %d, %v", len(lost), len(record.Acknowledged()), err)
	}
	if lost, err := probes.Lost(t.Context(), servers[0]); err != nil || len(lost) != 1 || lost[0] != "other" {
		t.Errorf("what the watch wrote is lost of %v, %v", lost, err)
	}
	if err := writer.Equal(t.Context(), roots); err == nil {
		t.Error("two servers with different data are equal")
	}
	if err := writer.Equal(t.Context(), []writer.Server{roots[0], roots[0]}); err != nil {
		t.Errorf("a server is not equal to itself: %v", err)
	}
}

// restart starts the server one again, as a unit of another name: systemd may know the one that was killed for some time.
const restart = `systemctl stop one || true
systemd-run --quiet --unit=one-again mysqld --no-defaults --user=mysql --datadir=/var/lib/mysql/one --port=3306 --socket=/run/mysqld/one.sock \
  --mysqlx=OFF --gtid-mode=ON --enforce-gtid-consistency --server-id=3306 --pid-file=/run/mysqld/one.pid`

// exec runs statements with one connection.
func exec(ctx context.Context, s writer.Server, statements ...string) error {
	return s.Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}
