// Package linode creates, reads and deletes Linode instances, and uploads, copies and deletes images.
//
// It is a thin layer over linodego, which does the encoding. What linodego leaves open is settled here: errors are typed and
// carry what the API said (field, reason, missing scope), requests cannot hang, Linode's rate limits are kept before the API
// has to enforce them, retries are few and honour Retry-After within the caller's deadline, and a create whose answer was lost
// finds the instance that it made instead of making a second one. An image's content is sent by this package itself, as a
// stream, and never twice.
package linode
