package loadbalancer

// PoolName, Mark and Marked are poolName, mark and marked, for tests.
var (
	PoolName = poolName
	Mark     = mark
	Marked   = marked
)

// Differences of what shall be and what is, for tests.
var (
	MonitorDifferences  = monitorDifferences
	PoolDifferences     = poolDifferences
	BalancerDifferences = balancerDifferences
)
