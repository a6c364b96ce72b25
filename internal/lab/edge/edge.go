package edge

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
)

// Edge serves the hostnames of an account: an [http.Handler] that finds the hostname in the Host header. Set the fields
// before the first call; the methods may be called from several goroutines. It checks endpoints from the first request or
// Reload until Close.
type Edge struct {
	// Account returns what the account holds, such as [cloudflare.Server.Account].
	Account func() *cloudflare.Account
	// Dial connects to endpoints. When nil they are connected to from here.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Place is where the edge is, as the health of a pool names it; "Singapore, SG" when empty.
	Place string
	// Region and Country are where clients are taken to be that do not say so by RegionHeader or CountryHeader; "SEAS" and
	// "SG" when empty.
	Region  string
	Country string
	// Latitude and Longitude are the edge's, for proximity steering; Singapore's when both are 0.
	Latitude  float64
	Longitude float64

	// Port and TLSPort are where endpoints listen that have no port of their own, for requests over HTTP and HTTPS; 80 and 443 when 0.
	Port    int
	TLSPort int
	// Second is how long a second of monitors and sessions lasts; less than a real one in tests.
	Second time.Duration
	// Propagation passes before a change of the account reaches the edge.
	Propagation time.Duration
	// Patience is the vendor's when zero.
	Patience Patience

	Log *slog.Logger

	setup     sync.Once
	ctx       context.Context // the life of the monitors, ended by Close
	cancel    context.CancelFunc
	work      sync.WaitGroup
	secret    []byte // signs the cookies of sessions
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	// secure are the transports for HTTPS, by the hostname.
	secure map[string]*http.Transport

	// reloading makes one change of the monitors happen after the other. Changes counts those of the account, taken is the
	// last one that has arrived.
	reloading      sync.Mutex
	changes, taken uint64
	account        atomic.Pointer[cloudflare.Account]

	mu       sync.Mutex
	watches  map[key]*watch
	pending  map[string]int // requests under way by endpoint and by pool
	sessions map[string]*headerSession
}

// Patience is how long the edge waits for an endpoint; a zero field is the vendor's time.
type Patience struct {
	Connect time.Duration // 19 s, then error 522
	// Acknowledge is for a request that was sent on an open connection: 90 s, then error 522.
	Acknowledge time.Duration
	Answer      time.Duration // 120 s for the head of the answer, then error 524
}

func (p Patience) withDefaults() Patience {
	if p.Connect == 0 {
		p.Connect = 19 * time.Second
	}
	if p.Acknowledge == 0 {
		p.Acknowledge = 90 * time.Second
	}
	if p.Answer == 0 {
		p.Answer = 120 * time.Second
	}
	return p
}

// RegionHeader and CountryHeader let a client of the lab say where it is, such as "WEU" and "FR". Endpoints do not see
// them.
const (
	RegionHeader  = "Lab-Region"
	CountryHeader = "Lab-Country"
)

func (e *Edge) start() {
	e.setup.Do(func() {
		e.ctx, e.cancel = context.WithCancel(context.Background())
		setDefault(&e.Place, "Singapore, SG")
		setDefault(&e.Region, "SEAS")
		setDefault(&e.Country, "SG")
		setDefault(&e.Port, 80)
		setDefault(&e.TLSPort, 443)
		setDefault(&e.Second, time.Second)
		if e.Latitude == 0 && e.Longitude == 0 {
			e.Latitude, e.Longitude = 1.35, 103.82
		}
		if e.Log == nil {
			e.Log = slog.New(slog.DiscardHandler)
		}
		if e.Dial == nil {
			e.Dial = (&net.Dialer{}).DialContext
		}
		e.Patience = e.Patience.withDefaults()
		e.secret = make([]byte, 32)
		_, _ = rand.Read(e.secret) // it never fails
		e.watches, e.pending, e.sessions = map[key]*watch{}, map[string]int{}, map[string]*headerSession{}
		e.transport = &http.Transport{
			DialContext: e.connect, ResponseHeaderTimeout: e.Patience.Answer, DisableCompression: true,
			MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		}
		e.secure = map[string]*http.Transport{}
		e.proxy = e.newProxy()
		e.take(e.change())
	})
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Reload takes over what the account holds now: call it after every change. It does not wait for checks.
func (e *Edge) Reload() {
	e.start()
	number, account := e.change()
	if e.Propagation == 0 {
		e.take(number, account)
		return
	}
	if e.ctx.Err() != nil {
		return
	}
	// What arrives then is what the account holds now: a change that comes meanwhile takes as long itself.
	time.AfterFunc(e.Propagation, func() { e.take(number, account) })
}

// change returns what the account holds now, and a number that orders it.
func (e *Edge) change() (uint64, *cloudflare.Account) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	e.changes++
	return e.changes, e.Account()
}

// take makes the edge do what an account holds, unless a later change has overtaken it.
func (e *Edge) take(number uint64, account *cloudflare.Account) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	if number <= e.taken {
		return
	}
	e.taken = number
	e.account.Store(account)
	e.watch(account)
}

// Close ends the checks and every idle connection, and waits for the checks. Requests under way are not ended.
func (e *Edge) Close() {
	e.start()
	e.cancel()
	e.reloading.Lock() // no watch begins after it
	defer e.reloading.Unlock()
	e.work.Wait()
	e.transport.CloseIdleConnections()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.secure {
		t.CloseIdleConnections()
	}
}
