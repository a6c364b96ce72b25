package operator

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
)

// From returns the operator that the provider gave to a resource or data source, nil before the provider is configured.
func From(data any, diags *diag.Diagnostics) *Operator {
	if data == nil {
		return nil
	}
	o, ok := data.(*Operator)
	if !ok {
		diags.AddError("Provider data", fmt.Sprintf("The provider passed a %T instead of an operator. This is a bug of the provider; please report it.", data))
		return nil
	}
	return o
}
