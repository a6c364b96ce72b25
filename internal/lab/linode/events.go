package linode

import (
	"strconv"
)

// maxEvents bounds what a long-lived lab remembers; the vendor forgets after 90 days.
const maxEvents = 5000

// Event statuses, in their order.
const (
	eventScheduled    = "scheduled"
	eventStarted      = "started"
	eventFinished     = "finished"
	eventFailed       = "failed"
	eventNotification = "notification"
)

// event is an entry of the account's log.
type event struct {
	ID              int       `json:"id"`
	Created         timestamp `json:"created"`
	Seen            bool      `json:"seen"`
	Read            bool      `json:"read"`
	PercentComplete *int      `json:"percent_complete"`
	TimeRemaining   *int      `json:"time_remaining"`
	Rate            *string   `json:"rate"`
	Duration        *float64  `json:"duration"`
	Action          string    `json:"action"`
	Username        string    `json:"username"`
	Entity          *entity   `json:"entity"`
	Status          string    `json:"status"`
	SecondaryEntity *entity   `json:"secondary_entity"`
	Message         string    `json:"message"`
}

// entity is what an event or a firewall is about. Its ID is a number or, for images, text.
type entity struct {
	ID    any    `json:"id"`
	Type  string `json:"type"`
	Label string `json:"label"`
	URL   string `json:"url"`
}

func (s *Server) eventRoutes() []route {
	return []route{
		{"GET /account/events", "events:read_only", limitList, s.listEvents},
		{"GET /account/events/{id}", "events:read_only", limitOther, s.getEvent},
		{"POST /account/events/{id}/seen", "events:read_write", limitOther, s.seeEvents},
	}
}

func (s *Server) listEvents(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newestFirst := make([]*event, 0, len(s.state.Events))
	for i := len(s.state.Events) - 1; i >= 0; i-- {
		newestFirst = append(newestFirst, s.state.Events[i])
	}
	return page(c.Request, newestFirst, "id", "action", "created", "entity.id", "entity.type", "percent_complete",
		"rate", "read", "seen", "status", "time_remaining", "username")
}

func (s *Server) getEvent(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.findEvent(c)
	if err != nil {
		return nil, err
	}
	return *found, nil
}

func (s *Server) seeEvents(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, err := s.findEvent(c)
	if err != nil {
		return nil, err
	}
	for _, e := range s.state.Events {
		e.Seen = e.Seen || e.ID <= last.ID
	}
	return nil, nil
}

func (s *Server) findEvent(c *call) (*event, error) {
	id, err := c.number("id")
	if err != nil {
		return nil, err
	}
	for _, e := range s.state.Events {
		if e.ID == id {
			return e, nil
		}
	}
	return nil, notFound()
}

// record adds a scheduled event. The caller holds the lock.
func (s *Server) record(action string, about, second *entity) *event {
	zero := 0
	e := &event{
		ID: s.state.nextID(), Created: s.now(), Action: action, Username: username, Status: eventScheduled,
		PercentComplete: &zero, Entity: about, SecondaryEntity: second,
	}
	s.state.Events = append(s.state.Events, e)
	if extra := len(s.state.Events) - maxEvents; extra > 0 {
		s.state.Events = s.state.Events[extra:]
	}
	return e
}

// event returns an event by its number; one that was forgotten is not missed. The caller holds the lock.
func (s *Server) event(id int) *event {
	for _, e := range s.state.Events {
		if e.ID == id {
			return e
		}
	}
	return &event{ID: id, Created: s.now()}
}

// notify adds an event for something that was done at once. The caller holds the lock.
func (s *Server) notify(action string, about, second *entity) {
	e := s.record(action, about, second)
	e.Status, e.PercentComplete = eventNotification, nil
}

// progress moves an event on. The caller holds the lock.
func (s *Server) progress(e *event, status string, percent int) {
	elapsed := s.Now().Sub(e.Created.Time).Seconds()
	e.Status, e.PercentComplete, e.Duration = status, &percent, &elapsed
	if status == eventFinished || status == eventFailed {
		zero := 0
		e.TimeRemaining = &zero
	}
}

func (s *Server) abandon(e *event, why error) {
	percent := 0
	if e.PercentComplete != nil {
		percent = *e.PercentComplete
	}
	s.progress(e, eventFailed, percent)
	e.Message = why.Error()
}

func instanceEntity(i *instance) *entity {
	return &entity{ID: i.View.ID, Type: "linode", Label: i.View.Label, URL: instanceURL(i.View.ID)}
}

func instanceURL(id int) string { return "/v4/linode/instances/" + strconv.Itoa(id) }
