package livepage_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/atollhq/terraform-provider-atoll/internal/clustermap/livepage"
)

// browser starts a headless Chromium, with a profile of its own that goes with it. Complaints are what its console says.
func browser(t *testing.T) (ctx context.Context, complaints func() []string) {
	t.Helper()
	var program string
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("NOT RUN IN A BROWSER: there is no Chromium; internal/tools/need packages installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	said := make(chan string, 100)
	note := func(text string) {
		select {
		case said <- text:
		default:
		}
	}
	ctx, closeTab := chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			note(e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			note(e.Entry.Text)
		}
	}))
	t.Cleanup(func() {
		// The process must be gone before its profile is removed.
		_ = chromedp.Cancel(ctx)
		closeTab()
	})
	return ctx, func() []string {
		var out []string
		for {
			select {
			case text := <-said:
				out = append(out, text)
			default:
				return out
			}
		}
	}
}

func TestPageInBrowser(t *testing.T) {
	ctx, complaints := browser(t)
	c := &cluster{}
	page := livepage.New(livepage.Options{Source: c.observe, Interval: 50 * time.Millisecond})
	server := httptest.NewServer(page)
	t.Cleanup(server.Close)
	// until waits for what is true in the page.
	until := func(what, expression string) {
		t.Helper()
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(time.Minute))); err != nil {
			t.Fatalf("%s: %v\nthe console says: %q", what, err, complaints())
		}
	}
	says := func(what, text string) {
		t.Helper()
		until(what, "document.getElementById('state').textContent.includes(`"+text+"`)")
	}
	value := func(expression string) string {
		t.Helper()
		out, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/"), chromedp.WaitVisible("#map svg")); err != nil {
		t.Fatal(err)
	}
	until("the script draws", `document.getElementById('map').dataset.at !== undefined`)
	says("a cluster that is well", "Cluster web is healthy")
	if cards := value(`String(document.querySelectorAll('#map .node .card').length)`); cards != "2" {
		t.Errorf("the page shows %s nodes", cards)
	}
	// The picture's style sheet is allowed by its hash alone: without it everything is black.
	if fill := value(`getComputedStyle(document.querySelector('#map .node.good .disc')).fill`); fill != "rgb(21, 128, 61)" {
		t.Errorf("a node that is well is shown in %s", fill)
	}

	c.change("hk1 is gone & <away>", nil)
	says("a node dies", "DEGRADED")
	until("its sign changes", `document.querySelector('#map .node.down') !== null`)
	if title, kind := value(`document.title`), value(`document.body.className`); title != "Cluster web is DEGRADED" || kind != "degraded" {
		t.Errorf("the title is %q, the page %q", title, kind)
	}

	c.change("", errors.New("no node answers"))
	says("the cluster is out of sight", "cannot be seen: no node answers")
	if left := value(`String(document.querySelectorAll('#map svg').length)`); left != "1" {
		t.Errorf("%s pictures of what was seen last are left", left)
	}
	c.change("", nil)
	says("it is back", "Cluster web is healthy")
	if said := complaints(); len(said) > 0 {
		t.Errorf("the console says: %s", strings.Join(said, "\n"))
	}

	address := server.Listener.Addr().String()
	server.CloseClientConnections()
	server.Close()
	says("the agent stops", "No connection to the agent")
	listenAgain(t, address, page)
	says("the agent is back", "Cluster web is healthy")
}
