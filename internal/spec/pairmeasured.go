package spec

import "time"

// PairPropagation sums up how long canaries took from a node to the other one of a pair and back as a word, in seconds: for so long something can be known
// on the other node, by way of a database for example, whose file is not there yet.
type PairPropagation struct {
	P50 float64 `json:"p50_s"`
	// P99 is the greatest of all where there are fewer than a hundred.
	P99 float64 `json:"p99_s"`
	Max float64 `json:"max_s"`
	// Canaries are how many there are, of the last hour at most, and From is when the first of them had arrived.
	Canaries int       `json:"canaries"`
	From     time.Time `json:"from"`
}

// PairCarried is what a side of a pair has exchanged with the other since its programs started.
type PairCarried struct {
	From time.Time `json:"from"`
	// SentBytes and ReceivedBytes are what went over the stream between both, with what the programs have told each other.
	SentBytes     int64 `json:"sent_bytes"`
	ReceivedBytes int64 `json:"received_bytes"`
	// Files is how many files have arrived from the other side.
	Files int64 `json:"received_files"`
}
