package clustermap_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/clustermap"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

var update = flag.Bool("update", false, "write testdata anew")

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}

func member(role spec.MemberRole, state spec.MemberState, primary bool) api.DatabaseMemberView {
	return api.DatabaseMemberView{Role: role, State: state, Primary: primary, Router: spec.RouterStatus{Running: true, Writable: true}}
}

func side(state spec.PairState) api.PairSideView {
	return api.PairSideView{PairStatus: spec.PairStatus{State: state}}
}

// threeSites is a cluster of three nodes of which nothing is wrong, with everything that nodes can have a part in.
func threeSites() api.ClusterStatus {
	view := func(provider, site, address string) api.NodeView {
		return api.NodeView{Provider: provider, Site: site, MeshAddress: netip.MustParseAddr(address), State: api.NodeReady, Since: now.Add(-time.Hour)}
	}
	direct := func(rtt float64) api.Direction {
		return api.Direction{State: api.UpDirect, Since: now.Add(-time.Hour), RTT: rtt}
	}
	return api.ClusterStatus{
		Cluster: "web", Seen: "hk1", At: now, Healthy: true,
		Nodes: map[string]api.NodeView{
			"hk1": view("own", "hong-kong", "10.66.0.1"), "hk2": view("vps", "hong-kong", "10.66.0.2"), "sg1": view("linode", "ap-south", "10.66.0.3"),
		},
		Links: map[string]api.LinkView{
			"hk1.hk2": {From: "hk1", To: "hk2", There: direct(0.8), Back: direct(0.9)},
			"hk1.sg1": {From: "hk1", To: "sg1", Named: true, There: direct(34.2), Back: direct(34.6)},
			"hk2.sg1": {From: "hk2", To: "sg1", There: direct(33.1), Back: direct(33)},
		},
		Databases: map[string]api.DatabaseView{"app": {Members: map[string]api.DatabaseMemberView{
			"hk1": member(spec.MemberVoter, spec.MemberOnline, true), "hk2": member(spec.MemberVoter, spec.MemberOnline, false), "sg1": member(spec.MemberVoter, spec.MemberOnline, false),
		}}},
		Pairs: map[string]api.PairView{"uploads": {Leader: "hk1", Sides: map[string]api.PairSideView{"hk1": side(spec.PairSynced), "sg1": side(spec.PairSyncing)}}},
		LoadBalancers: map[string]api.LoadBalancerView{"www.example.com": {Nodes: map[string]api.ServingView{
			"hk1": {State: api.ServingIn}, "sg1": {State: api.ServingIn},
		}}},
	}
}

// oneWay is the same cluster after hk1 has lost its direct way to sg1, with hk2 in maintenance.
func oneWay() api.ClusterStatus {
	s := threeSites()
	l := s.Links["hk1.sg1"]
	l.There = api.Direction{State: api.UpIndirect, Via: "hk2", Since: now.Add(-time.Minute), RTT: 68.4, Loss: 0.02}
	l.Back = api.Direction{State: api.Down, Since: now.Add(-time.Minute), Loss: 1}
	s.Links["hk1.sg1"] = l
	l = s.Links["hk2.sg1"]
	l.Back.Loss = 0.2
	s.Links["hk2.sg1"] = l
	n := s.Nodes["sg1"]
	n.State, n.Message = api.NodeNotReady, "MeshReady is False (Unreachable): hk1 does not answer"
	s.Nodes["sg1"] = n
	n = s.Nodes["hk2"]
	n.Maintenance = &spec.Maintenance{Reason: "new disks", Since: now.Add(-time.Hour)}
	s.Nodes["hk2"] = n
	s.Databases["app"].Members["hk2"] = member(spec.MemberVoter, spec.MemberRecovering, false)
	s.LoadBalancers["www.example.com"].Nodes["sg1"] = api.ServingView{State: api.ServingOut, Reason: "mesh"}
	s.Pairs["uploads"].Sides["sg1"] = side(spec.PairDisconnected)
	s.Healthy = false
	s.Reasons = []string{
		"node sg1 is not-ready since 2026-03-14T15:08:26Z: MeshReady is False (Unreachable): hk1 does not answer",
		"link hk1 -> sg1 has no direct path since 2026-03-14T15:08:26Z, it goes by hk2",
		"link sg1 -> hk1 is down since 2026-03-14T15:08:26Z",
	}
	s.Warnings = []string{"link sg1 -> hk2 loses 20 % of its packets"}
	return s
}

