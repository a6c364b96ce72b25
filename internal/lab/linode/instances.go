package linode

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
)

// Status is what an instance is doing.
type Status string

// The statuses that the emulator uses.
const (
	statusProvisioning Status = "provisioning"
	statusBooting      Status = "booting"
	statusRunning      Status = "running"
	statusRebooting    Status = "rebooting"
	statusShuttingDown Status = "shutting_down"
	statusOffline      Status = "offline"
	statusRebuilding   Status = "rebuilding"
	statusDeleting     Status = "deleting"
)

// Instance is an instance as the API shows it.
type Instance struct {
	ID                  int             `json:"id"`
	Label               string          `json:"label"`
	Group               string          `json:"group"`
	Status              Status          `json:"status"`
	Created             timestamp       `json:"created"`
	Updated             timestamp       `json:"updated"`
	Type                string          `json:"type"`
	IPv4                []netip.Addr    `json:"ipv4"`
	IPv6                netip.Prefix    `json:"ipv6"`
	Image               *string         `json:"image"`
	Region              string          `json:"region"`
	SiteType            string          `json:"site_type"`
	Specs               specs           `json:"specs"`
	Alerts              alerts          `json:"alerts"`
	Backups             backups         `json:"backups"`
	Hypervisor          string          `json:"hypervisor"`
	WatchdogEnabled     bool            `json:"watchdog_enabled"`
	Tags                []string        `json:"tags"`
	HostUUID            string          `json:"host_uuid"`
	HasUserData         bool            `json:"has_user_data"`
	PlacementGroup      *placementGroup `json:"placement_group"`
	DiskEncryption      string          `json:"disk_encryption"`
	LKEClusterID        *int            `json:"lke_cluster_id"`
	Capabilities        []string        `json:"capabilities"`
	InterfaceGeneration string          `json:"interface_generation"`
	MaintenancePolicy   string          `json:"maintenance_policy"`
	Locks               []string        `json:"locks"`
}

type specs struct {
	Disk               int `json:"disk"`
	Memory             int `json:"memory"`
	VCPUs              int `json:"vcpus"`
	GPUs               int `json:"gpus"`
	Transfer           int `json:"transfer"`
	AcceleratedDevices int `json:"accelerated_devices"`
}

type alerts struct {
	CPU           int `json:"cpu"`
	NetworkIn     int `json:"network_in"`
	NetworkOut    int `json:"network_out"`
	TransferQuota int `json:"transfer_quota"`
	IO            int `json:"io"`
}

type backups struct {
	Enabled        bool       `json:"enabled"`
	Available      bool       `json:"available"`
	Schedule       schedule   `json:"schedule"`
	LastSuccessful *timestamp `json:"last_successful"`
}

type schedule struct {
	Day    *string `json:"day"`
	Window *string `json:"window"`
}

type placementGroup struct {
	ID int `json:"id"`
}

// instance is an instance with what the API does not show.
type instance struct {
	View           Instance  `json:"view"`
	UserData       string    `json:"user_data,omitempty"` // base64, as it was sent
	AuthorizedKeys []string  `json:"authorized_keys,omitempty"`
	Addresses      Addresses `json:"addresses"`
	Booted         bool      `json:"booted"` // what the last request wanted
	Disks          []disk    `json:"disks"`
	Configs        []config  `json:"configs"`
	// Interfaces are those that were asked for, of the legacy generation only.
	Interfaces []legacyInterface `json:"interfaces,omitempty"`
	// Nics are the interfaces of the newer generation.
	Nics      []nic  `json:"nics,omitempty"`
	imageFile string // of the image, while it is being made
	rootPass  string // while it is being made
}

func (s *Server) instanceRoutes() []route {
	return []route{
		{"POST /linode/instances", "linodes:read_write", limitCreate, s.createInstance},
		{"GET /linode/instances", "linodes:read_only", limitList, s.listInstances},
		{"GET /linode/instances/{id}", "linodes:read_only", limitOther, s.getInstance},
		{"PUT /linode/instances/{id}", "linodes:read_write", limitOther, s.updateInstance},
		{"DELETE /linode/instances/{id}", "linodes:read_write", limitOther, s.deleteInstance},
	}
}

