package watch_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/watch"
)

func TestSet(t *testing.T) {
	tests := []struct {
		name string
		add  []watch.Change
		want []watch.Change
	}{
		{"nothing", nil, nil},
		{"sorted and once", []watch.Change{{Path: "b"}, {Path: "a"}, {Path: "b"}}, []watch.Change{{Path: "a"}, {Path: "b"}}},
		{"own stays own", []watch.Change{{Path: "a", Own: true}, {Path: "a", Own: true}}, []watch.Change{{Path: "a", Own: true}}},
		{"own and another's", []watch.Change{{Path: "a", Own: true}, {Path: "a"}}, []watch.Change{{Path: "a"}}},
		{"another's and own", []watch.Change{{Path: "a"}, {Path: "a", Own: true}}, []watch.Change{{Path: "a"}}},
		{"recursive once, recursive always", []watch.Change{{Path: "a", Recursive: true}, {Path: "a"}}, []watch.Change{{Path: "a", Recursive: true}}},
		{
			"below a directory that is looked at whole",
			[]watch.Change{{Path: "a", Recursive: true, Own: true}, {Path: "a/b/c"}, {Path: "ab"}},
			[]watch.Change{{Path: "a", Recursive: true}, {Path: "ab"}},
		},
		{"the root itself", []watch.Change{{Path: ""}, {Path: "a"}}, []watch.Change{{Path: ""}, {Path: "a"}}},
		{"the whole root", []watch.Change{{Path: "", Recursive: true}, {Path: "a"}}, []watch.Change{{Path: "", Recursive: true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s watch.Set
			for _, c := range tt.add {
				s.Add(c)
			}
			b := s.Take()
			if diff := cmp.Diff(tt.want, b.Changes); diff != "" || b.All {
				t.Errorf("all %t, changes (-want +got):\n%s", b.All, diff)
			}
			if s.Len() != 0 || !s.Take().Empty() {
				t.Error("the set is not empty after Take")
			}
		})
	}
}

func TestSetIsBounded(t *testing.T) {
	const many = 200_000
	tests := []struct {
		name string
		path func(i int) string
		most int
	}{
		{"in one directory", func(i int) string { return fmt.Sprintf("a/b/%d", i) }, 1},
		{"in directories", func(i int) string { return fmt.Sprintf("a/%d/%d", i/100, i) }, 3000},
		{"far apart", func(i int) string { return fmt.Sprintf("%d/a/b/c", i) }, 16384},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s watch.Set
			for i := range many {
				s.Add(watch.Change{Path: tt.path(i), Own: i != many/2})
			}
			b := s.Take()
			if len(b.Changes) > tt.most {
				t.Errorf("%d changes, want at most %d", len(b.Changes), tt.most)
			}
			// Each path is there, or a directory above it with all that is in it.
			listed := map[string]watch.Change{}
			for _, c := range b.Changes {
				listed[c.Path] = c
			}
			for i := range many {
				path := tt.path(i)
				c, ok := listed[path]
				for !ok && path != "" {
					path = watch.Parent(path)
					c, ok = listed[path]
					ok = ok && c.Recursive
				}
				if !ok {
					t.Fatalf("%s is lost", tt.path(i))
				}
				if i == many/2 && c.Own {
					t.Errorf("%s is another's, and %+v says that it is own", tt.path(i), c)
				}
			}
		})
	}
}

func TestSetOfEverything(t *testing.T) {
	var s watch.Set
	s.Add(watch.Change{Path: "a"})
	s.AddAll("first")
	s.AddAll("second")
	s.Add(watch.Change{Path: "b"})
	if s.Len() != 1 {
		t.Errorf("it has %d, want one", s.Len())
	}
	var other watch.Set
	other.AddBatch(s.Take())
	if diff := cmp.Diff(watch.Batch{All: true, Reason: "first"}, other.Take()); diff != "" {
		t.Error(diff)
	}
}
