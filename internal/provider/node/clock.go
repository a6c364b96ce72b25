package node

import (
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// checkClock compares this computer's clock with that of whoever takes part in making a node, before anything is made:
// tickets and the operator's certificates are dated, so beyond what they allow for the node could not join.
func (t *task) checkClock(at path.Path, whose string, ahead time.Duration) diag.Diagnostics {
	if ahead.Abs() <= trust.Skew {
		return nil
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	return diag.Diagnostics{diag.NewAttributeErrorDiagnostic(at, "Clocks disagree", fmt.Sprintf(
		"The clock of this computer (%s) is %s %s that of %s. Nothing was made: a node that is made now could not join.\n\n"+
			"Set the clock right that is wrong (`timedatectl set-ntp true`, or chrony), then apply again. Up to %s do no harm.",
		t.op.Now().UTC().Format(time.RFC3339), ahead.Abs().Round(time.Second), direction, whose, trust.Skew))}
}
