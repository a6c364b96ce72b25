package unison

// resumed is how long a file has to be at least that unison goes on with, in bytes: it begins shorter ones anew (appendThreshold in its
// copy.ml).
const resumed = 1 << 20

// Resumes implements worker.Engine.
func (*engine) Resumes(size int64) bool { return size >= resumed }
