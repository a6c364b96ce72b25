package database

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/crew"
	"github.com/atollhq/terraform-provider-atoll/internal/provider/operator"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// ReasonSettingsRefused is the reason of condition DatabaseReady while a member's server does not take the settings.
const ReasonSettingsRefused = "SettingsRefused"

// await waits until every node of the database that is alive has accepted what it was told last. A server that refuses a setting is
// an error, before any member restarts for it.
func (t *task) await(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	var behind map[string]error
	refusedSince := time.Time{}
	for {
		status, err := t.crew.Status(ctx)
		if err == nil {
			var refused map[string]error
			behind, refused = t.behind(status)
			switch {
			case len(refused) == 0:
				refusedSince = time.Time{}
			case refusedSince.IsZero():
				refusedSince = time.Now()
			case len(behind) == 0 || time.Since(refusedSince) > 15*t.patience.Poll:
				diags.AddAttributeError(path.Root("settings"), "Settings are refused", fmt.Sprintf(
					"The server does not take them, so no member was restarted; all go on as before:\n%s\n\nCorrect settings and apply again.", crew.Lines(refused)))
				return diags
			}
			if len(behind)+len(refused) == 0 {
				return diags
			}
			tflog.Info(ctx, "waiting for members to accept the database", map[string]any{"database": t.name, "waiting": len(behind)})
		}
		if operator.Pause(ctx, t.patience.Poll) {
			continue
		}
		text := crew.Lines(behind)
		if err != nil {
			text = err.Error()
		}
		diags.AddError("Members have not accepted the change", fmt.Sprintf(
			"What they were told of database %q is not in effect in time:\n%s\n\nTheir agents go on trying; apply again to go on waiting.", t.name, text))
		return diags
	}
}

// behind returns the nodes of the database that are alive and have not put the newest object into effect, and those whose server
// refuses the settings, with why.
func (t *task) behind(s api.ClusterStatus) (behind, refused map[string]error) {
	behind, refused = map[string]error{}, map[string]error{}
	for node := range s.Databases[t.name].Members {
		n, ok := s.Nodes[node]
		if !ok || n.State != api.NodeReady && n.State != api.NodeNotReady {
			continue
		}
		c, reported := n.Condition(spec.ConditionDatabaseReady)
		if reported && !c.Good() && c.Reason == ReasonSettingsRefused {
			refused[node] = fmt.Errorf("%s", c.Message)
		}
		if n.Applied[t.ref] >= t.memory.Generation {
			continue
		}
		behind[node] = fmt.Errorf("it has not reported")
		if a, found := n.Condition(spec.ConditionApplied); found && !a.Good() {
			behind[node] = fmt.Errorf("%s: %s", a.Reason, a.Message)
		}
	}
	return behind, refused
}
