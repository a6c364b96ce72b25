package linkstate_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/mesh/wireguard/linkstate"
)

func node(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 66, byte(i >> 8), byte(i)}) }

// mesh is some nodes' tables, and the cost of each direction between two of them, 0 for none.
type mesh struct {
	tables []*linkstate.Table
	costs  [][]uint16
}

func newMesh(nodes int, cost func(from, to int) uint16) *mesh {
	m := &mesh{}
	var all []netip.Addr
	for i := range nodes {
		all = append(all, node(i+1))
		m.costs = append(m.costs, make([]uint16, nodes))
		for j := range nodes {
			if i != j {
				m.costs[i][j] = cost(j, i)
			}
		}
	}
	for i := range nodes {
		t := linkstate.NewTable(all[i], 100)
		t.SetMembers(all)
		m.tables = append(m.tables, t)
	}
	m.hear()
	return m
}

// hear lets every node notice what it hears, and tells everybody.
func (m *mesh) hear() {
	for i, t := range m.tables {
		var links []linkstate.Link
		for j, cost := range m.costs[i] {
			if cost != 0 {
				links = append(links, linkstate.Link{From: node(j + 1), Cost: cost})
			}
		}
		t.Hear(links)
	}
	for _, from := range m.tables {
		for _, to := range m.tables {
			to.Merge(from.Own())
		}
	}
}

