package ahead

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/guard"
)

// do does something in a thread with the account's rights to files and no others, unless it cannot have these.
func (a Account) do(something func(thread int)) error {
	problem := make(chan error)
	go func() {
		runtime.LockOSThread() // it has another account than the process from here on, and is never given back
		err := guard.Become(a.UID, a.GID, a.Groups)
		if err == nil {
			something(unix.Gettid())
		}
		problem <- err
	}()
	return <-problem
}
