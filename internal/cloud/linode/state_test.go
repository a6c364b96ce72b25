package linode_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/linode"
	emulated "github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// act is one thing that is done with an instance, and the request that it makes.
type act struct {
	name   string
	method string
	// suffix is what follows the instance's path, "all" for requests that name no instance.
	suffix string
	do     func(ctx context.Context, c *cloud, id int) error
}

func acts() []act {
	return []act{
		{"create", http.MethodPost, "all", func(ctx context.Context, c *cloud, _ int) error {
			in := wanted()
			in.Label, in.Mark = "web-sg2", "atoll:web/sg2"
			_, _, err := c.client.CreateInstance(ctx, in)
			return err
		}},
		{"look", http.MethodGet, "all", func(ctx context.Context, c *cloud, _ int) error {
			_, err := c.client.MarkedInstances(ctx, "atoll:web/")
			return err
		}},
		{"read", http.MethodGet, "", func(ctx context.Context, c *cloud, id int) error {
			_, err := c.client.Instance(ctx, id)
			return err
		}},
		{"update", http.MethodPut, "", func(ctx context.Context, c *cloud, id int) error {
			_, err := c.client.UpdateInstance(ctx, id, "other", "atoll:web/sg1", nil)
			return err
		}},
		{"boot", http.MethodPost, "/boot", func(ctx context.Context, c *cloud, id int) error {
			_, err := c.client.WaitRunning(ctx, id)
			return err
		}},
		{"firewalls", http.MethodGet, "/firewalls", func(ctx context.Context, c *cloud, _ int) error {
			_, adopted, err := c.client.CreateInstance(ctx, wanted()) // it is there already, so it is compared
			if err == nil && !adopted {
				return errors.New("a second instance was made")
			}
			return err
		}},
		{"delete", http.MethodDelete, "", func(ctx context.Context, c *cloud, id int) error {
			return c.client.DeleteInstance(ctx, id)
		}},
	}
}

// ready returns a cloud with one instance that is switched off, and the path of what an act asks for.
func (a act) ready(t *testing.T) (c *cloud, id int, at string) {
	t.Helper()
	c = newCloud(t, nil)
	made, _, err := c.create(t)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.WaitRunning(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	c.shutdown(t, made.ID)
	if a.suffix == "all" {
		return c, made.ID, path
	}
	return c, made.ID, fmt.Sprintf("%s/%d%s", path, made.ID, a.suffix)
}

func (c *cloud) shutdown(t *testing.T, id int) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("/v4%s/%d/shutdown", path, id), http.NoBody)
	r.Header.Set("Authorization", "Bearer right")
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		t.Fatalf("shutdown: %d %s", answer.Code, answer.Body)
	}
}

// TestPassingFaults has every request meet every fault that passes. None is felt.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]emulated.Fault{
		"409":  {Status: http.StatusConflict},
		"busy": {Status: http.StatusBadRequest, Reason: "Linode busy.", Times: 8}, // more than other failures are tried
		"429":  {Status: http.StatusTooManyRequests, RetryAfter: time.Second},
		"500":  {Status: http.StatusInternalServerError},
		"hang": {Hang: true},
		"lost": {LoseAnswer: true},
	}
	for _, a := range acts() {
		for name, fault := range faults {
			t.Run(a.name+" "+name, func(t *testing.T) {
				t.Parallel()
				c, id, at := a.ready(t)
				fault.Method, fault.Path = a.method, at
				c.Inject(fault)
				if err := a.do(t.Context(), c, id); err != nil {
					t.Error(err)
				}
				if c.PendingFaults() != 0 {
					t.Error("the fault has not happened")
				}
			})
		}
	}
}

// TestLastingFaults has every request meet what does not pass. Each is told as what it is, after a bounded number of tries,
// and a machine that is gone is no error for whoever wants it gone.
func TestLastingFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		status int
		want   error
	}{
		"401": {http.StatusUnauthorized, linode.ErrUnauthorized},
		"404": {http.StatusNotFound, linode.ErrNotFound},
		"409": {http.StatusConflict, linode.ErrConflict},
		"500": {http.StatusInternalServerError, linode.ErrUnavailable},
	}
	for _, a := range acts() {
		for name, fault := range faults {
			t.Run(a.name+" "+name, func(t *testing.T) {
				t.Parallel()
				c, id, at := a.ready(t)
				c.Inject(emulated.Fault{Method: a.method, Path: at, Status: fault.status, Times: -1})
				want := fault.want
				if a.name == "delete" && name == "404" {
					want = nil
				}
				if err := a.do(t.Context(), c, id); !errors.Is(err, want) {
					t.Errorf("got error %v, want %v", err, want)
				}
			})
		}
	}
}

