// Package reference holds what one resource takes of another: the attribute cluster of a node, the ends of a link. A user
// writes the other resource itself (cluster = atoll_cluster.web); Terraform drops everything but the attributes listed here.
package reference
