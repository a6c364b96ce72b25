package unison

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// coldStreams is how many streams about old directories a worker may want at a time: rsync works over one of them for hours.
const coldStreams = 4

// dialer opens a stream to the other node.
type dialer = func(context.Context) (io.ReadWriteCloser, error)

// offering offers streams to a worker until its end.
type offering struct {
	mu   sync.Mutex
	dial dialer
	end  context.CancelFunc
}

// open opens a stream as it is done now.
func (o *offering) open(ctx context.Context) (io.ReadWriteCloser, error) {
	o.mu.Lock()
	dial := o.dial
	o.mu.Unlock()
	return dial(ctx)
}

// offer has streams opened by dial be offered to a pair's worker, none when dial is nil.
func (d *Driver) offer(pair string, dial dialer) {
	d.offerTo(pair, pair, 1, dial, (*worker.Client).Offer)
}

// offerCold is offer for streams about old directories. No pair's name has a slash.
func (d *Driver) offerCold(pair string, dial dialer) {
	d.offerTo(pair+"/cold", pair, coldStreams, dial, (*worker.Client).OfferCold)
}

func (d *Driver) offerTo(key, pair string, most int, dial dialer, offer func(*worker.Client, context.Context, dialer) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.leads[key]
	switch {
	case dial == nil && o != nil:
		o.end()
		delete(d.leads, key)
	case dial != nil && o != nil:
		o.mu.Lock()
		o.dial = dial
		o.mu.Unlock()
	case dial != nil:
		ctx, cancel := context.WithCancel(context.Background())
		o = &offering{dial: dial, end: cancel}
		d.leads[key] = o
		for range most {
			go d.keepOffering(ctx, pair, o, offer)
		}
	}
}

// offerPause is how long a driver waits before it offers again: the worker's own pauses come on top.
const offerPause = 200 * time.Millisecond

func (d *Driver) keepOffering(ctx context.Context, pair string, o *offering, offer func(*worker.Client, context.Context, dialer) error) {
	said := ""
	for ctx.Err() == nil {
		err := offer(d.worker(pair), ctx, o.open)
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			d.log.Info("the other side of a pair is not reached", "pair", pair, "error", strings.Join(strings.Fields(said), " "))
		}
		select {
		case <-ctx.Done():
		case <-time.After(offerPause):
		}
	}
}
