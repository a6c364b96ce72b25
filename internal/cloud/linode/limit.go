package linode

import (
	"net/http"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/cloud/rest"
)

// limits are Linode's published limits, one window each. Safe for concurrent use.
type limits struct{ create, images, list, rest *rest.Window }

func newLimits() *limits {
	return &limits{
		create: rest.NewWindow(20, 15*time.Second),
		images: rest.NewWindow(20, time.Minute),
		list:   rest.NewWindow(200, time.Minute),
		rest:   rest.NewWindow(1600, time.Minute),
	}
}

// window returns the limit that r counts against.
func (l *limits) window(r *http.Request) *rest.Window {
	switch {
	case creates(r):
		return l.create
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/images"):
		return l.images
	case r.Method == http.MethodGet && r.URL.Query().Has("page"):
		return l.list
	default:
		return l.rest
	}
}

// creates tells whether a request makes an instance.
func creates(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/linode/instances")
}
