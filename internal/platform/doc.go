// Package platform is where a node's first-boot data comes from: one strict, versioned payload, and the carriers that bring
// it to a machine.
//
// NewPayload makes the payload where the operator's signing key is; Sources lists the carriers of this machine in the order
// in which an agent looks at them, and Look does so. Whatever the package reports of data that it found is the carrier's
// name and the data's SHA-256 checksum, never content: the payload holds the ticket's private key.
package platform
