package ahead

import "log/slog"

// Tree is where what comes ahead is put.
type Tree struct {
	// Root is the tree's root.
	Root string
	// Account is what everything belongs to, and has to be allowed to make it.
	Account Account
	// Name is the name that something in the root gets until it is complete, "" to leave it out.
	Name func(name string) string
	// Serving is called with the id of each thread that writes, before it does, and what it returns when that has ended.
	Serving func(thread int) (ended func())
	// Enough is called once nothing more can be taken, for want of room for example.
	Enough func()
	Log    *slog.Logger
}
