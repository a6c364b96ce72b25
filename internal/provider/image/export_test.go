package image

// DefaultLabel and DefaultDescription are defaultLabel and defaultDescription, for tests.
var (
	DefaultLabel       = defaultLabel
	DefaultDescription = defaultDescription
)
