package diagnose

import (
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// Cloudflare returns the diagnostics of an error of Cloudflare's API that concerns the attribute at, none when it is empty.
func Cloudflare(summary string, at path.Path, err error) diag.Diagnostics {
	var diags diag.Diagnostics
	if d, ok := Interrupted(summary, at, err.Error(), err); ok {
		diags.Append(d)
		return diags
	}
	detail := err.Error() + "."
	var zone *cloudflare.ZoneNotFoundError
	var failure *cloudflare.Error
	switch {
	case errors.As(err, &zone):
		detail += "\n\nCheck the name, and that the token (cloudflare.api_token or CLOUDFLARE_API_TOKEN) is for this zone and has the permission " +
			cloudflare.PermissionZone().String() + " for it."
	case errors.As(err, &failure):
		detail += cloudflareRemedy(failure)
	}
	if at.Equal(path.Empty()) {
		diags.AddError(summary, detail)
	} else {
		diags.AddAttributeError(at, summary, detail)
	}
	return diags
}

func cloudflareRemedy(e *cloudflare.Error) string {
	switch {
	case errors.Is(e.Kind, cloudflare.ErrForbidden):
		return fmt.Sprintf("\n\nAdd the permission %s to the token (cloudflare.api_token or CLOUDFLARE_API_TOKEN), for this zone and its account; "+
			"the dashboard calls Write \"Edit\". What was done so far is kept.", e.Permission)
	case errors.Is(e.Kind, cloudflare.ErrUnauthorized):
		return "\n\nGive the provider a token that is active (cloudflare.api_token or CLOUDFLARE_API_TOKEN): an API token, not the Global API Key."
	case errors.Is(e.Kind, cloudflare.ErrRateLimited):
		return "\n\nThe vendor allows a token 1,200 requests in five minutes, all its users together, and then refuses everything for five. " +
			"Apply again later, or with longer timeouts; what was done so far is kept."
	case errors.Is(e.Kind, cloudflare.ErrQuota):
		return "\n\nRemove what the account does not need any more, or raise its plan, and apply again; what was done so far is kept."
	case errors.Is(e.Kind, cloudflare.ErrInUse):
		return "\n\nTake it out of what still refers to it and apply again; what was done so far is kept."
	case errors.Is(e.Kind, cloudflare.ErrUnavailable), errors.Is(e.Kind, cloudflare.ErrUnreachable):
		return "\n\nLook at www.cloudflarestatus.com and at the way to the API (cloudflare.base_url or CLOUDFLARE_BASE_URL), then apply again; what was done so far is kept."
	default:
		return ""
	}
}
