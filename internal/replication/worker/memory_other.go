//go:build !linux

package worker

import "time"

type pressure struct{}

func ownPressure() *pressure { return &pressure{} }

func (*pressure) warning(time.Time) string { return "" }
