package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// meshStep keeps the mesh up.
type meshStep struct {
	s *session
}

func (meshStep) name() string { return "mesh" }

func (m meshStep) reconcile(ctx context.Context, in input) error {
	if in.view == nil {
		return nil
	}
	if !in.admitted {
		// The others have cut this node off already. What is there stays: the operator may still decide for it.
		return errors.New("this node's identity is not admitted, so nobody would answer it")
	}
	driver, err := m.s.a.driver(in.view.Mesh.Driver)
	if err != nil {
		return err
	}
	view, rotated := m.s.ownView(ctx, driver, in)
	if err := driver.Apply(ctx, view); err != nil {
		return errors.Join(rotated, err)
	}
	m.s.setDriver(driver)
	if m.s.keyring != nil && m.s.keyring.took(view) {
		// The others wait for that.
		poke(m.s.reorder)
	}
	return rotated
}

// driver returns the mesh driver of that name.
func (a *Agent) driver(name spec.MeshDriver) (mesh.Driver, error) {
	driver, ok := a.drivers[name]
	if !ok {
		return nil, fmt.Errorf("this agent (version %s) does not know mesh driver %q: update it", a.cfg.Version, name)
	}
	return driver, nil
}
