package cluster

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
)

// laterKeys refuses an earlier key generation: keys that were replaced are destroyed, and do not come back.
func laterKeys(ctx context.Context, state, plan Model) diag.Diagnostics {
	if !known(plan.Mesh) || plan.Name.IsUnknown() || plan.Name.ValueString() != state.Name.ValueString() {
		return nil // another cluster, which is made anew
	}
	if generation, ok := plan.Mesh.Attributes()["key_generation"]; ok && generation.IsUnknown() {
		return nil
	}
	was, diags := state.ToSpec(ctx)
	will, more := plan.ToSpec(ctx)
	diags.Append(more...)
	if diags.HasError() || will.Mesh.Generation() >= was.Mesh.Generation() {
		return diags
	}
	diags.AddAttributeError(path.Root("mesh").AtName("key_generation"), "Key generation cannot go down",
		fmt.Sprintf("Cluster %q has keys of generation %d, and the configuration asks for generation %d. Keys that were replaced are destroyed.\n\n"+
			"Leave mesh.key_generation at %d, or raise it to have the keys replaced once more.",
			state.Name.ValueString(), was.Mesh.Generation(), will.Mesh.Generation(), was.Mesh.Generation()))
	return diags
}