func (s *Server) listInstances(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	views := []Instance{}
	for _, i := range s.state.sorted() {
		if i.View.Status != statusDeleting {
			views = append(views, i.View)
		}
	}
	return page(c.Request, views, "id", "label", "group", "image", "region", "tags", "type")
}

func (s *Server) getInstance(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	return i.View, nil
}

// find returns the instance of the request's path. One that is being deleted is gone. The caller
// holds the lock.
func (s *Server) find(c *call) (*instance, error) {
	id, err := c.number("id")
	if err != nil {
		return nil, err
	}
	if i := s.state.Instances[id]; i != nil && i.View.Status != statusDeleting {
		return i, nil
	}
	return nil, notFound()
}

// findIdle is find for requests that need the instance to have no unfinished job.
func (s *Server) findIdle(c *call) (*instance, error) {
	i, err := s.find(c)
	if err == nil && s.jobs[i.View.ID] != nil {
		return nil, busy()
	}
	return i, err
}

func (s *Server) updateInstance(c *call) (any, error) {
	var in struct {
		Label             *string   `json:"label"`
		Group             *string   `json:"group"`
		Tags              *[]string `json:"tags"`
		Alerts            *alerts   `json:"alerts"`
		WatchdogEnabled   *bool     `json:"watchdog_enabled"`
		MaintenancePolicy *string   `json:"maintenance_policy"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	var bad problems
	if in.Label != nil && *in.Label != i.View.Label {
		s.checkLabel(&bad, *in.Label)
	}
	if in.Tags != nil {
		checkTags(&bad, *in.Tags)
	}
	if in.MaintenancePolicy != nil && !slices.Contains(maintenancePolicies(), *in.MaintenancePolicy) {
		bad.add("maintenance_policy", "Unsupported maintenance policy slug format.")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	set(&i.View.Label, in.Label)
	set(&i.View.Group, in.Group)
	if in.Tags != nil {
		i.View.Tags = sortedTags(*in.Tags)
	}
	set(&i.View.Alerts, in.Alerts)
	set(&i.View.WatchdogEnabled, in.WatchdogEnabled)
	set(&i.View.MaintenancePolicy, in.MaintenancePolicy)
	i.View.Updated = s.now()
	s.notify("linode_update", instanceEntity(i), nil)
	return i.View, nil
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (s *Server) deleteInstance(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	s.remove(i, c.fault)
	return nil, nil
}

// Instances returns the account's instances by ID, as the API shows them.
func (s *Server) Instances() []Instance {
	s.start()
	s.mu.Lock()
	defer s.mu.Unlock()
	views := []Instance{}
	for _, i := range s.state.sorted() {
		if i.View.Status != statusDeleting {
			views = append(views, i.View)
		}
	}
	return views
}

// SetRunning tells the server that a machine was switched on or off by something other than the API,
// e.g. a power cut. It does nothing for an unknown instance or one with an unfinished job.
func (s *Server) SetRunning(id int, running bool) {
	s.start()
	s.mu.Lock()
	i := s.state.Instances[id]
	known := i != nil && s.jobs[id] == nil
	if known {
		i.View.Status, i.Booted = statusOffline, running
		if running {
			i.View.Status = statusRunning
		}
		i.View.Updated = s.now()
	}
	s.mu.Unlock()
	if known {
		s.changed()
	}
}

// hostUUID is the same for all instances of a region: one host is enough for a lab.
func hostUUID(region string) string {
	sum := sha256.Sum256([]byte("host " + region))
	return hex.EncodeToString(sum[:20]) // the vendor's have 40 digits
}

func maintenancePolicies() []string { return []string{"linode/migrate", "linode/power_off_on"} }

func sortedTags(tags []string) []string {
	out := slices.Clone(tags)
	slices.Sort(out)
	out = slices.Compact(out)
	if out == nil {
		out = []string{}
	}
	return out
}

func checkTags(bad *problems, tags []string) {
	for n, tag := range tags {
		if len(tag) < 3 || len(tag) > 50 {
			bad.add("tags", "tags["+strconv.Itoa(n)+"]: Length must be 3-50 characters")
		}
	}
}
