// Package appcheck asks an application on its own node, again and again, whether it is well.
//
// A check (Prober) is one look. A Damper makes of many looks one judgement that does not flap: an application is unwell
// after so many failures in a row and well after so many successes, and one that falls too often has to be well for a
// while. A Watcher does both in the background.
package appcheck
