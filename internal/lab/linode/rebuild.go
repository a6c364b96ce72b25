package linode

import "context"

// rebuildInstance puts an instance back to an image; its addresses stay.
func (s *Server) rebuildInstance(c *call) (any, error) {
	var in deployment
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findIdle(c)
	if err != nil {
		return nil, err
	}
	region, _ := s.region(i.View.Region)
	var bad problems
	image := s.checkDeploy(&bad, in, region)
	if in.Image == nil {
		bad.add("image", "image is required")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	i.deploy(s, c, in, image, defaultSwap)
	s.become(i, statusRebuilding)
	view, machine := i.View, i.machine()
	s.install(i, c.fault, s.record("linode_rebuild", instanceEntity(i), s.imageEntity(image.ID)), func(ctx context.Context) error {
		defer s.contents.hold(machine.ImageFile)()
		return s.remake(ctx, i, machine)
	})
	return view, nil
}

// remake is called without the lock.
func (s *Server) remake(ctx context.Context, i *instance, m Machine) error {
	if r, ok := s.Machines.(Rebuilder); ok {
		return r.Rebuild(ctx, m)
	}
	if err := s.Machines.Delete(ctx, m.ID); err != nil {
		return err
	}
	addresses, err := s.Machines.Create(ctx, m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i.setAddresses(addresses.fill(m.ID))
	return nil
}
