package mysql_test

import (
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
)

// TestPatience looks at a server on a machine that becomes slow, and quick again.
func TestPatience(t *testing.T) {
	t.Parallel()
	var p mysql.Patience
	want := func(what string, least, most time.Duration) {
		t.Helper()
		_, cancel, within := p.Limit(t.Context())
		cancel()
		if within < least || within > most {
			t.Errorf("%s: a look may take %s, want from %s to %s", what, within, least, most)
		}
	}
	const least, most = 800 * time.Millisecond, 2400 * time.Millisecond
	want("at first", least, least)
	p.Took(10 * time.Millisecond)
	want("a quick server", least, least)
	p.TooShort()
	want("one look was too short", 2*least, 2*least)
	for range 5 {
		p.TooShort()
	}
	want("many were", most, most)
	p.Took(10 * time.Millisecond)
	want("one quick answer of a slow server", most*9/10, most)
	for range 60 {
		p.Took(10 * time.Millisecond)
	}
	want("a server that is quick again", least, least)
	p.Took(600 * time.Millisecond)
	want("a server that is nearly too slow", 1800*time.Millisecond, 1800*time.Millisecond)
}
