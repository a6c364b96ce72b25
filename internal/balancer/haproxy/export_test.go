package haproxy

// Names that tests look at.
const (
	UnitName   = unitName
	ConfigPath = configPath
	BundleDir  = bundleDir
)
