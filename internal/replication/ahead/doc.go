// Package ahead brings the contents of a whole tree to a machine that has nothing of it yet, ahead of the program that keeps both equal.
//
// Such a program carries one file after the other on one CPU, and asks and answers for each of them: 47,000 small files take it 7 s where what is
// sent in one piece takes 2 s, and over a long way many times that. What comes ahead is put where the program itself puts what it has received
// and not completed. It looks there before it has a file sent, compares what it finds by a digest, gives it its owner, its dates and its name, and
// removes what it did not want. So nothing depends on what comes ahead: what is missing, or has changed since, is carried as ever.
package ahead

// most is how long a file may be that comes ahead, in bytes: longer ones are carried well enough by whatever carries them.
const most = 1 << 20

const (
	// writers is how many files are written, and read, at a time, partMost how many of one directory are read one after another.
	writers  = 4
	partMost = 128
	// waiting is how many files wait for each writer: all of them may be as long as any.
	waiting = 4
	// directoriesMost is of how many directories it is remembered who writes their files.
	directoriesMost = 10_000
)

// Count is what has come ahead.
type Count struct {
	Files, Bytes int64
}