// way follows the next hops from one node to another.
func (m *mesh) way(from, to int) []int {
	way := []int{from}
	for at := from; at != to; {
		next, ok := m.tables[at].Routes()[node(to+1)]
		if !ok || len(way) > len(m.tables) {
			return nil
		}
		four := next.As4()
		at = int(four[2])<<8 + int(four[3]) - 1
		way = append(way, at)
	}
	return way
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	const good, lossy, silent = linkstate.CostGood, linkstate.CostLossy, linkstate.CostSilent
	tests := []struct {
		name  string
		nodes int
		// worse are the directions that are not good.
		worse map[[2]int]uint16
		from  int
		to    int
		want  []int
	}{
		{"direct", 3, nil, 0, 2, []int{0, 2}},
		{"cut", 3, map[[2]int]uint16{{0, 2}: 0, {2, 0}: 0}, 0, 2, []int{0, 1, 2}},
		{"cut one way, as the sender sees it", 3, map[[2]int]uint16{{0, 2}: 0}, 0, 2, []int{0, 1, 2}},
		{"cut one way, as the receiver sees it", 3, map[[2]int]uint16{{0, 2}: 0}, 2, 0, []int{2, 1, 0}},
		{"loses packets one way", 3, map[[2]int]uint16{{0, 2}: lossy}, 2, 0, []int{2, 1, 0}},
		{"loses no more than the way round", 3, map[[2]int]uint16{{0, 2}: lossy, {0, 1}: lossy}, 0, 2, []int{0, 2}},
		{"silent, and no way round", 3, map[[2]int]uint16{{0, 2}: silent, {0, 1}: 0}, 0, 2, []int{0, 2}},
		{"silent", 3, map[[2]int]uint16{{0, 2}: silent}, 0, 2, []int{0, 1, 2}},
		{"nobody", 3, map[[2]int]uint16{{0, 2}: 0, {0, 1}: 0}, 0, 2, nil},
		{"round two", 4, map[[2]int]uint16{{0, 3}: 0, {0, 2}: 0, {1, 3}: 0}, 0, 3, []int{0, 1, 2, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMesh(tt.nodes, func(from, to int) uint16 {
				if cost, ok := tt.worse[[2]int{from, to}]; ok {
					return cost
				}
				return good
			})
			if diff := cmp.Diff(tt.want, m.way(tt.from, tt.to)); diff != "" {
				t.Errorf("way (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheWayBackIsTheWayThere is what WireGuard needs: on every hop, in meshes of any kind with many ways that cost the same.
func TestTheWayBackIsTheWayThere(t *testing.T) {
	t.Parallel()
	costs := []uint16{0, 0, linkstate.CostGood, linkstate.CostGood, linkstate.CostLossy, linkstate.CostPoor, linkstate.CostSilent}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		nodes := 3 + r.IntN(8)
		m := newMesh(nodes, func(int, int) uint16 { return costs[r.IntN(len(costs))] })
		for from := range nodes {
			for to := range nodes {
				if from == to {
					continue
				}
				there, back := m.way(from, to), m.way(to, from)
				for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
					back[i], back[j] = back[j], back[i]
				}
				if diff := cmp.Diff(there, back, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("seed %d, from %d to %d (-there +back):\n%s", seed, from, to, diff)
				}
				_, known := m.tables[from].Routes()[node(to+1)]
				if known != (there != nil) {
					t.Fatalf("seed %d: from %d to %d there is a route (%t) but the way is %v", seed, from, to, known, there)
				}
			}
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	table := linkstate.NewTable(node(1), 100)
	table.SetMembers([]netip.Addr{node(2)})
	links := []linkstate.Link{{From: node(1), Cost: linkstate.CostGood}}
	steps := []struct {
		name string
		in   linkstate.Advert
		want bool
	}{
		{"new", linkstate.Advert{Origin: node(2), Version: 5, Links: links}, true},
		{"again", linkstate.Advert{Origin: node(2), Version: 5, Links: links}, false},
		{"older", linkstate.Advert{Origin: node(2), Version: 4}, false},
		{"younger", linkstate.Advert{Origin: node(2), Version: 6, Links: links}, true},
		{"of nobody", linkstate.Advert{Origin: node(3), Version: 7}, false},
		{"of its own, older", linkstate.Advert{Origin: node(1), Version: 90}, false},
		{"of its own, from a clock that was ahead", linkstate.Advert{Origin: node(1), Version: 900}, true},
	}
	for _, s := range steps {
		if got := table.Merge(s.in); got != s.want {
			t.Errorf("%s: news %t, want %t", s.name, got, s.want)
		}
	}
	if got := table.Own().Version; got <= 900 {
		t.Errorf("own version %d does not outbid 900", got)
	}
	table.SetMembers(nil)
	if got := len(table.Adverts()); got != 1 {
		t.Errorf("%d adverts are left when all others have gone", got)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	m := newMesh(4, func(int, int) uint16 { return linkstate.CostGood })
	want := m.tables[0].Digest()
	for i, table := range m.tables {
		if got := table.Digest(); got != want {
			t.Errorf("node %d knows the same but has another digest", i)
		}
	}
	m.tables[1].Hear(nil)
	if m.tables[1].Digest() == want {
		t.Error("what has changed has the old digest")
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	hello := linkstate.Hello{Session: 1, Seq: 2, Digest: 3}
	got, err := linkstate.Parse(hello.Encode())
	if diff := cmp.Diff(linkstate.Message{Hello: &hello}, got); diff != "" || err != nil {
		t.Errorf("hello: %v (-want +got):\n%s", err, diff)
	}
	m := newMesh(50, func(int, int) uint16 { return linkstate.CostGood })
	var back []linkstate.Advert
	for _, text := range linkstate.EncodeAdverts(m.tables[0].Adverts()) {
		if len(text) > 1280 {
			t.Errorf("a message has %d bytes", len(text))
		}
		got, err := linkstate.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, got.Adverts...)
	}
	if diff := cmp.Diff(m.tables[0].Adverts(), back, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("adverts (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	hello := linkstate.Hello{}.Encode()
	version := append([]byte(nil), hello...)
	version[2]++
	unsorted := linkstate.EncodeAdverts([]linkstate.Advert{{Origin: node(1), Version: 1, Links: []linkstate.Link{{From: node(3)}, {From: node(2)}}}})[0]
	for name, text := range map[string][]byte{
		"nothing": nil, "short hello": hello[:len(hello)-1], "another version": version, "something else": []byte("GET / HTTP/1.1"), "unsorted": unsorted,
	} {
		if _, err := linkstate.Parse(text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(linkstate.Hello{Session: 1, Seq: 2, Digest: 3}.Encode())
	f.Add(linkstate.EncodeAdverts([]linkstate.Advert{{Origin: node(1), Version: 1, Links: []linkstate.Link{{From: node(2), Cost: 10}}}})[0])
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := linkstate.Parse(text)
		if err != nil || m.Hello != nil {
			return
		}
		table := linkstate.NewTable(node(1), 1)
		table.SetMembers([]netip.Addr{node(2), node(3)})
		for _, a := range m.Adverts {
			table.Merge(a)
		}
		if got := fmt.Sprint(table.Routes()); got == "" {
			t.Error("no routes at all") // it must only not panic
		}
	})
}
