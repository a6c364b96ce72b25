package agent

// ErrPowerCut is what a cut returns.
var ErrPowerCut = errPowerCut

// SetCut makes cut be called after each persistent step; its error ends the agent there.
func (a *Agent) SetCut(cut func(step string) error) { a.cut = cut }

// JoinSteps and LeaveSteps are the persistent steps in their order.
func JoinSteps() []string {
	return []string{stepIdentity, stepMeshKeys, stepJoined, stepForgot, stepDone}
}

// LeaveSteps are the persistent steps of leaving.
func LeaveSteps() []string {
	return []string{stepLeaving, stepMeshGone, stepStateGone, stepLeftRecord}
}
