package loadbalancer

import (
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"
)

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

// Due is due of a certificate that expires then and was issued for so many days, for tests.
func Due(expires time.Time, days int64, now time.Time) bool {
	c := certificate{Expires: types.StringValue(expires.Format(time.RFC3339)), Days: types.Int64Value(days)}
	return c.due(now)
}
