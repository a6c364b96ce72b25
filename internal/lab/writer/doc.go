// Package writer writes to a replicated database like a crowd of applications, remembers every write that was acknowledged, and
// says afterwards what became of them: how long nobody could write, whether one is gone, whether two members ever took writes at
// the same time, and whether all members have the same data.
package writer
