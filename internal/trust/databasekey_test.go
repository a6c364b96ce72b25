package trust_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

func TestDatabaseKey(t *testing.T) {
	t.Parallel()
	signing, other := must(trust.NewSigningKey())(t), must(trust.NewSigningKey())(t)
	member, stranger := must(trust.NewIdentity())(t), must(trust.NewIdentity())(t)
	key := must(trust.DatabaseKeyOf(signing, "web", "app", "g1"))(t)

	t.Run("is the same whenever it is derived, and another one for anything else", func(t *testing.T) {
		t.Parallel()
		if again := must(trust.DatabaseKeyOf(signing, "web", "app", "g1"))(t); again.Public() != key.Public() {
			t.Error("derived twice, there are two keys")
		}
		for name, derive := range map[string]func() (*trust.DatabaseKey, error){
			"signing key": func() (*trust.DatabaseKey, error) { return trust.DatabaseKeyOf(other, "web", "app", "g1") },
			"cluster":     func() (*trust.DatabaseKey, error) { return trust.DatabaseKeyOf(signing, "shop", "app", "g1") },
			"database":    func() (*trust.DatabaseKey, error) { return trust.DatabaseKeyOf(signing, "web", "shop", "g1") },
			"group":       func() (*trust.DatabaseKey, error) { return trust.DatabaseKeyOf(signing, "web", "app", "g2") },
		} {
			if k := must(derive())(t); k.Public() == key.Public() {
				t.Errorf("another %s gives the same key", name)
			}
		}
	})
	t.Run("opens at the member that it is sealed to, and nowhere else", func(t *testing.T) {
		t.Parallel()
		sealed := must(key.SealTo(member.Public()))(t)
		opened := must(member.OpenDatabaseKey(sealed))(t)
		secret := must(trust.Seal(key.Public(), "pa55"))(t)
		if got := must(opened.Open(secret))(t); got != "pa55" {
			t.Errorf("a member reads %q", got)
		}
		if _, err := stranger.OpenDatabaseKey(sealed); !errors.Is(err, trust.ErrSealedForOther) {
			t.Errorf("another node gets %v", err)
		}
		if _, err := member.OpenDatabaseKey(must(trust.Seal(member.Public(), "c2hvcnQ="))(t)); err == nil {
			t.Error("what is no key opens as one")
		}
		a, b := must(key.Password("replication"))(t), must(opened.Password("replication"))(t)
		if a != b || len(a) != 43 {
			t.Error("operator and member derive different passwords")
		}
		if c := must(key.Password("router"))(t); c == a {
			t.Error("two accounts have one password")
		}
	})
	t.Run("is never printed", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s %d", key, *key, key, key, key)} {
			if strings.Contains(strings.ReplaceAll(text, "[redacted]", ""), "[") {
				t.Errorf("printed: %s", text)
			}
		}
	})
}

// must returns the value of a call that cannot fail in a test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
