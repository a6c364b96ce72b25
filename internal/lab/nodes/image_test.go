//go:build linux

package nodes_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/nodes"
)

func TestImageKey(t *testing.T) {
	base := nodes.Image{Suite: "trixie", Packages: []string{"systemd", "tinc"}}
	tests := []struct {
		name  string
		other nodes.Image
		same  bool
	}{
		{"order does not matter", nodes.Image{Suite: "trixie", Packages: []string{"tinc", "systemd"}}, true},
		{"naming twice does not matter", nodes.Image{Suite: "trixie", Packages: []string{"tinc", "systemd", "tinc"}}, true},
		{"another package", nodes.Image{Suite: "trixie", Packages: []string{"systemd", "tinc", "rsync"}}, false},
		{"a package of unstable", nodes.Image{Suite: "trixie", Packages: []string{"systemd", "tinc"}, Unstable: []string{"mysql-server"}}, false},
		{"other files", nodes.Image{Suite: "trixie", Packages: []string{"systemd", "tinc"}, Description: "0"}, false},
		{"another suite", nodes.Image{Suite: "sid", Packages: []string{"systemd", "tinc"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := base.Key() == tt.other.Key(); got != tt.same {
				t.Errorf("keys %s and %s: equal is %v, want %v", base.Key(), tt.other.Key(), got, tt.same)
			}
		})
	}
	if !strings.HasPrefix(base.Key(), "trixie-") {
		t.Errorf("key %s does not say its suite", base.Key())
	}
}

func TestPickMirror(t *testing.T) {
	line := func(f ...string) string { return strings.Join(f, "\t") + "\n" }
	tests := []struct {
		name, in, want string
	}{
		{"named", line("Debian", "Debian-Security", "main", "trixie-security", "http://b/") + line("Debian", "Debian", "main", "trixie", "http://a/"), "http://a/"},
		{"never updated", line("", "", "main", "trixie-security", "http://b/") + line("", "", "main", "trixie", "http://a/"), "http://a/"},
		{"a vendor's archive first", line("Docker", "Docker CE", "stable", "trixie", "http://d/") + line("Debian", "Debian", "main", "trixie", "http://a/"), "http://a/"},
		{"a vendor's archive only", line("Vendor", "Vendor", "main", "trixie", "http://v/"), ""},
		{"nothing", "", ""},
		{"cut short", "Debian\tDebian\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := nodes.PickMirror(tt.in)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestPickTransportTakesProxiesOnly(t *testing.T) {
	in := "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p:3128\";\nAcquire::cdrom::mount \"/media\";\n" +
		"Acquire::https::CaInfo \"/etc/ca\";\nAcquire::http::Proxy::deb.example \"DIRECT\";\n"
	want := "Acquire::http::Proxy \"http://p:3128\";\nAcquire::https::CaInfo \"/etc/ca\";\nAcquire::http::Proxy::deb.example \"DIRECT\";\n"
	if diff := cmp.Diff(want, nodes.PickTransport(in)); diff != "" {
		t.Errorf("settings differ (-want +got):\n%s", diff)
	}
}

func TestHierarchies(t *testing.T) {
	tests := []struct {
		name, mounts    string
		unified, others []string
	}{
		{"one tree", "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", []string{"/sys/fs/cgroup"}, nil},
		{
			"both kinds",
			"tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n" +
				"cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n" +
				"cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
			[]string{"/sys/fs/cgroup/unified"},
			[]string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/systemd"},
		},
		{"somebody else's", "cgroup2 /mnt/cgroup cgroup2 rw 0 0\n", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unified, others := nodes.Hierarchies(tt.mounts)
			if diff := cmp.Diff(tt.unified, unified); diff != "" {
				t.Errorf("unified differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.others, others); diff != "" {
				t.Errorf("others differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostname(t *testing.T) {
	tests := []struct{ in, want string }{
		{"hk1", "hk1"},
		{"web.sg_1", "web-sg-1"},
		{"_x_", "x"},
		{"___", "localhost"},
		{strings.Repeat("a", 70), strings.Repeat("a", 63)},
	}
	for _, tt := range tests {
		if got := nodes.Hostname(tt.in); got != tt.want {
			t.Errorf("Hostname(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestMissingErrorSaysTheRemedy(t *testing.T) {
	err := &nodes.MissingError{Packages: []string{"mmdebstrap", "nftables"}, Others: []string{"it needs root"}}
	for _, want := range []string{"apt-get install -y mmdebstrap nftables", "it needs root"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