// large is a mesh of twenty nodes at five sites, of which one is down and some links lose packets.
func large() api.ClusterStatus {
	s := api.ClusterStatus{Cluster: "large", Seen: "n00", At: now, Nodes: map[string]api.NodeView{}, Links: map[string]api.LinkView{}, Reasons: []string{"node n07 is down"}}
	for i := range 20 {
		v := api.NodeView{Provider: "linode", Site: fmt.Sprintf("site-%d", i%5), MeshAddress: netip.AddrFrom4([4]byte{10, 66, 0, byte(i)}), State: api.NodeReady}
		if i == 7 {
			v.State, v.Message = api.NodeDown, "no other node reaches its agent"
		}
		s.Nodes[fmt.Sprintf("n%02d", i)] = v
		for j := range i {
			l := api.LinkView{From: fmt.Sprintf("n%02d", j), To: fmt.Sprintf("n%02d", i)}
			l.There = api.Direction{State: api.UpDirect, RTT: float64(i * j)}
			l.Back = l.There
			switch {
			case i == 7:
				l.There, l.Back = api.Direction{State: api.Down, Loss: 1}, api.Direction{State: api.UnknownLink}
			case j == 7:
				l.There, l.Back = api.Direction{State: api.UnknownLink}, api.Direction{State: api.Down, Loss: 1}
			case i*j == 36:
				l.There.Loss = 0.3
			}
			s.Links[spec.LinkName(l.From, l.To)] = l
		}
	}
	return s
}

// odd is a cluster whose every word holds what means something to a reader of SVG or Mermaid.
func odd() api.ClusterStatus {
	const nasty = "a\"b'<script>alert(1)</script>&amp;\n%% \x00\x1b]|;#35;" + "`*_{}[]()\\"
	s := threeSites()
	s.Cluster, s.Seen = nasty, nasty
	n := s.Nodes["hk1"]
	n.Provider, n.Site, n.Message, n.State = nasty, nasty, nasty, api.NodeState(nasty)
	s.Nodes[nasty] = n
	s.Links["odd"] = api.LinkView{From: nasty, To: "hk1", There: api.Direction{State: api.UpIndirect, Via: nasty}, Back: api.Direction{State: api.DirectionState(nasty)}}
	s.Links["stranger"] = api.LinkView{From: "hk1", To: "stranger" + nasty}
	s.Databases[nasty] = api.DatabaseView{Members: map[string]api.DatabaseMemberView{nasty: {State: spec.MemberState(nasty)}}}
	s.Reasons, s.Warnings = []string{nasty, strings.Repeat("long", 100)}, []string{nasty}
	return s
}

func statuses() map[string]api.ClusterStatus {
	one := threeSites()
	delete(one.Nodes, "hk2")
	delete(one.Nodes, "sg1")
	one.Links, one.Databases, one.Pairs, one.LoadBalancers = nil, nil, nil, nil
	return map[string]api.ClusterStatus{
		"healthy": threeSites(), "one-way": oneWay(), "large": large(), "odd": odd(), "one-node": one, "empty": {Cluster: "web", Seen: "hk1", At: now},
	}
}

func TestMap(t *testing.T) {
	t.Parallel()
	for name, s := range statuses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := clustermap.New(s)
			svg, err := m.SVG()
			if err != nil {
				t.Fatal(err)
			}
			data, err := m.JSON()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".svg", svg)
			golden(t, name+".mmd", m.Mermaid())
			golden(t, name+".json", data)
		})
	}
}

// drawn is what a reader of an SVG finds in it.
type drawn struct {
	// titles are those of all elements but the picture's own, words all text that is shown.
	titles, words []string
	// names are all names of elements and attributes.
	names map[string]bool
}

// readSVG reads a picture as strictly as XML is read.
func readSVG(data []byte) (drawn, error) {
	out := drawn{names: map[string]bool{}}
	decoder := xml.NewDecoder(bytes.NewReader(data))
	var path []string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			path = append(path, token.Name.Local)
			out.names[token.Name.Local] = true
			for _, a := range token.Attr {
				out.names["@"+a.Name.Local] = true
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					return out, fmt.Errorf("<%s %s=%q>", token.Name.Local, a.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			switch path := strings.Join(path, "/"); {
			case strings.HasSuffix(path, "g/title"):
				out.titles = append(out.titles, string(token))
			case strings.HasSuffix(path, "/text"):
				out.words = append(out.words, string(token))
			}
		}
	}
}

// count returns how many texts begin so.
func count(texts []string, prefix string) int {
	n := 0
	for _, text := range texts {
		if strings.HasPrefix(text, prefix) {
			n++
		}
	}
	return n
}

// TestSVGIsSafe reads the picture of a cluster whose names mean harm: it is well-formed and has nothing but what pictures of clusters have.
func TestSVGIsSafe(t *testing.T) {
	t.Parallel()
	svg, err := clustermap.New(odd()).SVG()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readSVG(svg)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, name := range []string{
		"svg", "title", "desc", "style", "g", "rect", "text", "line", "path", "circle", "@xmlns", "@width", "@height", "@viewBox", "@role", "@aria-labelledby", "@id", "@class",
		"@x", "@y", "@rx", "@x1", "@x2", "@y1", "@y2", "@d", "@cx", "@cy", "@r",
	} {
		allowed[name] = true
	}
	if diff := cmp.Diff(allowed, got.names); diff != "" {
		t.Errorf("elements and attributes (-want +got):\n%s", diff)
	}
	if count(got.words, "a\"b'<script>") == 0 {
		t.Errorf("the name is not shown: %q", got.words)
	}
}

