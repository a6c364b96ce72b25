package api

import (
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// MeshKeyView is what the cluster knows of a node's mesh key.
type MeshKeyView struct {
	// Number tells the node's keys apart: 0 is the one that it joined with, each later one has one more.
	Number int `json:"number"`
	// Made is when the key was made, by the node's clock.
	Made time.Time `json:"made"`
	// Generation is the cluster's key generation that the key was made for.
	Generation int `json:"generation"`
	// Changing tells that the node is believed under two keys, since it changes from one to the other.
	Changing bool `json:"changing,omitempty"`
	// Waits says what the change waits for, "" while nothing keeps it from going on.
	Waits string `json:"waits,omitempty"`
}

func meshKeyView(st *spec.MeshKeyStatus) *MeshKeyView {
	if st == nil {
		return nil
	}
	return &MeshKeyView{Number: st.Number, Made: st.Made, Generation: st.Generation, Changing: st.Rotating(), Waits: st.Waits}
}

// warnOfKey tells that a node's key is being replaced, or should be; "" when there is nothing to tell.
func (v NodeView) warnOfKey(name string, wanted int) string {
	k := v.MeshKey
	switch {
	case k == nil || v.State == NodeSilent || v.State == NodeDown:
		return ""
	case k.Changing && k.Waits == "":
		return fmt.Sprintf("node %s changes its mesh key", name)
	case k.Changing:
		return fmt.Sprintf("node %s changes its mesh key: it waits for %s", name, k.Waits)
	case k.Generation < wanted && k.Waits != "":
		return fmt.Sprintf("node %s has a mesh key of generation %d, and the cluster asks for %d: it waits for %s", name, k.Generation, wanted, k.Waits)
	case k.Generation < wanted:
		return fmt.Sprintf("node %s has a mesh key of generation %d, and the cluster asks for %d", name, k.Generation, wanted)
	default:
		return ""
	}
}
