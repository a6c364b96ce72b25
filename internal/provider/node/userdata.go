package node

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/atollhq/terraform-provider-atoll/internal/platform"
)

// maxOwnUserData is how many bytes of their own users may give a machine. A quarter of what Linode takes is kept for the
// first-boot data, whose size is not known before the apply: some 5 KB, and more with many seeds.
const maxOwnUserData = 48 << 10

// reserved is how large first-boot data may be, in its JSON form, beside that: it goes there in base64.
const reserved = 11 << 10

// userDataValidator accepts user-data that first-boot data can be added to.
type userDataValidator struct{}

// Description says what is accepted.
func (userDataValidator) Description(context.Context) string {
	return fmt.Sprintf("cloud-init's user-data as text, at most %d bytes", maxOwnUserData)
}

// MarkdownDescription says what is accepted.
func (v userDataValidator) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateString reports what Linode or cloud-init would refuse. It does not quote the value, which may hold secrets.
func (userDataValidator) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if !known(req.ConfigValue) {
		return
	}
	own := []byte(req.ConfigValue.ValueString())
	if len(own) > maxOwnUserData {
		resp.Diagnostics.AddAttributeError(req.Path, "User-data is too large", fmt.Sprintf(
			"user_data has %d bytes, and %d is the most: Linode takes %d, and Atoll's first-boot data needs some of them.\n\n"+
				"Have the machine fetch large files, for example by #include or write_files with a source.", len(own), maxOwnUserData, platform.MaxPayload))
		return
	}
	// What is no cloud-config may grow by a third on the way.
	if _, err := platform.Compose(make([]byte, reserved), own); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid user-data", "user_data: "+err.Error()+".")
	}
}
