package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// engine returns the path of Terraform, or of OpenTofu, which is built first where there is neither.
func engine(ctx context.Context, p *rig.Programs) (string, error) {
	need := exec.CommandContext(ctx, filepath.Join(p.Source, "internal", "tools", "need"), "engine")
	need.Stderr = os.Stderr
	out, err := need.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(need.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
