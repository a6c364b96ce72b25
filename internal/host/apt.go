package host

import (
	"context"
	"errors"
	"fmt"
)

// Apt installs Debian packages on a machine.
type Apt struct{ sys System }

// NewApt returns the packages of the Debian machine sys.
func NewApt(sys System) *Apt { return &Apt{sys: sys} }

// Ensure installs those packages whose program is missing. It looks for the program and not for the package, so a program
// that came otherwise is left alone, and nothing is ever upgraded. While another process holds the package database, it
// waits for up to five minutes. Services that an installation starts and nobody wants are stopped and disabled.
func (a *Apt) Ensure(ctx context.Context, packages ...Package) (bool, error) {
	var missing, services []string
	for _, p := range packages {
		there, err := a.has(ctx, p.Binary)
		if err != nil {
			return false, err
		}
		if !there {
			missing = append(missing, p.Name)
			if p.Service != "" {
				services = append(services, p.Service)
			}
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	err := a.install(ctx, missing)
	if err == nil {
		return true, a.quiet(ctx, services)
	}
	// The lists of a fresh or old machine name packages that the mirror no longer has.
	if _, updateErr := a.aptGet(ctx, "update"); updateErr != nil {
		return false, fmt.Errorf("install packages %v: %w", missing, errors.Join(err, updateErr))
	}
	if err := a.install(ctx, missing); err != nil {
		return false, fmt.Errorf("install packages %v: %w", missing, err)
	}
	return true, a.quiet(ctx, services)
}

// quiet stops what packages have started that were just installed. What the machine had before is not touched.
func (a *Apt) quiet(ctx context.Context, services []string) error {
	for _, name := range services {
		if _, err := a.sys.Run(ctx, Command{Name: "systemctl", Args: []string{"disable", "--now", name}}); err != nil {
			return fmt.Errorf("stop what the installation has started: %w", err)
		}
	}
	return nil
}

func (a *Apt) has(ctx context.Context, binary string) (bool, error) {
	_, err := a.sys.Run(ctx, Command{Name: "sh", Args: []string{"-c", `command -v -- "$0"`, binary}, ReadOnly: true})
	var failed *CommandError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &failed) && failed.ExitCode > 0:
		return false, nil
	default:
		return false, fmt.Errorf("look for program %s: %w", binary, err)
	}
}

func (a *Apt) install(ctx context.Context, names []string) error {
	_, err := a.aptGet(ctx, append([]string{"install", "--yes", "--no-install-recommends"}, names...)...)
	return err
}

func (a *Apt) aptGet(ctx context.Context, args ...string) (Output, error) {
	return a.sys.Run(ctx, Command{
		Name: "apt-get",
		Args: append([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args...),
		Env:  []string{"DEBIAN_FRONTEND=noninteractive"},
	})
}
