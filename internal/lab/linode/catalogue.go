package linode

import "time"

// Region is a data centre.
type Region struct {
	ID                   string               `json:"id"`
	Label                string               `json:"label"`
	Country              string               `json:"country"`
	Capabilities         []string             `json:"capabilities"`
	Monitors             monitors             `json:"monitors"`
	Status               string               `json:"status"`
	Resolvers            resolvers            `json:"resolvers"`
	PlacementGroupLimits placementGroupLimits `json:"placement_group_limits"`
	SiteType             string               `json:"site_type"`
}

type monitors struct {
	Alerts  []string `json:"alerts"`
	Metrics []string `json:"metrics"`
}

type resolvers struct {
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}

type placementGroupLimits struct {
	PerCustomer      *int `json:"maximum_pgs_per_customer"`
	PerGroup         int  `json:"maximum_linodes_per_pg"`
	PerFlexibleGroup int  `json:"maximum_linodes_per_flexible_pg"`
}

// Type is a plan for instances. Disk and Memory are in MiB, Transfer in GB a month.
type Type struct {
	ID           string        `json:"id"`
	Label        string        `json:"label"`
	Price        price         `json:"price"`
	RegionPrices []regionPrice `json:"region_prices"`
	Addons       addons        `json:"addons"`
	Memory       int           `json:"memory"`
	Disk         int           `json:"disk"`
	Transfer     int           `json:"transfer"`
	VCPUs        int           `json:"vcpus"`
	GPUs         int           `json:"gpus"`
	NetworkOut   int           `json:"network_out"`
	Class        string        `json:"class"`
	Successor    *string       `json:"successor"`
}

type price struct {
	Hourly  float64 `json:"hourly"`
	Monthly float64 `json:"monthly"`
}

type regionPrice struct {
	ID string `json:"id"`
	price
}

type addons struct {
	Backups struct {
		Price        price         `json:"price"`
		RegionPrices []regionPrice `json:"region_prices"`
	} `json:"backups"`
}

type kernel struct {
	ID           string    `json:"id"`
	Label        string    `json:"label"`
	Version      string    `json:"version"`
	KVM          bool      `json:"kvm"`
	Architecture string    `json:"architecture"`
	PVOps        bool      `json:"pvops"`
	Deprecated   bool      `json:"deprecated"`
	Built        timestamp `json:"built"`
}

// DefaultRegions returns the regions of a server that has no others, Singapore first.
func DefaultRegions() []Region {
	places := []struct{ id, label, country string }{
		{"ap-south", "Singapore, SG", "sg"},
		{"sg-sin-2", "Singapore 2, SG", "sg"},
		{"jp-osa", "Osaka, JP", "jp"},
		{"ap-northeast", "Tokyo 2, JP", "jp"},
		{"in-maa", "Chennai, IN", "in"},
		{"eu-central", "Frankfurt, DE", "de"},
		{"us-east", "Newark, NJ", "us"},
		{"us-west", "Fremont, CA", "us"},
	}
	regions := make([]Region, 0, len(places))
	for _, place := range places {
		regions = append(regions, Region{
			ID: place.id, Label: place.label, Country: place.country, Status: "ok", SiteType: "core",
			Capabilities: []string{
				"Linodes", "Disk Encryption", "Backups", "Object Storage", "Cloud Firewall", "Metadata", "Placement Group",
				"Maintenance Policy", "Linode Interfaces",
			},
			Monitors:             monitors{Alerts: []string{}, Metrics: []string{}},
			Resolvers:            resolvers{IPv4: "192.0.2.53,192.0.2.54", IPv6: "2001:db8::53,2001:db8::54"},
			PlacementGroupLimits: placementGroupLimits{PerGroup: 5, PerFlexibleGroup: 5},
		})
	}
	return regions
}

// DefaultTypes returns the types of a server that has no others, cheapest first.
func DefaultTypes() []Type {
	plan := func(id, label, class string, monthly, hourly float64, vcpus, memory, disk, transfer int) Type {
		t := Type{
			ID: id, Label: label, Class: class, Price: price{hourly, monthly}, RegionPrices: []regionPrice{{"id-cgk", price{hourly * 1.2, monthly * 1.2}}},
			VCPUs: vcpus, Memory: memory, Disk: disk, Transfer: transfer, NetworkOut: transfer,
		}
		t.Addons.Backups.Price = price{hourly / 5, monthly / 5}
		t.Addons.Backups.RegionPrices = []regionPrice{{"id-cgk", price{hourly / 4, monthly / 4}}}
		return t
	}
	return []Type{
		plan("g6-nanode-1", "Nanode 1GB", "nanode", 5, 0.0075, 1, 1024, 25600, 1000),
		plan("g6-standard-1", "Linode 2GB", "standard", 12, 0.018, 1, 2048, 51200, 2000),
		plan("g6-standard-2", "Linode 4GB", "standard", 24, 0.036, 2, 4096, 81920, 4000),
		plan("g6-standard-4", "Linode 8GB", "standard", 48, 0.072, 4, 8192, 163840, 5000),
		plan("g6-dedicated-2", "Dedicated 4GB", "dedicated", 36, 0.054, 2, 4096, 81920, 4000),
	}
}

func kernels() []kernel {
	built := timestamp{time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)}
	list := []kernel{
		{ID: "linode/latest-64bit", Label: "Latest 64 bit (6.8.9-x86_64-linode164)", Version: "6.8.9"},
		{ID: "linode/grub2", Label: "GRUB 2", Version: "2.06"},
		{ID: "linode/direct-disk", Label: "Direct Disk", Version: "99.99.99"},
	}
	for n := range list {
		list[n].KVM, list[n].PVOps, list[n].Architecture, list[n].Built = true, true, "x86_64", built
	}
	return list
}

func (s *Server) catalogueRoutes() []route {
	return []route{
		{"GET /regions", "*", limitList, func(c *call) (any, error) { return page(c.Request, s.Regions, "id", "label", "country", "status") }},
		{"GET /regions/{id}", "*", limitOther, func(c *call) (any, error) {
			region, ok := s.region(c.PathValue("id"))
			return found(region, ok)
		}},
		{"GET /linode/types", "*", limitList, func(c *call) (any, error) {
			return page(c.Request, s.Types, "class", "disk", "gpus", "label", "memory", "network_out", "transfer", "vcpus")
		}},
		{"GET /linode/types/{id}", "*", limitOther, func(c *call) (any, error) {
			plan, ok := s.plan(c.PathValue("id"))
			return found(plan, ok)
		}},
		{"GET /linode/kernels", "*", limitList, func(c *call) (any, error) {
			return page(c.Request, kernels(), "id", "label", "version", "kvm", "architecture", "pvops", "deprecated")
		}},
		{"GET /linode/kernels/{id}", "*", limitOther, func(c *call) (any, error) {
			for _, k := range kernels() {
				if k.ID == c.PathValue("id") {
					return k, nil
				}
			}
			return nil, notFound()
		}},
	}
}

func found[T any](value T, ok bool) (any, error) {
	if !ok {
		return nil, notFound()
	}
	return value, nil
}

func (s *Server) region(id string) (Region, bool) {
	for _, region := range s.Regions {
		if region.ID == id {
			return region, true
		}
	}
	return Region{}, false
}

func (s *Server) plan(id string) (Type, bool) {
	for _, plan := range s.Types {
		if plan.ID == id {
			return plan, true
		}
	}
	return Type{}, false
}
