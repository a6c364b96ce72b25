package replicationpair

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	tfpath "github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// webRoots are what web servers hand to everybody by default: Debian's nginx and Apache, nginx.org's packages, and others. Directories of
// these names are so anywhere.
func webRoots() (paths, names []string) {
	return []string{"/var/www/html", "/usr/share/nginx/html", "/srv/http", "/srv/www/htdocs"}, []string{"public_html", "htdocs"}
}

// webRoot returns the directory above or at a path that web servers hand to everybody, "" for none.
func webRoot(tree string) string {
	paths, names := webRoots()
	for _, root := range paths {
		if tree == root || spec.Within(tree, root) {
			return root
		}
	}
	for at := path.Clean(tree); at != "/" && at != "."; at = path.Dir(at) {
		if slices.Contains(names, path.Base(at)) {
			return at
		}
	}
	return ""
}

// acceptModel is the argument accept.
type acceptModel struct {
	InWebRoot types.String `tfsdk:"in_web_root"`
}

func acceptTypes() map[string]attr.Type { return map[string]attr.Type{"in_web_root": types.StringType} }

func acceptAttribute() schema.SingleNestedAttribute {
	paths, names := webRoots()
	return schema.SingleNestedAttribute{
		Optional: true, MarkdownDescription: "What of the pair is meant to be so although it is an error otherwise. It goes nowhere but into state.",
		Attributes: map[string]schema.Attribute{
			"in_web_root": schema.StringAttribute{
				Optional: true, Validators: []validator.String{stringvalidator.LengthAtLeast(3)},
				MarkdownDescription: "Why a tree lies where web servers hand every file to everybody (`" + strings.Join(paths, "`, `") + "`, and any `" + strings.Join(names, "` or `") +
					"`), for example `\"WordPress serves wp-content/uploads itself, and all of it is public\"`.",
			},
		},
	}
}

// inWebRoot tells what the configuration says of trees in a web root: why that is meant to be so, "" for nothing, and whether that is known.
func (m *Model) inWebRoot(ctx context.Context) (why string, whole bool, diags diag.Diagnostics) {
	if m.Accept.IsNull() || m.Accept.IsUnknown() {
		return "", m.Accept.IsNull(), nil
	}
	var a acceptModel
	diags = m.Accept.As(ctx, &a, basetypes.ObjectAsOptions{})
	return a.InWebRoot.ValueString(), !a.InWebRoot.IsUnknown(), diags
}

// validatePublished refuses trees that web servers hand out, cold ones included, unless that is meant to be so.
func (m *Model) validatePublished(ctx context.Context, p *pair) diag.Diagnostics {
	why, whole, diags := m.inWebRoot(ctx)
	if diags.HasError() || !whole {
		return diags
	}
	found := false
	for _, e := range p.ends {
		for name, tree := range map[string]types.String{"path": e.path, "cold_path": e.coldPath} {
			root := ""
			if known(tree) {
				root = webRoot(tree.ValueString())
			}
			if found = found || root != "" || tree.IsUnknown(); root == "" || why != "" {
				continue
			}
			diags.AddAttributeError(e.at().AtName(name), "Data under a web root", fmt.Sprintf(
				"%s is in %s, which web servers hand to everybody: whoever guesses a name has the file, whatever the application says, and a file that somebody uploads may be run.\n\n"+
					"Keep data beside it, such as in /srv/%s, and have the application hand it out. Where the application wants it there and all of it is public, "+
					"say so: accept = { in_web_root = \"why\" }.", tree.ValueString(), root, path.Base(tree.ValueString())))
		}
	}
	if why != "" && !found && p.whole {
		diags.AddAttributeWarning(tfpath.Root("accept").AtName("in_web_root"), "Nothing to accept", "None of the trees lies in a directory that web servers hand to everybody.\n\nLeave in_web_root out.")
	}
	return diags
}
