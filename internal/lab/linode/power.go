package linode

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

func (s *Server) powerRoutes() []route {
	const scope = "linodes:read_write"
	return []route{
		{"POST /linode/instances/{id}/boot", scope, limitOther, s.bootInstance},
		{"POST /linode/instances/{id}/reboot", scope, limitOther, s.rebootInstance},
		{"POST /linode/instances/{id}/shutdown", scope, limitOther, s.shutdownInstance},
		{"POST /linode/instances/{id}/rebuild", scope, limitOther, s.rebuildInstance},
		{"POST /linode/instances/{id}/password", scope, limitOther, s.setPassword},
	}
}

func (s *Server) bootInstance(c *call) (any, error) {
	return s.power(c, func(i *instance) error {
		if i.View.Status == statusRunning {
			return fail(http.StatusBadRequest, fmt.Sprintf("Linode %d already booted.", i.View.ID))
		}
		s.boot(i, c.fault)
		return nil
	})
}

func (s *Server) rebootInstance(c *call) (any, error) {
	return s.power(c, func(i *instance) error {
		s.reboot(i, c.fault)
		return nil
	})
}

func (s *Server) shutdownInstance(c *call) (any, error) {
	return s.power(c, func(i *instance) error {
		s.shutdown(i, c.fault)
		return nil
	})
}

// power does what boot, reboot and shutdown have in common.
func (s *Server) power(c *call, do func(*instance) error) (any, error) {
	var in struct {
		ConfigID *int `json:"config_id"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findIdle(c)
	if err != nil {
		return nil, err
	}
	if in.ConfigID != nil && *in.ConfigID != 0 && i.config(*in.ConfigID) == nil {
		return nil, invalid("config_id", "config_id is not valid")
	}
	return nil, do(i)
}

func (s *Server) setPassword(c *call) (any, error) {
	var in struct {
		RootPass string `json:"root_pass"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findIdle(c)
	if err != nil {
		return nil, err
	}
	if i.View.Status != statusOffline {
		return nil, fail(http.StatusBadRequest, "Linode must be powered off to change its password.")
	}
	if len(in.RootPass) < 7 || len(in.RootPass) > 128 {
		return nil, invalid("root_pass", "Length must be 7-128 characters")
	}
	s.notify("password_reset", instanceEntity(i), nil)
	return nil, nil
}

// provision is the job of a new instance. The caller holds the lock, as in all functions below.
func (s *Server) provision(i *instance, fault *Fault) {
	var image *entity
	if i.View.Image != nil {
		image = s.imageEntity(*i.View.Image)
	}
	s.install(i, fault, s.record("linode_create", instanceEntity(i), image), nil)
}

// install waits for the image to be in place and boots the instance when that is wanted.
func (s *Server) install(i *instance, fault *Fault, e *event, work func(context.Context) error) {
	steps := []step{
		{nil, func() { s.progress(e, eventStarted, 0) }},
		{work, func() { s.progress(e, eventStarted, 50) }},
	}
	failed := func(err error) {
		s.abandon(e, err)
		s.become(i, statusOffline)
	}
	ready := func() {
		i.makeDisksReady()
		s.progress(e, eventFinished, 100)
	}
	if !i.Booted {
		steps = append(steps, step{nil, func() {
			ready()
			s.become(i, statusOffline)
		}})
		s.begin(&job{about: i.View.ID, steps: steps, failed: failed}, fault)
		return
	}
	// The boot belongs to the same job, so that no other request can come between.
	var boot *event
	steps = append(steps, step{nil, func() {
		ready()
		boot = s.recordBoot(i)
		s.become(i, statusBooting)
	}})
	steps = append(steps, s.bootSteps(i, func() *event { return boot })...)
	s.begin(&job{about: i.View.ID, steps: steps, failed: func(err error) {
		if boot != nil {
			s.abandon(boot, err)
			s.become(i, statusOffline)
			return
		}
		failed(err)
	}}, fault)
}

func (s *Server) recordBoot(i *instance) *event {
	var config *entity
	if len(i.Configs) > 0 {
		config = i.Configs[0].entity(i.View.ID)
	}
	return s.record("linode_boot", instanceEntity(i), config)
}

func (s *Server) boot(i *instance, fault *Fault) {
	i.Booted = true
	s.become(i, statusBooting)
	e := s.recordBoot(i)
	s.begin(&job{
		about: i.View.ID,
		steps: s.bootSteps(i, func() *event { return e }),
		failed: func(err error) {
			s.abandon(e, err)
			s.become(i, statusOffline)
		},
	}, fault)
}

// bootSteps asks for the event late: during a creation it does not exist yet.
func (s *Server) bootSteps(i *instance, e func() *event) []step {
	return []step{
		{nil, func() { s.progress(e(), eventStarted, 0) }},
		{func(ctx context.Context) error { return s.Machines.Boot(ctx, i.View.ID) }, func() {
			s.progress(e(), eventFinished, 100)
			s.become(i, statusRunning)
		}},
	}
}

func (s *Server) reboot(i *instance, fault *Fault) {
	wasOn := i.View.Status == statusRunning
	i.Booted = true
	s.become(i, statusRebooting)
	s.single(i, fault, "linode_reboot", statusRunning, func(ctx context.Context) error {
		if !wasOn {
			return s.Machines.Boot(ctx, i.View.ID)
		}
		return s.Machines.Reboot(ctx, i.View.ID)
	})
}

func (s *Server) shutdown(i *instance, fault *Fault) {
	i.Booted = false
	s.become(i, statusShuttingDown)
	s.single(i, fault, "linode_shutdown", statusOffline, func(ctx context.Context) error {
		return s.Machines.Shutdown(ctx, i.View.ID)
	})
}

// single is a job with one event and one piece of work.
func (s *Server) single(i *instance, fault *Fault, action string, after Status, work func(context.Context) error) {
	before := statusOffline
	if action == "linode_shutdown" {
		before = statusRunning
	}
	e := s.record(action, instanceEntity(i), nil)
	s.begin(&job{
		about: i.View.ID,
		steps: []step{
			{nil, func() { s.progress(e, eventStarted, 0) }},
			{work, func() {
				s.progress(e, eventFinished, 100)
				s.become(i, after)
			}},
		},
		failed: func(err error) {
			s.abandon(e, err)
			s.become(i, before)
		},
	}, fault)
}

// remove lets the instance vanish from the API at once, as the vendor does, and the machine soon.
func (s *Server) remove(i *instance, fault *Fault) {
	id := i.View.ID
	previous := s.drop(id)
	e := s.record("linode_delete", instanceEntity(i), nil)
	s.become(i, statusDeleting)
	i.Booted, i.UserData = false, ""
	s.state.Attachments = slices.DeleteFunc(s.state.Attachments, func(a attachment) bool { return a.Instance == id })
	s.begin(&job{
		about: id,
		steps: []step{
			{nil, func() { s.progress(e, eventStarted, 0) }},
			{func(ctx context.Context) error {
				if previous != nil {
					<-previous
				}
				return s.Machines.Delete(ctx, id)
			}, func() {
				s.progress(e, eventFinished, 100)
				delete(s.state.Instances, id)
			}},
		},
		// The machine may still be there: the entry stays, unseen, and a restarted lab tries again.
		failed: func(err error) { s.abandon(e, err) },
	}, fault)
}

func (s *Server) become(i *instance, status Status) {
	i.View.Status, i.View.Updated = status, s.now()
}
