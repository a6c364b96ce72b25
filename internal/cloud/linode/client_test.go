package linode_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// cloud is an emulated account and a client of it with short pauses. Calls counts the requests by method and path.
type cloud struct {
	*emulated.Server
	client *linode.Client

	mu    sync.Mutex
	calls map[string]int
}

func newCloud(t *testing.T, change func(*linode.Config)) *cloud {
	t.Helper()
	c := &cloud{Server: &emulated.Server{Token: "right"}, calls: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls[r.Method+" "+r.URL.Path]++
		c.mu.Unlock()
		c.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		c.Close()
		server.Close()
	})
	cfg := linode.Config{Token: "right", URL: server.URL, Timeout: time.Second, Pause: time.Millisecond, Poll: time.Millisecond, Settle: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	var err error
	if c.client, err = linode.New(cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) count(call string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[call]
}

const (
	path = "/linode/instances"
	post = "POST /v4" + path
)

func wanted() linode.Create {
	return linode.Create{
		Label: "web-sg1", Region: "ap-south", Type: "g6-nanode-1", Image: "private/1", Mark: "atoll:web/sg1",
		Tags: []string{"web"}, UserData: []byte("secret"), Generation: linode.GenerationLegacyConfig,
	}
}

func (c *cloud) create(t *testing.T) (linode.Instance, bool, error) {
	t.Helper()
	return c.client.CreateInstance(t.Context(), wanted())
}

func TestLifeOfAnInstance(t *testing.T) {
	t.Parallel()
	for _, generation := range linode.Generations() {
		t.Run(string(generation), func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, nil)
			in := wanted()
			in.Generation = generation
			made, adopted, err := c.client.CreateInstance(t.Context(), in)
			if err != nil || adopted {
				t.Fatalf("got adopted %v, error %v", adopted, err)
			}
			if !made.IPv4.IsValid() || !slices.Contains(made.Tags, "web") || !slices.Contains(made.Tags, "atoll:web/sg1") {
				t.Errorf("got %+v", made)
			}
			running, err := c.client.WaitRunning(t.Context(), made.ID)
			if err != nil || running.Status != "running" {
				t.Fatalf("got %+v, error %v", running, err)
			}
			changed, err := c.client.UpdateInstance(t.Context(), made.ID, "other", "atoll:web/sg1", nil)
			if err != nil || changed.Label != "other" || !slices.Equal(changed.Tags, []string{"atoll:web/sg1"}) {
				t.Fatalf("got %+v, error %v", changed, err)
			}
			for range 2 { // the second time it is gone already
				if err := c.client.DeleteInstance(t.Context(), made.ID); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.client.Instance(t.Context(), made.ID); !errors.Is(err, linode.ErrNotFound) {
				t.Errorf("got error %v, want ErrNotFound", err)
			}
		})
	}
}

// TestCreateDoesNotDouble creates an instance under every fault after which it is not known whether it was made.
func TestCreateDoesNotDouble(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault emulated.Fault
		// adopted and posts are what is expected.
		adopted bool
		posts   int
	}{
		{"answer lost", emulated.Fault{Method: http.MethodPost, Path: path, LoseAnswer: true}, false, 1},
		{"hangs before it is made", emulated.Fault{Method: http.MethodPost, Path: path, Hang: true}, false, 2},
		{"inner error", emulated.Fault{Method: http.MethodPost, Path: path, Status: http.StatusInternalServerError}, false, 2},
		{"rate limit", emulated.Fault{Method: http.MethodPost, Path: path, Status: http.StatusTooManyRequests}, false, 2},
		{"the look fails", emulated.Fault{Method: http.MethodGet, Path: path, Status: http.StatusBadGateway}, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, nil)
			c.Inject(tt.fault)
			_, adopted, err := c.create(t)
			if err != nil {
				t.Fatal(err)
			}
			if adopted != tt.adopted || c.count(post) != tt.posts {
				t.Errorf("got adopted %v after %d requests, want %v after %d", adopted, c.count(post), tt.adopted, tt.posts)
			}
			if _, again, err := c.create(t); err != nil || !again {
				t.Errorf("a second create: got adopted %v, error %v; want the same instance", again, err)
			}
		})
	}
}

