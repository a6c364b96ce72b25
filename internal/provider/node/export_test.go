package node

// InstanceLabel and InstanceMark are instanceLabel and instanceMark, for tests.
var (
	InstanceLabel = instanceLabel
	InstanceMark  = instanceMark
)
