//go:build unix

package store_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
	"github.com/atollhq/terraform-provider-atoll/internal/store"
	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// The environment of the process that TestKilledWriter kills.
const (
	envWriterDir = "ATOLL_TEST_WRITER_DIR"
	envWriterKey = "ATOLL_TEST_WRITER_KEY"
)

// TestMain lets the test binary be the writer that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envWriterDir); dir != "" {
		if err := write(dir, os.Getenv(envWriterKey), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// write merges new generations of a few nodes without end, removes one now and then, and prints "name generation" once
// each is acknowledged.
func write(dir, keyFile string, out io.Writer) error {
	pem, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	key, err := trust.ParseSigningKey(pem)
	if err != nil {
		return err
	}
	op := operator{dying{}, key}
	s, err := store.Open(dir, op.root(), store.Options{Now: noon})
	if err != nil {
		return err
	}
	var newest uint64
	for _, generation := range s.Snapshot().Generations {
		newest = max(newest, generation)
	}
	for generation := max(newest, at(0)) + 1; ; generation++ {
		name := nodeName(int(generation % 5))
		r := op.node(name, generation, "hk", trust.PublicKey{})
		if generation%7 == 0 {
			r = op.tombstone(spec.KindNode, name, generation)
		}
		if o := s.Merge([]store.Record{r})[0]; o.Result != store.Accepted {
			return fmt.Errorf("generation %d: %+v", generation, o)
		}
		if _, err := fmt.Fprintln(out, name, generation); err != nil {
			return err
		}
	}
}

// dying is the failer of the writer.
type dying struct{}

func (dying) Helper() {}

func (dying) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// TestKilledWriter kills a process that writes a store at moments of all kinds. Whatever it had acknowledged is there, or
// something newer; nothing is damaged; and the next writer goes on from there.
func TestKilledWriter(t *testing.T) {
	const kills = 25
	key, err := trust.NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	keyFile, dir := filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(keyFile, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	root := trust.Root{Cluster: clusterName, Key: key.Public()}
	acked := map[string]uint64{}
	for range kills {
		killWriter(t, dir, keyFile, acked)
		s, err := store.Open(dir, root, store.Options{Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		snap := s.Snapshot()
		if len(snap.Damaged) != 0 {
			t.Fatalf("damaged: %q", snap.Damaged)
		}
		for name, generation := range acked {
			if got := snap.Generations[ref(spec.KindNode, name)]; got < generation {
				t.Fatalf("%s has generation %d, but %d was acknowledged", name, got, generation)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) != 5 {
		t.Errorf("only %v was acknowledged in %d runs: the test has shown little", acked, kills)
	}
}

// killWriter starts a writer, kills it at a random moment after its first acknowledgement, and notes what it had
// acknowledged.
func killWriter(t *testing.T, dir, keyFile string, acked map[string]uint64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envWriterDir+"="+dir, envWriterKey+"="+keyFile)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var trouble strings.Builder
	cmd.Stderr = &trouble
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		_ = cmd.Wait()
		t.Fatalf("the writer wrote nothing: %s", trouble.String())
	}
	note(t, lines.Text(), acked)
	kill := time.AfterFunc(rand.N(20*time.Millisecond), func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for lines.Scan() {
		note(t, lines.Text(), acked)
	}
	if err := cmd.Wait(); err == nil || trouble.Len() > 0 {
		t.Fatalf("the writer ended by itself: %v %s", err, trouble.String())
	}
}

func note(t *testing.T, line string, acked map[string]uint64) {
	t.Helper()
	name, text, ok := strings.Cut(line, " ")
	generation, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil {
		// The last line may be cut off by the kill, and then was not acknowledged.
		return
	}
	acked[name] = max(acked[name], generation)
}
