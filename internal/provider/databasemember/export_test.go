package databasemember

// Away returns who is waited for before members restart, and for how many looks; Shortly and ForLong are such numbers.
var Away = away

// See Away.
const (
	Shortly = shortly
	ForLong = forLong
)
