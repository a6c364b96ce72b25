package contracttest

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/contract"
)

// loaded are the contracts that tests of this process have read, by name.
var loaded struct {
	sync.Mutex
	contracts map[string]*contract.Contract
}

// Watched returns middleware for an emulator that a client of ours is tested against: the test fails when a request or an
// answer breaks the named document, which is read once. Answers with a status of 500 and above, of which the documents know
// nothing, are faults that the test injects. Without the documents the test goes on and the log says that it checks less.
func Watched(t testing.TB, name string) func(http.Handler) http.Handler {
	t.Helper()
	if _, err := contract.Documents(); errors.Is(err, contract.ErrNoDocuments) && os.Getenv(contract.Environment) == "" {
		t.Logf("NOT CHECKED AGAINST THE VENDOR: %v", err)
		return func(h http.Handler) http.Handler { return h }
	}
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.contracts[name] == nil {
		if loaded.contracts == nil {
			loaded.contracts = map[string]*contract.Contract{}
		}
		loaded.contracts[name] = Load(t, name)
	}
	fork := loaded.contracts[name].Fork()
	t.Cleanup(func() {
		for _, v := range fork.Violations() {
			if v.Part == contract.Request || v.Status < http.StatusInternalServerError {
				t.Errorf("contract: %v", v)
			}
		}
	})
	return fork.Middleware
}
