//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

// mainVariable makes this test program be atoll-lab, whose background process starts the same program again.
const mainVariable = "ATOLL_TEST_BE_ATOLL_LAB"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program runs atoll-lab for one lab.
type program struct {
	t    *testing.T
	name string
}

func newProgram(t *testing.T, name string) program {
	t.Helper()
	if err := nodes.Check(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	p := program{t, fmt.Sprintf("c%d-%s", os.Getpid(), name)}
	t.Cleanup(func() {
		if _, err := lab.Down(context.WithoutCancel(t.Context()), p.name); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p program) command(args ...string) *exec.Cmd {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), self, append([]string{"--name", p.name}, args...)...)
	cmd.Env = append(os.Environ(), mainVariable+"=yes")
	return cmd
}

// run returns what atoll-lab prints and how it exits.
func (p program) run(args ...string) (out, messages string, code int) {
	p.t.Helper()
	cmd := p.command(args...)
	var o, m bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &m
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return o.String(), m.String(), cmd.ProcessState.ExitCode()
}

// must runs atoll-lab and wants it to succeed.
func (p program) must(args ...string) (out, messages string) {
	p.t.Helper()
	out, messages, code := p.run(args...)
	if code != 0 {
		p.t.Fatalf("atoll-lab %v: exit code %d: %s", args, code, messages)
	}
	return out, messages
}

func (p program) wantNothingLeft() {
	p.t.Helper()
	for _, pattern := range []string{
		"/run/netns/atoll-" + p.name + ".*", "/run/atoll-lab/" + p.name, "/var/lib/atoll-lab/lab-" + p.name,
		"/sys/fs/cgroup/*/atoll-lab/" + p.name, "/sys/fs/cgroup/atoll-lab/" + p.name,
	} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			p.t.Errorf("left behind: %v %v", left, err)
		}
	}
}

func TestLifeOfALab(t *testing.T) {
	p := newProgram(t, "life")
	out, messages := p.must("up")
	for _, want := range []string{"booting hk1 (hk-colo)", "is ready after"} {
		if !strings.Contains(messages, want) {
			t.Errorf("up does not say %q: %s", want, messages)
		}
	}
	if !strings.Contains(out, "198.51.100.10") {
		t.Errorf("up does not list the nodes: %s", out)
	}
	if _, messages := p.must("up"); !strings.Contains(messages, "running already") {
		t.Errorf("a second up says %s", messages)
	}

	out, _ = p.must("list", "--json")
	var d lab.Description
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Name != p.name || len(d.Nodes) != 2 {
		t.Errorf("list --json prints %s (%v)", out, err)
	}
	out, _ = p.must("run", "--", "sh", "-c", `curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $LINODE_TOKEN" $LINODE_URL/v4/regions`)
	if out != "200" {
		t.Errorf("the Linode API answers %s to the operator", out)
	}
	if _, _, code := p.run("exec", "hk1", "--", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exec exits with %d, want its command's 7", code)
	}
	if out, _ := p.must("ssh", "hk2", "--", "hostname"); out != "hk2\n" {
		t.Errorf("ssh prints %q", out)
	}

	out, _ = p.must("cut", "hk1", "hk2", "--one-way")
	if diff := cmp.Diff("hk1 -> hk2 cut\n", out); diff != "" {
		t.Errorf("cut prints something else (-want +got):\n%s", diff)
	}
	p.must("loss", "hk1", "operator", "30%")
	if out, _ = p.must("heal", "hk1", "hk2"); !strings.Contains(out, "loses 30%") || strings.Contains(out, "cut") {
		t.Errorf("heal leaves %s", out)
	}
	p.must("heal")

	p.must("kill", "hk2")
	if _, messages, code := p.run("exec", "hk2", "--", "true"); code != exitFailed || !strings.Contains(messages, "switched off") {
		t.Errorf("exec on a machine without power: %d %s", code, messages)
	}
	p.must("power-on", "hk2")
	p.must("ssh", "hk2", "--", "true")

	p.must("add", "hk3@hk-colo")
	if out, _ := p.must("exec", "hk3", "--", "hostname"); out != "hk3\n" {
		t.Errorf("an added machine calls itself %q", out)
	}
	p.must("console", "hk3")
	p.must("unplug", "hk3")
	p.must("plug", "hk3")
	if _, messages, code := p.run("insert", "hk3", os.DevNull); code != exitFailed || !strings.Contains(messages, "--boot vm") {
		t.Errorf("a seed disk for a container: %d %s", code, messages)
	}
	p.must("remove", "hk3")
	if _, messages, code := p.run("console", "hk3"); code != exitFailed || !strings.Contains(messages, "no such machine") {
		t.Errorf("the console of a machine that is gone: %d %s", code, messages)
	}

	down := p.command("down")
	if _, messages, code := p.run(append([]string{"run", "--"}, down.Args...)...); code != exitFailed || !strings.Contains(messages, "leave that shell") {
		t.Errorf("down from inside the lab: %d %s", code, messages)
	}
	if _, messages := p.must("down"); !strings.Contains(messages, "is removed") {
		t.Errorf("down says %s", messages)
	}
	p.wantNothingLeft()
	if _, messages := p.must("down"); !strings.Contains(messages, "there is no lab") {
		t.Errorf("a second down says %s", messages)
	}
	p.wantNothingLeft()
}

