package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// benchSize measures the programs as they are shipped.
func benchSize(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err := rig.Build(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	var rows [][]string
	for _, name := range []string{"atolld", "atoll", "terraform-provider-atoll"} {
		info, err := os.Stat(programs.Path(name))
		if err != nil {
			return err
		}
		rows = append(rows, []string{name, fmt.Sprintf("%.1f MB", float64(info.Size())/1e6)})
	}
	printTable(out, []string{"program", "size"}, rows)
	return nil
}