// TestAdoptComparesWhatTheAPITells finds an instance that an unfinished run made with other arguments.
func TestAdoptComparesWhatTheAPITells(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	c.firewall(t)
	if _, _, err := c.create(t); err != nil {
		t.Fatal(err)
	}
	in := wanted()
	in.FirewallID = 1
	var failure *linode.Error
	if _, _, err := c.client.CreateInstance(t.Context(), in); !errors.As(err, &failure) || !errors.Is(err, linode.ErrConflict) {
		t.Errorf("without the wanted firewall: got error %v, want ErrConflict", err)
	} else if _, ok := failure.Field("firewall_id"); !ok {
		t.Errorf("got %v, want it on firewall_id", err)
	}
	in = wanted()
	in.Generation = linode.GenerationLinode
	if _, _, err := c.client.CreateInstance(t.Context(), in); !errors.As(err, &failure) || !errors.Is(err, linode.ErrConflict) {
		t.Errorf("with other interfaces: got error %v, want ErrConflict", err)
	}
	in = wanted()
	in.Tags = []string{"web", "new"}
	inst, adopted, err := c.client.CreateInstance(t.Context(), in)
	if err != nil || !adopted || slices.Contains(inst.Tags, "new") {
		t.Fatalf("got %+v, adopted %v, error %v; want the instance as it was", inst, adopted, err)
	}
	if inst, err = c.client.SettleTags(t.Context(), inst, in); err != nil || !slices.Contains(inst.Tags, "new") || !slices.Contains(inst.Tags, in.Mark) {
		t.Errorf("got %+v, error %v; want it with the new tag", inst, err)
	}
	puts := c.count(fmt.Sprintf("PUT /v4%s/%d", path, inst.ID))
	if _, err = c.client.SettleTags(t.Context(), inst, in); err != nil || c.count(fmt.Sprintf("PUT /v4%s/%d", path, inst.ID)) != puts {
		t.Errorf("tags that are right were set again (error %v)", err)
	}
}

// TestAdoptWithFirewall finds an instance that has the firewall that is wanted.
func TestAdoptWithFirewall(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	in := wanted()
	in.FirewallID = c.firewall(t)
	if _, _, err := c.client.CreateInstance(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if _, adopted, err := c.client.CreateInstance(t.Context(), in); err != nil || !adopted {
		t.Errorf("got adopted %v, error %v, want the same instance", adopted, err)
	}
}

func (c *cloud) firewall(t *testing.T) int {
	t.Helper()
	body := strings.NewReader(`{"label":"wall","rules":{"inbound_policy":"DROP","outbound_policy":"ACCEPT"}}`)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v4/networking/firewalls", body)
	r.Header.Set("Authorization", "Bearer right")
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, r)
	var made struct {
		ID int `json:"id"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil || made.ID == 0 {
		t.Fatalf("make a firewall: %d %s", answer.Code, answer.Body)
	}
	return made.ID
}

// TestClock compares with the API's clock.
func TestClock(t *testing.T) {
	t.Parallel()
	c := newCloud(t, func(cfg *linode.Config) { cfg.Transport = late{time.Hour} })
	if _, known := c.client.ClockAhead(); known {
		t.Error("it knows the clock without an answer")
	}
	if _, err := c.client.MarkedInstances(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if ahead, known := c.client.ClockAhead(); !known || (ahead+time.Hour).Abs() > 5*time.Second {
		t.Errorf("got %s, %v, want an hour behind", ahead, known)
	}
}

// late is a way to an API whose clock is ahead.
type late struct{ by time.Duration }

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Header.Set("Date", time.Now().Add(l.by).UTC().Format(http.TimeFormat))
	}
	return resp, err
}
