package node

// InstanceLabel is instanceLabel, for tests.
var InstanceLabel = instanceLabel
