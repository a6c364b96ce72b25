//go:build linux

package drills

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

const keyGenerationVariable = "TF_VAR_mesh_key_generation="

// rotateKeys has every node replace its key of the mesh, by a higher key generation in Terraform. Neither the change of the node that
// sends the echoes nor that of the one that answers may be seen for longer than is promised, and of the third one's nothing at all.
func (m *meshOf) rotateKeys(l line) Drill {
	e := &echoes{line: l}
	promised := time.Second
	if m.driver == spec.MeshTinc {
		// Tincd reads its key at its start alone, and its peers send nothing for a second after it has come.
		promised = 3 * time.Second
	}
	var before map[string]int
	return Drill{
		Name: m.prefix + "rotate-keys", Cluster: m.Cluster, Traffic: e.begin,
		Proves: fmt.Sprintf("all keys of the mesh are replaced one by one, without an outage of more than %s between two nodes, and the old ones are given up", promised),
		Setup: func(ctx context.Context, f *Field) error {
			status, _, err := f.Status(ctx)
			if err != nil {
				return err
			}
			before = map[string]int{}
			for name, v := range status.Nodes {
				if v.MeshKey == nil {
					return fmt.Errorf("node %s says nothing of its mesh key", name)
				}
				before[name] = v.MeshKey.Number
			}
			return nil
		},
		Inject: func(ctx context.Context, f *Field) error {
			f.Work.Env = slices.DeleteFunc(f.Work.Env, func(v string) bool { return strings.HasPrefix(v, keyGenerationVariable) })
			// Any number that is greater than all before.
			f.Work.Env = append(f.Work.Env, keyGenerationVariable+strconv.FormatInt(time.Now().Unix(), 10))
			return f.Apply(ctx)
		},
		Settle: func(ctx context.Context, f *Field) error {
			return f.Measure(ctx, "all keys are replaced", 4*time.Minute, func(ctx context.Context) error {
				status, _, err := f.Status(ctx)
				if err != nil {
					return err
				}
				for _, name := range slices.Sorted(maps.Keys(before)) {
					if k := status.Nodes[name].MeshKey; k == nil || k.Number != before[name]+1 || k.Changing {
						return fmt.Errorf("node %s has key %+v: %v", name, k, status.Warnings)
					}
				}
				return nil
			})
		},
		Heal: func(ctx context.Context, f *Field) error {
			// The generation stays: it cannot go down.
			return f.Apply(ctx)
		},
		Verdict: func(ctx context.Context, f *Field, _ Outcome) error {
			var problems []error
			if gap := e.longestGap(f.Injected); gap > promised {
				problems = append(problems, fmt.Errorf("the longest gap between two answers was %s, more than %s", seconds(gap), promised))
			}
			for name := range before {
				out, err := f.Exec(ctx, name, "sh", "-c", "ls /etc/tinc/atoll/rsa_key.next /etc/atoll/wireguard/private.next 2>/dev/null || true")
				if err == nil && len(out) > 0 {
					err = fmt.Errorf("node %s keeps a key that it does not need: %s", name, out)
				}
				problems = append(problems, err)
			}
			return errors.Join(problems...)
		},
	}
}
