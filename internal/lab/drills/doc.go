// Package drills lets happen to a real cluster in the lab what happens to clusters, under load, and says what it cost: how long
// requests failed, how many, what was lost, and whether that is what was promised.
//
// A drill is one file: a function that returns a Drill, and a line in All. Drills that name the same Cluster share one, which
// is brought up by Terraform as an operator does it; a drill whose cluster does not heal is failed, and the next one gets a new cluster.
package drills