// TestCreateTakesNobodyElses leaves an instance alone that has the label but is another node's, or was made otherwise.
func TestCreateTakesNobodyElses(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*linode.Create){
		"label":  func(in *linode.Create) { in.Mark = "atoll:web/other" },
		"region": func(in *linode.Create) { in.Region = "jp-osa" },
		"image":  func(in *linode.Create) { in.Image = "linode/debian12" },
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, nil)
			if _, _, err := c.create(t); err != nil {
				t.Fatal(err)
			}
			in := wanted()
			change(&in)
			_, _, err := c.client.CreateInstance(t.Context(), in)
			var failure *linode.Error
			if !errors.As(err, &failure) || !errors.Is(err, linode.ErrConflict) {
				t.Fatalf("got error %v, want ErrConflict", err)
			}
			if _, ok := failure.Field(field); !ok {
				t.Errorf("got %v, want it on field %s", err, field)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	always := func(f emulated.Fault) func(*cloud) {
		f.Times = -1
		return func(c *cloud) { c.Inject(f) }
	}
	tests := []struct {
		name   string
		config func(*linode.Config)
		change func(*cloud)
		want   error
	}{
		{"wrong token", func(c *linode.Config) { c.Token = "wrong" }, nil, linode.ErrUnauthorized},
		{"conflict", nil, always(emulated.Fault{Method: http.MethodPost, Status: http.StatusConflict}), linode.ErrConflict},
		{"look refused", nil, always(emulated.Fault{Method: http.MethodGet, Status: http.StatusUnauthorized}), linode.ErrUnauthorized},
		{"bad request", nil, always(emulated.Fault{Method: http.MethodPost, Status: http.StatusBadRequest}), linode.ErrInvalid},
		{"down", nil, always(emulated.Fault{Status: http.StatusServiceUnavailable}), linode.ErrUnavailable},
		{"hangs", func(c *linode.Config) { c.Timeout = 10 * time.Millisecond }, always(emulated.Fault{Hang: true}), linode.ErrUnreachable},
		{"limited for good", nil, always(emulated.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests}), linode.ErrRateLimited},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, tt.config)
			if tt.change != nil {
				tt.change(c)
			}
			if _, _, err := c.create(t); !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestMissingScope names the scope that the token lacks.
func TestMissingScope(t *testing.T) {
	t.Parallel()
	c := newCloud(t, func(c *linode.Config) { c.Token = "narrow" })
	c.Scopes = map[string]string{"narrow": "linodes:read_only"}
	_, _, err := c.create(t)
	var failure *linode.Error
	if !errors.As(err, &failure) || failure.NeededScopes != "linodes:read_write" || failure.TokenScopes != "linodes:read_only" {
		t.Errorf("got %v, want both scopes named", err)
	}
}

// TestRetryAfterBeyondDeadline does not wait for what cannot come in time.
func TestRetryAfterBeyondDeadline(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	c.Inject(emulated.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests, RetryAfter: time.Hour, Times: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	_, _, err := c.client.CreateInstance(ctx, wanted())
	var failure *linode.Error
	if !errors.As(err, &failure) || !errors.Is(err, linode.ErrRateLimited) || failure.RetryAfter != time.Hour {
		t.Errorf("got error %v, want ErrRateLimited with an hour", err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s to find out that there is no time", took)
	}
}

// TestFailedBoot tells which of Linode's jobs failed.
func TestFailedBoot(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	c.Inject(emulated.Fault{Method: http.MethodPost, Path: path, FailJob: true})
	made, _, err := c.create(t)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.client.WaitRunning(t.Context(), made.ID)
	var job *linode.JobError
	if !errors.As(err, &job) || job.Instance != made.ID {
		t.Errorf("got error %v, want the failed job of instance %d", err, made.ID)
	}
}

// TestWaitBootsWhatIsOff boots an instance that an earlier run left powered off.
func TestWaitBootsWhatIsOff(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	made, _, err := c.create(t)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.WaitRunning(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("/v4%s/%d/shutdown", path, made.ID), http.NoBody)
	r.Header.Set("Authorization", "Bearer right")
	c.ServeHTTP(httptest.NewRecorder(), r)
	if inst, err := c.client.WaitRunning(t.Context(), made.ID); err != nil || inst.Status != "running" {
		t.Errorf("got %+v, error %v", inst, err)
	}
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"api.linode.com", "ftp://api.linode.com", "https://", ":"} {
		if _, err := linode.New(linode.Config{URL: url}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
}

func TestUserDataTooLarge(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	in := wanted()
	in.UserData = make([]byte, linode.MaxUserData+1)
	if _, _, err := c.client.CreateInstance(t.Context(), in); err == nil || c.count(post) != 0 {
		t.Errorf("got error %v after %d requests, want an error and none", err, c.count(post))
	}
}
