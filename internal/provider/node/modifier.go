package node

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/atollhq/terraform-provider-atoll/internal/provider/adoption"
)

const onlyIfKnown = "A change makes a new node, unless the present value is not known, as after an import."

// replaceKnownString asks for a new resource when a value that is in state changes. After an import some values are not:
// writing them down must not cost a machine.
func replaceKnownString() planmodifier.String {
	return stringplanmodifier.RequiresReplaceIf(func(_ context.Context, req planmodifier.StringRequest, resp *stringplanmodifier.RequiresReplaceIfFuncResponse) {
		resp.RequiresReplace = !req.StateValue.IsNull()
	}, onlyIfKnown, onlyIfKnown)
}

// replaceKnownInt64 is replaceKnownString for numbers.
func replaceKnownInt64() planmodifier.Int64 {
	return int64planmodifier.RequiresReplaceIf(func(_ context.Context, req planmodifier.Int64Request, resp *int64planmodifier.RequiresReplaceIfFuncResponse) {
		resp.RequiresReplace = !req.StateValue.IsNull()
	}, onlyIfKnown, onlyIfKnown)
}

// hostKeyValidator accepts what ssh-keyscan prints.
type hostKeyValidator struct{}

// Description says what is accepted.
func (hostKeyValidator) Description(context.Context) string {
	return "an SSH host key as ssh-keyscan prints it"
}

// MarkdownDescription says what is accepted.
func (v hostKeyValidator) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateString reports a key that cannot be read.
func (hostKeyValidator) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if _, err := adoption.ParseHostKey(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid SSH host key", "host_key "+err.Error()+".")
	}
}
