package linode

import (
	"strconv"
)

// defaultSwap is in MiB.
const defaultSwap = 512

// Statuses of disks.
const (
	diskReady = "ready"
	diskBusy  = "not ready"
)

type disk struct {
	ID             int       `json:"id"`
	Status         string    `json:"status"`
	Label          string    `json:"label"`
	Created        timestamp `json:"created"`
	Updated        timestamp `json:"updated"`
	Filesystem     string    `json:"filesystem"`
	Size           int       `json:"size"` // MiB
	DiskEncryption string    `json:"disk_encryption"`
}

// config is what an instance boots with.
type config struct {
	ID          int                `json:"id"`
	Label       string             `json:"label"`
	Helpers     helpers            `json:"helpers"`
	Kernel      string             `json:"kernel"`
	Comments    string             `json:"comments"`
	MemoryLimit int                `json:"memory_limit"`
	Created     timestamp          `json:"created"`
	Updated     timestamp          `json:"updated"`
	RootDevice  string             `json:"root_device"`
	Devices     map[string]*device `json:"devices"`
	Initrd      *string            `json:"initrd"`
	RunLevel    string             `json:"run_level"`
	VirtMode    string             `json:"virt_mode"`
	Interfaces  []configInterface  `json:"interfaces"`
}

// configInterface is a network interface of the legacy generation.
type configInterface struct {
	ID          int       `json:"id"`
	Purpose     string    `json:"purpose"`
	Primary     bool      `json:"primary"`
	Active      bool      `json:"active"`
	IPAMAddress *string   `json:"ipam_address"`
	Label       *string   `json:"label"`
	VPCID       *int      `json:"vpc_id"`
	SubnetID    *int      `json:"subnet_id"`
	IPv4        *struct{} `json:"ipv4"`
	IPRanges    []string  `json:"ip_ranges"`
	IPv6        *struct{} `json:"ipv6"`
}

type helpers struct {
	UpdateDBDisabled  bool `json:"updatedb_disabled"`
	Distro            bool `json:"distro"`
	ModulesDep        bool `json:"modules_dep"`
	Network           bool `json:"network"`
	DevTmpFsAutomount bool `json:"devtmpfs_automount"`
}

type device struct {
	DiskID   *int `json:"disk_id"`
	VolumeID *int `json:"volume_id"`
}

func (s *Server) diskRoutes() []route {
	const scope = "linodes:read_only"
	return []route{
		{"GET /linode/instances/{id}/disks", scope, limitList, s.listDisks},
		{"GET /linode/instances/{id}/disks/{disk}", scope, limitOther, s.getDisk},
		{"GET /linode/instances/{id}/configs", scope, limitList, s.listConfigs},
		{"GET /linode/instances/{id}/configs/{config}", scope, limitOther, s.getConfig},
		{"GET /linode/instances/{id}/volumes", scope, limitList, s.listVolumes},
	}
}

func (s *Server) listDisks(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	return page(c.Request, i.Disks, "id", "label", "size", "filesystem")
}

func (s *Server) getDisk(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	id, err := c.number("disk")
	if err != nil {
		return nil, err
	}
	for _, d := range i.Disks {
		if d.ID == id {
			return d, nil
		}
	}
	return nil, notFound()
}

func (s *Server) listConfigs(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	return page(c.Request, i.Configs, "id", "label", "kernel")
}

func (s *Server) getConfig(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(c)
	if err != nil {
		return nil, err
	}
	id, err := c.number("config")
	if err != nil {
		return nil, err
	}
	if found := i.config(id); found != nil {
		return *found, nil
	}
	return nil, notFound()
}

// listVolumes has none: the lab has no block storage.
func (s *Server) listVolumes(c *call) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.find(c); err != nil {
		return nil, err
	}
	return page(c.Request, []struct{}{})
}

func (i *instance) config(id int) *config {
	for n := range i.Configs {
		if i.Configs[n].ID == id {
			return &i.Configs[n]
		}
	}
	return nil
}

func (c *config) entity(instance int) *entity {
	return &entity{
		ID: c.ID, Type: "linode_config", Label: c.Label,
		URL: instanceURL(instance) + "/configs/" + strconv.Itoa(c.ID),
	}
}

// layDisks gives the instance the disks and the config that an image comes with. The caller holds the
// server's lock.
func (i *instance) layDisks(s *Server, image *Image, swap int) {
	now := s.now()
	add := func(label, filesystem string, size int) *device {
		d := disk{
			ID: s.state.nextID(), Status: diskBusy, Label: label, Created: now, Updated: now,
			Filesystem: filesystem, Size: size, DiskEncryption: i.View.DiskEncryption,
		}
		i.Disks = append(i.Disks, d)
		return &device{DiskID: &d.ID}
	}
	devices := map[string]*device{}
	for _, name := range []string{"sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh"} {
		devices[name] = nil
	}
	devices["sda"] = add(image.Label+" Disk", "ext4", i.View.Specs.Disk-swap)
	if swap > 0 {
		devices["sdb"] = add(strconv.Itoa(swap)+" MB Swap Image", "swap", swap)
	}
	i.Configs = []config{{
		ID: s.state.nextID(), Label: "My " + image.Label + " Disk Profile", Kernel: "linode/grub2",
		Helpers: helpers{UpdateDBDisabled: true, Distro: true, ModulesDep: true, Network: true, DevTmpFsAutomount: true},
		Created: now, Updated: now, RootDevice: "/dev/sda", Devices: devices, RunLevel: "default", VirtMode: "paravirt",
		Interfaces: []configInterface{},
	}}
	for _, wanted := range i.Interfaces {
		i.Configs[0].Interfaces = append(i.Configs[0].Interfaces, configInterface{
			ID: s.state.nextID(), Purpose: wanted.Purpose, Primary: wanted.Primary, Active: i.Booted,
			IPAMAddress: wanted.IPAMAddress, Label: wanted.Label,
		})
	}
}

func (i *instance) makeDisksReady() {
	for n := range i.Disks {
		i.Disks[n].Status = diskReady
	}
}
