// Package routertest holds the tests that every driver of package router passes, on real programs and real servers.
package routertest
