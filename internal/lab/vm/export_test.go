//go:build linux

package vm

import "context"

// Entry is what a GRUB configuration's first entry starts.
type Entry struct {
	Kernel    string
	Initrds   []string
	Arguments string
}

// ParseGrub is parseGrub.
func ParseGrub(text string) (Entry, error) {
	e, err := parseGrub(text)
	return Entry{Kernel: e.kernel, Initrds: e.initrds, Arguments: e.arguments}, err
}

// ReadFile reads a file out of the file system on a disk.
func ReadFile(ctx context.Context, disk, name string) ([]byte, error) {
	return filesystem{disk}.read(ctx, name)
}

// Argv is the command line of a machine with that configuration; kernel arguments are as given.
func Argv(c Config, kernelArguments string) []string {
	c = c.withDefaults()
	p := places{dir: c.Dir}
	if !c.DirectKernel {
		return c.argv(p, c.Run+"/qemu", nil)
	}
	return c.argv(p, c.Run+"/qemu", &kernel{image: p.kernel(), initrd: p.initrd(), arguments: kernelArguments})
}
