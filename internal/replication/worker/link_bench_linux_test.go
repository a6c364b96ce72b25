package worker_test

import (
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// sockets returns the two ends of a connection such as programs of one machine have.
func sockets(b *testing.B) (ends [2]net.Conn) {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		if ends[i], err = net.FileConn(f); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = ends[i].Close() })
	}
	return ends
}

// processorTime is what this process has used so far, in seconds.
func processorTime(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkChain carries what one program says to the other by way of both workers and something between them, all in one process.
func BenchmarkChain(b *testing.B) {
	const piece = 64 << 10
	from, mesh, back, to := sockets(b), sockets(b), sockets(b), sockets(b)
	hear := func(worker.Word) {}
	done := make(chan struct{}, 3)
	join := func(one, other io.ReadWriteCloser) {
		_ = worker.Join(one, other) // closing one is how it ends
		done <- struct{}{}
	}
	go join(from[1], worker.NewLink(mesh[0], hear))
	go join(mesh[1], back[0])
	go join(to[0], worker.NewLink(back[1], hear))
	go func() {
		for data := make([]byte, 16<<10); ; {
			if _, err := from[0].Write(data); err != nil {
				return // it has read enough
			}
		}
	}()
	b.SetBytes(piece)
	data := make([]byte, piece)
	used := processorTime(b)
	for b.Loop() {
		if _, err := io.ReadFull(to[1], data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorTime(b)-used)/(float64(b.N)*piece/1e9), "cpu-s/GB")
	for _, end := range []net.Conn{from[0], to[1]} {
		_ = end.Close()
	}
	for range cap(done) {
		<-done
	}
}
