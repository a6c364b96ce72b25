package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// use is what a process has used of the machine.
type use struct {
	cpu time.Duration
	rss int // KiB
}

// idle measures what agents and mesh take while nothing happens.
func (b *labBench) idle(ctx context.Context) error {
	before, err := b.uses()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleFor):
	}
	after, err := b.uses()
	if err != nil {
		return err
	}
	var rows [][]string
	for _, node := range labNodes {
		for _, program := range []string{"atolld", "tincd"} {
			now, then := after[node+program], before[node+program]
			rows = append(rows, []string{
				node, program, fmt.Sprintf("%.1f MB", float64(now.rss)*1024/1e6),
				fmt.Sprintf("%.2f %%", 100*(now.cpu-then.cpu).Seconds()/idleFor.Seconds()),
			})
		}
	}
	fmt.Fprintf(b.out, "Idle cluster of three nodes, over %s (share of one CPU):\n\n", idleFor)
	printTable(b.out, []string{"node", "program", "resident memory", "CPU, with its commands"}, rows)
	return nil
}

// uses looks at the programs of every node. The lab's nodes are processes of this machine; the network namespace tells
// whose a process is.
func (b *labBench) uses() (map[string]use, error) {
	byNamespace := map[string]string{}
	for _, node := range labNodes {
		machine, err := b.Node(node)
		if err != nil {
			return nil, err
		}
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", machine.PID))
		if err != nil {
			return nil, err
		}
		byNamespace[ns] = node
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := map[string]use{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			continue // it is gone
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if node, ours := byNamespace[ns]; err == nil && ours {
			if u, err := useOf(pid); err == nil {
				out[node+strings.TrimSpace(string(name))] = u
			}
		}
	}
	return out, nil
}

// useOf reads a process's statistics: user and system time, with that of the processes it has waited for, and resident pages.
func useOf(pid int) (use, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return use{}, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var numbers [5]int
	for i, field := range []int{11, 12, 13, 14, 21} { // utime, stime, cutime and cstime in ticks, rss in pages
		if numbers[i], err = strconv.Atoi(fields[field]); err != nil {
			return use{}, err
		}
	}
	const tick = 10 * time.Millisecond
	return use{cpu: time.Duration(numbers[0]+numbers[1]+numbers[2]+numbers[3]) * tick, rss: numbers[4] * os.Getpagesize() / 1024}, nil
}

// dying cuts a node's power and measures until both others report its agent dead, and, with its power back, until the
// cluster is healthy again.
func (b *labBench) dying(ctx context.Context) error {
	const victim = "sg1"
	var noticed, back sample
	for range killRuns {
		from := time.Now()
		if err := b.Kill(ctx, victim); err != nil {
			return err
		}
		if err := b.await(ctx, without(victim), func(node string) bool { return b.sees(ctx, node, victim, false) }); err != nil {
			return err
		}
		noticed = append(noticed, time.Since(from))
		from = time.Now()
		if err := b.PowerOn(ctx, victim); err != nil {
			return err
		}
		if err := b.await(ctx, labNodes, func(node string) bool {
			agent, err := b.Agent(b.cluster, node)
			if err != nil {
				return false
			}
			defer agent.Close()
			status, err := agent.Status(ctx)
			return err == nil && status.Healthy
		}); err != nil {
			return err
		}
		back = append(back, time.Since(from))
	}
	fmt.Fprintln(b.out, "A node's power is cut and given back:")
	fmt.Fprintln(b.out)
	printTable(b.out, append([]string{"until"}, sampleColumns...), [][]string{
		append([]string{"both other nodes report it dead"}, noticed.cells()...),
		append([]string{"power on to every node calling the cluster healthy"}, back.cells()...),
	})
	return nil
}

// sees tells whether a node reports another one's agent as alive or dead.
func (b *labBench) sees(ctx context.Context, node, other string, alive bool) bool {
	agent, err := b.Agent(b.cluster, node)
	if err != nil {
		return false
	}
	defer agent.Close()
	records, err := agent.Status(ctx)
	if err != nil {
		return false
	}
	return (records.Nodes[other].State == "down") == !alive
}
