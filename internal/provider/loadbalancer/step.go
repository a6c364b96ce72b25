package loadbalancer

import (
	"context"
	"fmt"
	"math"
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

var (
	pathPattern  = regexp.MustCompile(`^/`)
	codesPattern = regexp.MustCompile(`^[1-5]([0-9]{2}|[xX]{2})(,[1-5]([0-9]{2}|[xX]{2}))*$`)
)

// stepValidator accepts multiples of one part in perOne.
type stepValidator struct{ perOne float64 }

// Description says what is accepted.
func (v stepValidator) Description(context.Context) string {
	return fmt.Sprintf("a multiple of %g", 1/v.perOne)
}

// MarkdownDescription says what is accepted.
func (v stepValidator) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

// ValidateFloat64 reports a number between two steps.
func (v stepValidator) ValidateFloat64(ctx context.Context, req validator.Float64Request, resp *validator.Float64Response) {
	if !known(req.ConfigValue) {
		return
	}
	if n := req.ConfigValue.ValueFloat64() * v.perOne; math.Abs(n-math.Round(n)) > 1e-9 {
		resp.Diagnostics.AddAttributeError(req.Path, invalid, fmt.Sprintf("%g is not %s.", req.ConfigValue.ValueFloat64(), v.Description(ctx)))
	}
}
