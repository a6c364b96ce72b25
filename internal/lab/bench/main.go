// Command bench measures Atoll on real parts and prints tables for docs/guides/performance.md.
//
//	go run ./internal/lab/bench plan     no-op plans of 100 nodes and 1,000 resources, against a provider that does nothing
//	go run ./internal/lab/bench size     the programs' sizes
//	go run ./internal/lab/bench death    a node's death noticed, with our timers and with memberlist's (Linux)
//	go run ./internal/lab/bench lab      a three-site cluster in the lab: apply, join, spreading, death, memory, CPU (root, Linux)
//	go run ./internal/lab/bench health [-runs N] [-only CAUSE] [-journals DIR]  the health endpoint of a node, from each cause to 503 and back (root, Linux); not part of the whole
//	go run ./internal/lab/bench edge     what visitors see of a node's death, by monitor and by quick removal (root, Linux); not part of the whole
//	go run ./internal/lab/bench database [-runs N]  how long nobody can write: stock Group Replication and Atoll's, fault by fault (root, Linux); not part of the whole
//	go run ./internal/lab/bench files [-files N] [-only W,…] [-mesh M] [-turns N] [-json]  a tree of small files on two machines: Atoll, unison, rsync, syncthing, lsyncd and csync2 (root, Linux); not part of the whole
//	go run ./internal/lab/bench mesh [-cuts N] [-losses N] [-only W,…] [-json]  cut paths, lossy paths and speed: tinc, Atoll's tinc and WireGuard, Nebula (root, Linux); not part of the whole
//	go run ./internal/lab/bench probes   what probes cost each node of 3, 10, 20 and 50 (root, Linux); not part of the whole
//	go run ./internal/lab/bench image    virtual machines of the built image: sizes, kernel to joined, three to a mesh (root, Linux); not part of the whole
//	go run ./internal/lab/bench demo     `make demo`, cold, again and warm (root, Linux); not part of the whole
//
// Without an argument: all but health, edge, database, files, mesh, probes, image and demo, some ten minutes. Where two things are compared they are measured in turns in one
// run: trust the ratios.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	benches := map[string]func(context.Context, io.Writer) error{
		"plan": benchPlan, "size": benchSize, "death": benchDeath, "lab": benchLab, "health": benchHealth, "edge": benchEdge, "database": benchDatabase, "files": benchFiles, "mesh": benchMesh, "probes": benchProbes, "image": benchImage, "demo": benchDemo, "member": runMember,
	}
	if len(args) == 0 {
		args = []string{"size", "death", "lab", "plan"}
	}
	if args[0] != "member" && !slices.Contains(args, "-json") && !slices.Contains(args, "--json") {
		fmt.Fprintf(out, "%s, %d CPUs, %s/%s\n\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	}
	if args[0] == "database" || args[0] == "files" || args[0] == "health" || args[0] == "mesh" {
		args = args[:1] // what follows is its own
	}
	for _, name := range args {
		bench, ok := benches[name]
		if !ok {
			return fmt.Errorf("%q cannot be measured: size, death, lab, health, edge, database, files, mesh, probes, plan, image and demo can", name)
		}
		if err := bench(ctx, out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
