package digest_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

var large = flag.Bool("large", false, "benchmark with 470,000 files of 15 KB, too: 7 GB and as many inodes in the temporary directory")

// BenchmarkHash is what SHA-256 takes for a file of 15 KB and for a large one:
//
//	go test -run '^$' -bench Hash ./internal/replication/digest
func BenchmarkHash(b *testing.B) {
	for _, size := range []int{15 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				sha256.Sum256(data)
			}
		})
	}
}

// BenchmarkDigest digests files of 15 KB in directories of 100 and says how many times as long that takes as the least
// that anybody could do in the same run on as many threads: "floor" is walking with an lstat of each file for a digest by
// the cache, and reading all for one without. The page cache is warm; "cold" drops it before, as root.
//
//	go test -run '^$' -bench Digest -benchtime 3x ./internal/replication/digest
//	go test -run '^$' -bench Digest -benchtime 3x -timeout 1h ./internal/replication/digest -large
func BenchmarkDigest(b *testing.B) {
	sizes := []int{47_000}
	if *large {
		sizes = append(sizes, 470_000)
	}
	for _, files := range sizes {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			root := b.TempDir()
			many(b, root, files)
			ahead := digest.Options{Permissions: 0o777, Workers: 4, Now: func() time.Time { return time.Now().Add(time.Minute) }}
			for _, mode := range []string{"first", "cold", "cached"} {
				b.Run(mode, func(b *testing.B) {
					var floor, ours time.Duration
					tree := digest.New(root, ahead)
					take(b, tree)
					for b.Loop() {
						b.StopTimer()
						if mode != "cached" {
							tree = digest.New(root, ahead)
						}
						drop(b, mode == "cold")
						floor += walk(b, root, mode != "cached")
						drop(b, mode == "cold")
						b.StartTimer()
						s := take(b, tree)
						ours += s.Took
						if s.Totals.Files != int64(files) || (s.Read.Files == 0) != (mode == "cached") {
							b.Fatalf("%+v, read %+v", s.Totals, s.Read)
						}
					}
					b.ReportMetric(float64(ours)/float64(floor), "times-floor")
					b.ReportMetric(float64(files)*float64(b.N)/ours.Seconds(), "files/s")
				})
			}
		})
	}
}

func drop(b *testing.B, cold bool) {
	if !cold {
		return
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o600); err != nil {
		b.Skip("not measured: only root empties the page cache: ", err)
	}
}

// walk is the floor: four goroutines that walk, and read what they find.
func walk(b *testing.B, root string, read bool) time.Duration {
	began := time.Now()
	var wait sync.WaitGroup
	paths := make(chan string, 1024)
	for range 4 {
		wait.Go(func() {
			buffer := make([]byte, 1<<18)
			for dir := range paths {
				entries, err := os.ReadDir(dir)
				if err != nil {
					b.Error(err)
				}
				for _, e := range entries {
					if !read {
						if _, err := e.Info(); err != nil {
							b.Error(err)
						}
						continue
					}
					f, err := os.Open(filepath.Join(dir, e.Name()))
					if err != nil {
						b.Error(err)
						continue
					}
					if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, buffer); err != nil {
						b.Error(err)
					}
					_ = f.Close()
				}
			}
		})
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		// The tree is root/x/y/files: the leaves hold all files.
		if rel, _ := filepath.Rel(root, path); err == nil && e.IsDir() && filepath.Dir(filepath.Dir(rel)) == "." && filepath.Dir(rel) != "." {
			paths <- path
			return fs.SkipDir
		}
		return err
	})
	close(paths)
	wait.Wait()
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
