// Package databasetest holds the tests that every database driver passes. They run the real driver and its real servers: three
// members on three machines with a systemd each, and applications that write all the while.
package databasetest
