// Package bare makes machines of the lab with nothing of Atoll running on them: real systemd, real packages, a network between
// them. Drivers are tried on them alone, and what Atoll does is compared with what the same software does without it.
package bare
