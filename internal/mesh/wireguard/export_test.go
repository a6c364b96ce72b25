package wireguard

// Where the driver writes, for tests.
const (
	UnitName   = unitName
	KeyPath    = keyPath
	ConfigPath = configPath
	StatePath  = statePath
	FilterPath = filterPath
)
