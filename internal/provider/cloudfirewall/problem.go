package cloudfirewall

import (
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/diagnose"
)

// Problem tells of what keeps a node's own firewall from being as it should.
func Problem(err error) diag.Diagnostics {
	var many *linode.TooManyRulesError
	if errors.As(err, &many) {
		return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(Path(), failed, "The node's firewall: "+tooMany(many))}
	}
	return diagnose.LinodeFields(failed, Path(), map[string]path.Path{}, remedy, err)
}

func remedy(kind error) string {
	switch {
	case errors.Is(kind, linode.ErrUnauthorized):
		return "\n\nGive the provider a token (linode.token or LINODE_TOKEN) with the scopes linodes:read_write, firewall:read_write and events:read_only."
	case errors.Is(kind, linode.ErrConflict), errors.Is(kind, linode.ErrInvalid):
		return "\n\nA firewall or an instance is not as this state knows it, for example since another firewall was put before the instance: " +
			"look at it in Linode's console, take the other one off, and apply again; what was done so far is kept."
	case errors.Is(kind, linode.ErrNotFound):
		return "\n\nIt vanished while this ran: apply again, which makes what is missing."
	}
	return ""
}
