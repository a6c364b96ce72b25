// Package lab is a small internet with clouds on one Linux machine: three or more sites behind a router, machines that
// really boot, and an emulated Linode API that makes more of them. Paths can be cut or made lossy, machines can lose
// their power or freeze. Tests use it in their own process with Start; atoll-lab runs it in the background.
//
// A lab needs root, and everything it makes carries its name: any number of labs run side by side, and Down removes
// one completely, also when the process that ran it was killed.
package lab
