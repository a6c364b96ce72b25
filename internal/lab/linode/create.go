package linode

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// maxUserData is in decoded bytes.
const maxUserData = 65535

// deployment is what creating and rebuilding have in common.
type deployment struct {
	Image           *string  `json:"image"`
	RootPass        string   `json:"root_pass"`
	AuthorizedKeys  []string `json:"authorized_keys"`
	AuthorizedUsers []string `json:"authorized_users"`
	Booted          *bool    `json:"booted"`
	Metadata        *struct {
		UserData *string `json:"user_data"`
	} `json:"metadata"`
	DiskEncryption string `json:"disk_encryption"`
}

type createRequest struct {
	deployment
	Label               *string         `json:"label"`
	Region              string          `json:"region"`
	Type                string          `json:"type"`
	Group               string          `json:"group"`
	Tags                []string        `json:"tags"`
	SwapSize            *int            `json:"swap_size"`
	BackupsEnabled      bool            `json:"backups_enabled"`
	InterfaceGeneration *string         `json:"interface_generation"`
	Interfaces          []interfaceSpec `json:"interfaces"`
	FirewallID          *int            `json:"firewall_id"`
	NetworkHelper       *bool           `json:"network_helper"`
	PrivateIP           bool            `json:"private_ip"`
	MaintenancePolicy   *string         `json:"maintenance_policy"`
	Kernel              *string         `json:"kernel"`
}

// createInstance answers as soon as the machine has its addresses; everything else is a job.
func (s *Server) createInstance(c *call) (any, error) {
	var in createRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	i, err := s.draft(c, in)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	label := i.View.Label
	s.labels[label] = struct{}{} // two requests at once must not both get it
	number := s.state.Made
	s.state.Made++
	s.mu.Unlock()

	// A client that hangs up does not stop the vendor, and must not leave half a machine here.
	addresses, err := s.makeMachine(context.WithoutCancel(c.Context()), i, number)

	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.labels, label)
	if err != nil {
		return nil, err
	}
	i.setAddresses(addresses)
	s.state.Instances[i.View.ID] = i
	s.attachWanted(i.View.ID, in)
	view := i.View
	s.provision(i, c.fault)
	return view, nil
}

func (s *Server) makeMachine(ctx context.Context, i *instance, number int) (Addresses, error) {
	if s.Machines == nil {
		return inMemory(number).fill(i.View.ID), nil
	}
	defer s.contents.hold(i.imageFile)()
	addresses, err := s.Machines.Create(ctx, i.machine())
	if err != nil {
		s.Log.Error("cannot make a machine", "instance", i.View.ID, "label", i.View.Label, "error", err)
		return Addresses{}, fail(http.StatusInternalServerError, "Internal server error: "+err.Error())
	}
	return addresses.fill(i.View.ID), nil
}

func (i *instance) setAddresses(a Addresses) {
	i.Addresses = a
	i.View.IPv4 = []netip.Addr{a.IPv4}
	i.View.IPv6 = netip.PrefixFrom(a.IPv6, 128)
}

func (i *instance) machine() Machine {
	// What is not base64 was refused when it came.
	data, _ := base64.StdEncoding.DecodeString(i.UserData)
	m := Machine{
		ID: i.View.ID, Label: i.View.Label, Region: i.View.Region, Type: i.View.Type,
		UserData: data, AuthorizedKeys: slices.Clone(i.AuthorizedKeys), RootPass: i.rootPass,
		VCPUs: i.View.Specs.VCPUs, Memory: i.View.Specs.Memory, Disk: i.View.Specs.Disk, ImageFile: i.imageFile,
	}
	if i.View.Image != nil {
		m.Image = *i.View.Image
	}
	return m
}

// draft checks the request and returns the instance without addresses. The caller holds the lock.
func (s *Server) draft(c *call, in createRequest) (*instance, error) {
	var bad problems
	region, plan := s.checkPlace(&bad, in)
	image := s.checkDeploy(&bad, in.deployment, region)
	s.checkInterfaces(&bad, in)
	checkTags(&bad, in.Tags)
	if in.Label != nil {
		s.checkLabel(&bad, *in.Label)
	}
	if in.MaintenancePolicy != nil && !slices.Contains(maintenancePolicies(), *in.MaintenancePolicy) {
		bad.add("maintenance_policy", "Unsupported maintenance policy slug format.")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}

	id, now := s.state.nextID(), s.now()
	i := &instance{View: Instance{
		ID: id, Label: fmt.Sprintf("linode%d", id), Group: in.Group, Status: statusProvisioning, Created: now, Updated: now,
		Type: plan.ID, Region: region.ID, SiteType: region.SiteType, Hypervisor: "kvm",
		Specs:  specs{Disk: plan.Disk, Memory: plan.Memory, VCPUs: plan.VCPUs, GPUs: plan.GPUs, Transfer: plan.Transfer},
		Alerts: alerts{CPU: 90 * plan.VCPUs, NetworkIn: 10, NetworkOut: 10, TransferQuota: 80, IO: 10000},
		Backups: backups{
			Enabled: in.BackupsEnabled,
		},
		WatchdogEnabled: true, Tags: sortedTags(in.Tags), HostUUID: hostUUID(region.ID), DiskEncryption: "enabled",
		Capabilities: []string{"Block Storage Encryption", "SMTP Enabled", "Maintenance Policy"}, Locks: []string{},
		InterfaceGeneration: generationLegacy, MaintenancePolicy: "linode/migrate",
	}}
	set(&i.View.Label, in.Label)
	set(&i.View.InterfaceGeneration, in.InterfaceGeneration)
	set(&i.View.MaintenancePolicy, in.MaintenancePolicy)
	if i.View.InterfaceGeneration == generationLegacy {
		i.Interfaces = legacyInterfaces(in.Interfaces)
	}
	swap := defaultSwap
	set(&swap, in.SwapSize)
	i.deploy(s, c, in.deployment, image, swap)
	if in.Kernel != nil && len(i.Configs) > 0 {
		i.Configs[0].Kernel = *in.Kernel
	}
	return i, nil
}

