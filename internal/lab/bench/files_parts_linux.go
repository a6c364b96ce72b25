package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The programs of a node whose CPU is told apart.
const (
	partUnison = "unison"
	partWorker = "worker"
	partAgent  = "agent"
	partMesh   = "mesh"
	partOther  = "others"
)

var filesParts = []string{partUnison, partWorker, partAgent, partMesh, partOther}

// partsOf returns what the programs of a machine have used so far, with what they have waited for, by the part of Atoll that they are.
func partsOf(h filesHost) (map[string]time.Duration, error) {
	pid, err := h.pid()
	if err != nil {
		return nil, err
	}
	machine, err := groupOf(pid)
	if err != nil {
		return nil, err
	}
	machine = path.Dir(machine) // that of its first process is a scope
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parts := map[string]time.Duration{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			return nil, err
		}
		group, err := groupOf(pid)
		if err != nil || !strings.HasPrefix(group, machine+"/") {
			continue // it is another machine's, or gone
		}
		name, err := os.ReadFile(filepath.Join(entry, "comm"))
		if err != nil {
			continue
		}
		if u, err := useOf(pid); err == nil {
			parts[partOf(path.Base(group), strings.TrimSpace(string(name)))] += u.cpu
		}
	}
	return parts, nil
}

// groupOf returns the control group of a process (cgroups(7)).
func groupOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return group, nil
		}
	}
	return "", fmt.Errorf("process %d has no control group of version 2", pid)
}

// partOf tells which part a process is by its unit and its name.
func partOf(unit, name string) string {
	pair := strings.HasPrefix(unit, "atoll-pair-")
	switch {
	case pair && strings.HasPrefix(name, "unison"):
		return partUnison
	case pair:
		return partWorker
	case unit == "atolld.service":
		return partAgent
	case slices.ContainsFunc([]string{"wireguard", "tinc"}, func(mesh string) bool { return strings.Contains(unit, mesh) }):
		return partMesh
	}
	return partOther
}

// shares returns how much of a CPU each part took over a while, in per cent, on the machine that took more of it.
func shares(before, after [2]map[string]time.Duration, over time.Duration) map[string]float64 {
	out := map[string]float64{}
	for _, part := range filesParts {
		for i := range after {
			out[part] = max(out[part], 100*(after[i][part]-before[i][part]).Seconds()/over.Seconds())
		}
	}
	return out
}

// partsText says what each part takes, and what it took without a pair.
func partsText(with, without map[string]float64) string {
	var out []string
	for _, part := range filesParts {
		text := fmt.Sprintf("%s %.2f %%", part, with[part])
		if without[part] > 0 {
			text += fmt.Sprintf(" (%.2f without a pair)", without[part])
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}
