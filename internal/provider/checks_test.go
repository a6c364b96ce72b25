package provider_test

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// do is a plan check that does something between plan and apply.
type do func() error

// CheckPlan implements plancheck.PlanCheck.
func (f do) CheckPlan(_ context.Context, _ plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	resp.Error = f()
}

// checkState is a state check that looks at the world.
type checkState func() error

// CheckState implements statecheck.StateCheck.
func (f checkState) CheckState(_ context.Context, _ statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	resp.Error = f()
}

// reader is a state check that takes a value out of the state.
type reader struct {
	resource string
	at       tfjsonpath.Path
	into     *string
}

func readString(resource string, at tfjsonpath.Path, into *string) statecheck.StateCheck {
	return reader{resource, at, into}
}

// CheckState implements statecheck.StateCheck.
func (r reader) CheckState(_ context.Context, req statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	for _, one := range req.State.Values.RootModule.Resources {
		if one.Address != r.resource {
			continue
		}
		v, err := tfjsonpath.Traverse(one.AttributeValues, r.at)
		if err != nil {
			resp.Error = err
			return
		}
		*r.into = fmt.Sprint(v)
		return
	}
	resp.Error = fmt.Errorf("the state has no %s", r.resource)
}

// same compares values.
type same struct{}

// CompareValues implements compare.ValueComparer.
func (same) CompareValues(values ...any) error {
	for _, v := range values[1:] {
		if v != values[0] {
			return fmt.Errorf("%v is not %v", v, values[0])
		}
	}
	return nil
}