// deploy puts an image's disks, config and user data in place.
func (i *instance) deploy(s *Server, c *call, in deployment, image *Image, swap int) {
	i.Booted = image != nil && (in.Booted == nil || *in.Booted)
	i.AuthorizedKeys, i.rootPass = in.AuthorizedKeys, in.RootPass
	i.UserData, i.View.HasUserData = "", false
	if in.Metadata != nil && in.Metadata.UserData != nil && *in.Metadata.UserData != "" {
		i.View.HasUserData = true
		if c.fault == nil || !c.fault.LoseUserData {
			i.UserData = *in.Metadata.UserData
		}
	}
	if in.DiskEncryption != "" {
		i.View.DiskEncryption = in.DiskEncryption
	}
	i.Disks, i.Configs, i.View.Image, i.imageFile = nil, nil, nil, ""
	if image != nil {
		i.imageFile = image.File
		i.View.Image = &image.ID
		i.layDisks(s, image, swap)
	}
}

func (s *Server) checkPlace(bad *problems, in createRequest) (Region, Type) {
	region, hasRegion := s.region(in.Region)
	switch {
	case in.Region == "":
		bad.add("region", "region is required")
	case !hasRegion || !slices.Contains(region.Capabilities, "Linodes"):
		bad.add("region", "region is not valid")
	}
	plan, hasPlan := s.plan(in.Type)
	switch {
	case in.Type == "":
		bad.add("type", "type is required")
	case !hasPlan:
		bad.add("type", "A valid plan type by that ID was not found")
	}
	return region, plan
}

// checkDeploy returns nil when no image is wanted.
func (s *Server) checkDeploy(bad *problems, in deployment, region Region) *Image {
	if in.DiskEncryption != "" && in.DiskEncryption != "enabled" && in.DiskEncryption != "disabled" {
		bad.add("disk_encryption", "Must be one of enabled, disabled")
	}
	if in.Metadata != nil && in.Metadata.UserData != nil {
		checkUserData(bad, *in.Metadata.UserData, region)
	}
	for n, key := range in.AuthorizedKeys {
		if kind, _, ok := strings.Cut(key, " "); !ok || !slices.Contains(keyTypes(), kind) {
			bad.add("authorized_keys", fmt.Sprintf("SSH Key %d must start with one of %s.", n+1, strings.Join(keyTypes(), ", ")))
		}
	}
	if in.Image == nil || *in.Image == "" {
		return nil
	}
	if in.RootPass == "" && len(in.AuthorizedKeys) == 0 && len(in.AuthorizedUsers) == 0 {
		bad.add("root_pass", "root_pass is required")
	}
	if in.RootPass != "" && (len(in.RootPass) < 7 || len(in.RootPass) > 128) {
		bad.add("root_pass", "Length must be 7-128 characters")
	}
	for n := range s.state.Images {
		if image := s.state.Images[n]; image.ID == *in.Image && image.Status == imageAvailable {
			return &image
		}
	}
	bad.add("image", "image is not valid")
	return nil
}

func checkUserData(bad *problems, text string, region Region) {
	data, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		bad.add("metadata.user_data", "Must be valid Base64-encoded data")
	case len(data) > maxUserData:
		bad.add("metadata.user_data", fmt.Sprintf("Unencoded data must not exceed %d bytes", maxUserData))
	case region.ID != "" && !slices.Contains(region.Capabilities, "Metadata"):
		bad.add("metadata.user_data", "Metadata is not available in this region")
	}
}

// labelPattern is what labels of instances and firewalls look like.
func labelPattern() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]*$`) }

// checkLabel expects a label that is not the instance's own. The caller holds the lock.
func (s *Server) checkLabel(bad *problems, label string) {
	if len(label) < 3 || len(label) > 64 {
		bad.add("label", "Length must be 3-64 characters")
		return
	}
	ok := labelPattern().MatchString(label)
	for _, pair := range []string{"--", "__", ".."} {
		ok = ok && !strings.Contains(label, pair)
	}
	if !ok {
		bad.add("label", "Must only use ASCII letters, numbers, underscores, dashes, and dots, begin with a letter, and not repeat a separator")
		return
	}
	_, taken := s.labels[label]
	for _, other := range s.state.Instances {
		taken = taken || other.View.Label == label && other.View.Status != statusDeleting
	}
	if taken {
		bad.add("label", "Label must be unique among your linodes")
	}
}

func keyTypes() []string {
	return []string{
		"ssh-rsa", "ssh-dss", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ecdsa-sha2-nistp256@openssh.com", "sk-ssh-ed25519@openssh.com",
	}
}