// TestMermaidIsSafe looks at the flowchart of the same cluster line by line: each is a statement that this package writes, and
// labels hold letters, figures and references to characters only.
func TestMermaidIsSafe(t *testing.T) {
	t.Parallel()
	text := string(clustermap.New(odd()).Mermaid())
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "acc") {
			continue
		}
		if i, j := strings.Index(line, `"`), strings.LastIndex(line, `"`); i >= 0 {
			label := strings.ReplaceAll(line[i+1:j], "<br/>", "")
			if strings.ContainsAny(label, "\"<>&`*_{}[]|\\'") || i == j {
				t.Errorf("label %q", label)
			}
			line = line[:i] + line[j+1:]
		}
		word, _, _ := strings.Cut(line, " ")
		if strings.ContainsAny(line, "<>;&") && !strings.Contains(line, "--") && !strings.Contains(line, "-.-") || len(word) > len("linkStyle") && !strings.Contains(word, ":::") {
			t.Errorf("line %q", line)
		}
	}
}

// TestEverythingIsDrawn draws clusters: every node and both directions of every link are in the SVG and in the JSON, with what the status says of
// them, none twice, whatever the order of the status.
func TestEverythingIsDrawn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawStatus(t)
		m := clustermap.New(s)
		svg, err := m.SVG()
		if err != nil {
			t.Fatal(err)
		}
		got, err := readSVG(svg)
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		for name := range s.Nodes {
			if n := count(got.titles, name+" ("); n != 1 {
				t.Errorf("node %q is drawn %d times", name, n)
			}
		}
		if len(m.Nodes) != len(s.Nodes) || len(m.Links) != len(s.Links) {
			t.Errorf("%d nodes and %d links of %d and %d", len(m.Nodes), len(m.Links), len(s.Nodes), len(s.Links))
		}
		for _, l := range s.Links {
			for _, way := range []struct {
				from, to string
				api.Direction
			}{{l.From, l.To, l.There}, {l.To, l.From, l.Back}} {
				if n := count(got.titles, way.from+" to "+way.to+": "); n != 1 {
					t.Errorf("%s -> %s is drawn %d times", way.from, way.to, n)
				}
				down := count(got.titles, way.from+" to "+way.to+": DOWN") == 1
				if down != (way.State == api.Down) {
					t.Errorf("%s -> %s is %s and drawn as down: %t", way.from, way.to, way.State, down)
				}
			}
		}
		again, err := clustermap.New(s).SVG()
		if err != nil || !bytes.Equal(svg, again) {
			t.Errorf("drawn twice it is not the same: %v", err)
		}
		data, err := m.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var back clustermap.Map
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, back); diff != "" {
			t.Errorf("the JSON does not say the same (-want +got):\n%s", diff)
		}
		for line := range strings.Lines(string(m.Mermaid())) {
			if strings.Count(line, `"`)%2 != 0 {
				t.Errorf("line %q", line)
			}
		}
	})
}

func drawStatus(t *rapid.T) api.ClusterStatus {
	s := api.ClusterStatus{Cluster: "web", Seen: "n0", At: now, Nodes: map[string]api.NodeView{}, Links: map[string]api.LinkView{}}
	states := rapid.SampledFrom([]api.NodeState{api.NodeReady, api.NodeNotReady, api.NodeJoining, api.NodeSilent, api.NodeDown})
	direction := rapid.Custom(func(t *rapid.T) api.Direction {
		return api.Direction{
			State: rapid.SampledFrom([]api.DirectionState{api.UpDirect, api.UpIndirect, api.Down, api.UnknownLink}).Draw(t, "state"),
			Via:   rapid.SampledFrom([]string{"", "n0"}).Draw(t, "via"), RTT: rapid.Float64Range(0, 500).Draw(t, "rtt"), Loss: rapid.Float64Range(0, 1).Draw(t, "loss"),
		}
	})
	names := make([]string, rapid.IntRange(0, 12).Draw(t, "nodes"))
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i)
		s.Nodes[names[i]] = api.NodeView{
			Provider: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "provider"), Site: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "site"), State: states.Draw(t, "state"),
		}
		for _, other := range names[:i] {
			s.Links[spec.LinkName(names[i], other)] = api.LinkView{From: other, To: names[i], There: direction.Draw(t, "there"), Back: direction.Draw(t, "back")}
		}
	}
	return s
}
