// Package contracttest brings the vendors' OpenAPI documents into tests.
package contracttest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/cloudflare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

// The documents and recordings that tests may ask for.
const (
	Linode           = "linode-openapi.json"
	LinodeRecordings = "linode-recorded-samples.json"
	LinodeRegions    = "linode-regions-recorded.json"
	LinodeTypes      = "linode-types-recorded.json"
	Cloudflare       = "cloudflare-openapi.json"
)

// Path returns where the named document is. Without the documents the test is skipped and the
// log says so, unless ATOLL_SPECS is set: then they were meant to be there and the test fails.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir, err := contract.Documents()
	switch {
	case errors.Is(err, contract.ErrNoDocuments) && os.Getenv(contract.Environment) == "":
		t.Skipf("SKIPPED, NOT CHECKED AGAINST THE VENDOR: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// Load reads the named document, with the vendor's known mistakes mended. Tests of one package share
// what it returns through [Watch], because reading takes a while.
func Load(t testing.TB, name string) *contract.Contract {
	t.Helper()
	var mends []contract.Mend
	if name == Linode {
		mends = contract.LinodeMends()
	}
	c, err := contract.Load(Path(t, name), mends...)
	if err != nil {
		t.Fatal(err)
	}
	switch name {
	case Linode:
		c.Except(linode.UploadPath)
	case Cloudflare:
		c.Except(cloudflare.CertificatesPath)
	}
	return c
}

// Watch returns a fork of c whose violations fail the test at its end.
func Watch(t testing.TB, c *contract.Contract) *contract.Contract {
	t.Helper()
	fork := c.Fork()
	t.Cleanup(func() {
		for _, v := range fork.Violations() {
			t.Errorf("contract: %v", v)
		}
	})
	return fork
}
