// Package tools holds what the make targets run: short shell scripts, and in go.mod the exact versions of the tools
// that are built from Go modules. It is a module of its own, so that the product depends on none of them.
package tools
