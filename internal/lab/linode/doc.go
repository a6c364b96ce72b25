// Package linode emulates the Linode API and the metadata service of its instances.
//
// It answers what linodego asks for the calls that Atoll makes, in the shapes, with the errors,
// limits and delays of the live service. Images can be uploaded and made of disks, and hold what
// came. In memory alone it serves the provider's acceptance tests; with [Machines] behind it, its
// instances are machines that boot in the lab.
package linode
