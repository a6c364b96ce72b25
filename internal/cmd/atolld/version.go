package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3".
var version = ""

// versionText returns the release, or what the build knows of its revision.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "-dirty"
			}
		}
	}
	if revision != "" {
		return "devel-" + revision + dirty
	}
	return "devel"
}

// versionFacts is what a bill of materials wants to know of this program.
type versionFacts struct {
	Version string   `json:"version"`
	Wire    int      `json:"wire"`
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	Go      string   `json:"go"`
	Module  string   `json:"module"`
	Modules []module `json:"modules"`
}

// module is a Go module that is part of this program.
type module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

func newVersionFacts() versionFacts {
	f := versionFacts{
		Version: versionText(), Wire: spec.WireVersion, OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(),
		Modules: []module{{Path: "stdlib", Version: strings.TrimPrefix(runtime.Version(), "go")}},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return f
	}
	f.Module = info.Main.Path
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		f.Modules = append(f.Modules, module{Path: m.Path, Version: m.Version})
	}
	return f
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version.\n\nWith --json also that of the signed form of objects that it speaks, and the Go modules that it is made of.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(newVersionFacts())
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "atolld %s %s/%s %s\n", versionText(), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all of it, as JSON")
	return cmd
}