// TestUpAfterACrash kills the background process as a crash would. Whoever asks is told so, and the next up says what is lost
// and starts anew.
func TestUpAfterACrash(t *testing.T) {
	p := newProgram(t, "crashed")
	p.must("up")
	before := p.describe()
	process, err := os.FindProcess(before.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; { // the process dies a moment after the signal
		_, messages, code := p.run("exec", "hk1", "--", "true")
		if code != 0 && strings.Contains(messages, "start it with atoll-lab up") {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("exec in a lab that is gone: exit code %d, %s", code, messages)
		}
	}
	_, messages := p.must("up")
	for _, want := range []string{"its process was killed", "are lost", "is ready after"} {
		if !strings.Contains(messages, want) {
			t.Errorf("up does not say %q: %s", want, messages)
		}
	}
	if after := p.describe(); after.PID == before.PID || len(after.Nodes) != len(before.Nodes) {
		t.Errorf("the lab is %+v, it was %+v", after, before)
	}
	if out, _ := p.must("exec", "hk1", "--", "systemctl", "is-active", "ssh"); strings.TrimSpace(out) != "active" {
		t.Errorf("ssh is %s on a machine of the new lab", out)
	}
	p.must("down")
	p.wantNothingLeft()
}

func (p program) describe() lab.Description {
	p.t.Helper()
	out, _ := p.must("list", "--json")
	var d lab.Description
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.PID == 0 {
		p.t.Fatalf("list --json prints %s (%v)", out, err)
	}
	return d
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	p := newProgram(t, "interrupted")
	cmd := p.command("up")
	messages, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(messages)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "booting hk1") {
		t.Log(lines.Text())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted up succeeded")
	}
	p.wantNothingLeft()
}

func TestUsage(t *testing.T) {
	p := newProgram(t, "usage")
	tests := []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nonsense"}, exitUsage, "no command"},
		{[]string{"cut", "hk1"}, exitUsage, "cut A B"},
		{[]string{"loss", "hk1", "hk2", "many"}, exitUsage, "not a percentage"},
		{[]string{"heal", "hk1"}, exitUsage, "both ends"},
		{[]string{"up", "--machine", "hk1"}, exitUsage, "NAME@SITE"},
		{[]string{"up", "--boot", "cloud"}, exitUsage, "container"},
		{[]string{"up", "--boot", "vm", "--image", "/nowhere/image.manifest.json"}, exitUsage, "--image"},
		{[]string{"up", "--image", "/nowhere/image.manifest.json"}, exitUsage, "--boot vm"},
		{[]string{"up", "--boot", "vm", "--memory", "64"}, exitUsage, "256 MiB"},
		{[]string{"up", "--boot", "vm"}, exitFailed, "make image"},
		{[]string{"add", "hk3"}, exitUsage, "NAME@SITE"},
		{[]string{"add", "hk3@hk-colo", "--seed", "/nowhere/seed.img"}, exitUsage, "no such file"},
		{[]string{"add", "hk3@hk-colo", "--credential", "atoll.first-boot"}, exitUsage, "NAME=FILE"},
		{[]string{"insert", "hk1", "/nowhere/seed.img"}, exitUsage, "no such file"},
		{[]string{"list", "--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"list"}, exitFailed, "atoll-lab up"},
		{[]string{"kill", "hk1"}, exitFailed, "atoll-lab up"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			_, messages, code := p.run(tt.args...)
			if code != tt.code || !strings.Contains(messages, tt.says) {
				t.Errorf("got exit code %d and %q, want %d and %q", code, messages, tt.code, tt.says)
			}
		})
	}
}
