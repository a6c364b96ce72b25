//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// keysAreReplaced raises the key generation in Terraform: every node has another key then, the plan is empty, and an application's
// connection over the mesh was not interrupted. The generation does not go down again.
func keysAreReplaced(t *testing.T, s *site) {
	before, err := s.Atoll(t.Context(), "status", "--explain", "hk1")
	if err != nil || !strings.Contains(before, "mesh key number 0 of generation 1") {
		t.Fatalf("before the change hk1 is (%v):\n%s", err, before)
	}
	address, err := s.MeshAddress(t.Context(), "sg1")
	if err != nil {
		t.Fatal(err)
	}
	// A connection that carries something all the while, and must be there at the end.
	const script = `use strict; use IO::Socket::INET; use Time::HiRes qw(time sleep);
my ($what, $at) = @ARGV; $| = 1; $SIG{PIPE} = "IGNORE";
if ($what eq "serve") {
    my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => $at, LocalPort => 5003, ReuseAddr => 1) or die "listen: $!";
    alarm 600; my $c = $s->accept or die "accept: $!";
    while (sysread $c, my $x, 1) { syswrite $c, $x }
} else {
    my $c;
    for (1 .. 300) { $c = IO::Socket::INET->new(PeerAddr => $at, PeerPort => 5003, Timeout => 5) and last; sleep 0.1 }
    die "connect: $!" unless $c;
    my $worst = 0; alarm 600;
    until (-e "/run/echo.stop") {
        my $began = time; syswrite $c, "x"; sysread $c, my $x, 1 or die "the connection has ended: $!";
        $worst = time - $began if time - $began > $worst; sleep 0.02;
    }
    printf "longest pause %.2f s\n", $worst;
}
`
	server, err := s.Command(t.Context(), "sg1", "perl", "-e", script, "serve", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		out, err := s.Exec(t.Context(), "hk1", "perl", "-e", script, "ask", address)
		said <- fmt.Sprintf("%s (%v)", out, err)
	}()

	s.Work.Env = append(s.Work.Env, "TF_VAR_mesh_key_generation=2")
	s.apply(t)
	s.wantNoChange(t)
	s.eventually(t, "every node has another key", 5*time.Minute, func(ctx context.Context) error {
		status, _, err := s.Status(ctx)
		if err != nil {
			return err
		}
		for _, name := range everyNode {
			if k := status.Nodes[name].MeshKey; k == nil || k.Number != 1 || k.Generation != 2 || k.Changing {
				return fmt.Errorf("node %s has key %+v: %v", name, k, status.Warnings)
			}
		}
		return nil
	})
	s.wantHealthy(t, time.Minute, everyNode...)
	s.exec(t, "hk1", "touch", "/run/echo.stop")
	if got := <-said; !strings.Contains(got, "longest pause") {
		t.Errorf("the connection over the mesh broke: %s", got)
	} else {
		t.Logf("a connection over the mesh while all keys were replaced: %s", got)
	}
	_ = server.Wait()
	s.exec(t, "hk1", "rm", "/run/echo.stop")
	s.wantNoChange(t)

	env := s.Work.Env
	s.Work.Env = slices.Concat(env, []string{"TF_VAR_mesh_key_generation=1"})
	s.failApply(t, nil, "mesh.key_generation", "cannot go down")
	s.Work.Env = env
}
