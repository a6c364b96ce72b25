// Package rig is what the end-to-end tests and the measurements stand on: it builds the programs as they are shipped, and
// runs Terraform or OpenTofu on a stack the way an operator does, with providers from a folder instead of a registry.
package rig
