// Package images holds the one description of a node: the packages, files and scripts that turn a Debian system into one,
// and the check that the result is sealed. Packer builds disks from it (the folders base, qemu and linode hold its
// templates), and the lab the root file system of its nodes, so that the two cannot drift apart.
package images

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed all:node
var files embed.FS

// Suite is the Debian release that nodes are built from.
const Suite = "trixie"

// databasePrefix starts the names of the lists that a variable of the build chooses.
const databasePrefix = "database-"

// Description returns the tree of the description: build.sh, which runs scripts/*.sh over packages/ and rootfs/, and check.sh.
func Description() fs.FS {
	// The folder is part of the program.
	sub, err := fs.Sub(files, "node")
	if err != nil {
		panic(err)
	}
	return sub
}

// ContainerLists returns the lists of Suite whose packages the lab's nodes have: all but those that need a machine of their own, with
// a kernel, a clock and a disk.
func ContainerLists() []string { return []string{"base", "mesh", "files", "balancer"} }

// UnstableLists returns the lists whose packages the lab's nodes have as well, and which come from Debian's unstable because
// Suite does not have them.
func UnstableLists() []string { return []string{databasePrefix + "mysql"} }

// BaseLists returns the lists whose packages the base disk has. Packer adds the others.
func BaseLists() []string { return []string{"base", "machine", "boot"} }

// Lists returns the name of every package list, sorted.
func Lists() []string {
	names, err := fs.Glob(Description(), "packages/*.list")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(path.Base(name), ".list")
	}
	slices.Sort(names)
	return names
}

// Databases returns the database engines that an image can have, sorted.
func Databases() []string {
	var engines []string
	for _, name := range Lists() {
		if engine, ok := strings.CutPrefix(name, databasePrefix); ok {
			engines = append(engines, engine)
		}
	}
	return engines
}

// Packages returns the Debian packages of some lists, in order, each once. It fails for a list that does not exist.
func Packages(lists ...string) ([]string, error) {
	var packages []string
	for _, list := range lists {
		text, err := fs.ReadFile(Description(), "packages/"+list+".list")
		if err != nil {
			return nil, fmt.Errorf("read a package list: %w (there are %s)", err, strings.Join(Lists(), ", "))
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			name, _, _ := strings.Cut(lines.Text(), "#")
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(packages, name) {
				packages = append(packages, name)
			}
		}
	}
	return packages, nil
}

// Digest identifies the description: a hash over the names and contents of all its files.
func Digest() string {
	hash := sha256.New()
	err := fs.WalkDir(Description(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(Description(), name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(hash, "%s\x00%d\x00%s", name, len(text), text)
		return err
	})
	if err != nil {
		panic(err) // the tree is part of the program, and a hash takes everything
	}
	return hex.EncodeToString(hash.Sum(nil))
}
