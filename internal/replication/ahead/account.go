package ahead

// Account is whose rights to files count, whoever this process belongs to.
type Account struct {
	UID, GID int
	Groups   []int
}
