package loadbalancer

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/cloudflare"
)

// monitorFromAPI is the one place where a monitor becomes the argument of that name. What nobody asked for and the vendor filled
// in stays null.
func monitorFromAPI(in cloudflare.Monitor, given monitorModel) monitorModel {
	out := monitorModel{
		Type: types.StringValue(string(in.Type)), Port: number64(in.Port), Interval: types.Int64Value(int64(in.Interval)),
		Timeout: types.Int64Value(int64(in.Timeout)), Retries: types.Int64Value(int64(in.Retries)),
	}
	if !given.ConsecutiveDown.IsNull() {
		out.ConsecutiveDown = number64(in.ConsecutiveDown)
	}
	if !given.ConsecutiveUp.IsNull() {
		out.ConsecutiveUp = number64(in.ConsecutiveUp)
	}
	if in.Type.Web() {
		out.Path, out.Method = types.StringValue(in.Path), types.StringValue(in.Method)
		out.HostHeader, out.ExpectedBody = stringOrNull(in.Host), stringOrNull(in.ExpectedBody)
		out.ExpectedCodes = types.StringValue(in.ExpectedCodes)
		out.FollowRedirects, out.AllowInsecure = types.BoolValue(in.FollowRedirects), types.BoolValue(in.AllowInsecure)
	}
	return out
}

func number64(n int) types.Int64 {
	if n == 0 {
		return types.Int64Null()
	}
	return types.Int64Value(int64(n))
}

func (m *Model) givenMonitor(ctx context.Context) monitorModel {
	var out monitorModel
	if known(m.Monitor) {
		_ = m.Monitor.As(ctx, &out, basetypes.ObjectAsOptions{}) // it is of the schema's type
	}
	return out
}

// sessionFromAPI is the one place where session affinity becomes the argument of that name.
func sessionFromAPI(in cloudflare.Session) sessionModel {
	out := sessionModel{Type: types.StringValue(string(in.Affinity)), Headers: types.SetNull(types.StringType)}
	if in.Affinity == cloudflare.AffinityNone {
		return out
	}
	out.TTL, out.Drain = types.Int64Value(int64(in.TTL)), types.Int64Value(int64(in.Drain))
	out.Failover = types.StringValue(in.Failover)
	if in.Affinity == cloudflare.AffinityHeader {
		out.Headers, out.RequireAllHeaders = stringSet(in.Headers), types.BoolValue(in.RequireAll)
		return out
	}
	out.SameSite, out.Secure = types.StringValue(in.SameSite), types.StringValue(in.Secure)
	return out
}
