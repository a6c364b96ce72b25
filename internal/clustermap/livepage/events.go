package livepage

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"time"
)

const (
	// writePatience is how long a browser may take to read one event: one that sleeps is let go and comes again by itself.
	writePatience = 10 * time.Second
	// retryAfter is how long a browser that was let go waits.
	retryAfter = 2 * time.Second
)

// withoutDeclaration takes the XML declaration off, which may not be in the middle of a page.
func withoutDeclaration(picture []byte) []byte { return bytes.TrimPrefix(picture, []byte(xml.Header)) }

// events sends what each look at the cluster shows, until the caller has gone or the server ends.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	select {
	case p.seats <- struct{}{}:
		defer func() { <-p.seats }()
	default:
		w.Header().Set("Retry-After", fmt.Sprint(int(retryAfter/time.Second)))
		http.Error(w, fmt.Sprintf("%d are watching already, which is as many as may", cap(p.seats)), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	begin := fmt.Appendf(nil, "retry: %d\n\n", retryAfter.Milliseconds())
	tick := time.NewTicker(p.observer.interval)
	defer tick.Stop()
	for {
		data, err := json.Marshal(p.observer.look(r.Context()))
		if err != nil {
			return
		}
		// The server's own limit is for answers that end.
		if control.SetWriteDeadline(time.Now().Add(writePatience)) != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "%sevent: map\ndata: %s\n\n", begin, data); err != nil {
			return
		}
		begin = nil
		if control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
