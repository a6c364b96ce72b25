// Package rest is how the clients of vendors' APIs send their requests: each try is bounded in time, the vendor's rate limits
// are kept before the vendor has to enforce them, retries are few and honour Retry-After within the caller's deadline, and how
// the last try ended is kept for a client whose library turns every failure into text.
package rest
