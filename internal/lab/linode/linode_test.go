package linode_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract/contracttest"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// token is what the tests' clients show.
const token = "0123456789abcdef"

var contracts struct {
	sync.Mutex
	linode *contract.Contract
}

// vendor returns the vendor's contract, read once.
func vendor(t *testing.T) *contract.Contract {
	t.Helper()
	contracts.Lock()
	defer contracts.Unlock()
	if contracts.linode == nil {
		contracts.linode = contracttest.Load(t, contracttest.Linode)
	}
	return contracts.linode
}

// serve starts s behind the vendor's contract and returns a client that polls quickly. Violations
// fail the test. Without the vendor's documents the emulator's own behaviour is tested all the same;
// what is skipped then says so.
func serve(t *testing.T, s *linode.Server) *linodego.Client {
	t.Helper()
	if _, err := contract.Documents(); errors.Is(err, contract.ErrNoDocuments) && os.Getenv(contract.Environment) == "" {
		t.Logf("NOT CHECKED AGAINST THE VENDOR: %v", err)
		return serveThrough(t, s, func(h http.Handler) http.Handler { return h })
	}
	return serveThrough(t, s, contracttest.Watch(t, vendor(t)).Middleware)
}

func serveThrough(t *testing.T, s *linode.Server, middleware func(http.Handler) http.Handler) *linodego.Client {
	t.Helper()
	if s.Limits == (linode.Limits{}) {
		s.Limits = linode.Unlimited()
	}
	web := httptest.NewServer(middleware(s))
	t.Cleanup(web.Close)
	t.Cleanup(s.Close) // first, so that nothing hangs
	return client(web.URL, token)
}

func client(url, token string) *linodego.Client {
	c := linodego.NewClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	c.SetToken(token)
	c.SetBaseURL(url)
	c.UseCache(false)
	c.SetPollDelay(2 * time.Millisecond)
	c.SetRetryWaitTime(time.Millisecond)
	c.SetRetryMaxWaitTime(5 * time.Second)
	return &c
}

// node returns the options of an instance as the provider makes one.
func node(label string) linodego.InstanceCreateOptions {
	return linodego.InstanceCreateOptions{
		Region: "ap-south", Type: "g6-nanode-1", Label: label, Image: "private/1",
		AuthorizedKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1 test"},
		Tags:           []string{"atoll", "cluster-web"}, InterfaceGeneration: linodego.GenerationLegacyConfig,
		Metadata: &linodego.InstanceMetadataOptions{UserData: "eyJhdG9sbCI6MX0="},
	}
}

func create(ctx context.Context, t *testing.T, c *linodego.Client, label string) *linodego.Instance {
	t.Helper()
	i, err := c.CreateInstance(ctx, node(label))
	if err != nil {
		t.Fatal(err)
	}
	return i
}
