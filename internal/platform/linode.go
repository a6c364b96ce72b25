package platform

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// LinodeMetadataURLs returns where Linode's metadata service answers, IPv4 first.
func LinodeMetadataURLs() []string {
	return []string{"http://169.254.169.254", "http://[fd00:a9fe:a9fe::1]"}
}

// Linode is the user-data of a Linode, read from the metadata service.
type Linode struct {
	// URLs are where the service answers, tried in order; empty means LinodeMetadataURLs.
	URLs []string
	// Patience is how long one Fetch begins further attempts while the network comes up; 0 means 5 s.
	Patience time.Duration
	// Transport carries the requests; nil means the network, without a proxy: the service is link-local, and a proxy would
	// hand the payload to somebody else.
	Transport http.RoundTripper
}

// How long an attempt waits for the service to take a connection, and for an answer: a service that is slow is still a
// service, but one that is not there must not hold up the look at other carriers.
const (
	linodeConnect = 3 * time.Second
	linodeAnswer  = 20 * time.Second
)

var _ Source = Linode{}

// Name implements Source.
func (Linode) Name() string { return "Linode metadata" }

// Forget implements Source. User-data cannot be removed from a running Linode: the agent closes the service to everybody
// but root instead, and a used ticket expires.
func (l Linode) Forget(context.Context, string) error {
	return &StaysError{Source: l.Name(), Remedy: "only root can read it there; rebuild the Linode without user-data to be rid of it"}
}

// Fetch implements Source.
func (l Linode) Fetch(ctx context.Context) (data []byte, found bool, err error) {
	patience := l.Patience
	if patience == 0 {
		patience = 5 * time.Second
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = time.Second
	userData, err := backoff.Retry(ctx, func() ([]byte, error) { return l.once(ctx) },
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(patience))
	if err != nil {
		return nil, false, fmt.Errorf("read Linode's metadata service: %w", err)
	}
	return Extract(userData)
}

// once asks all addresses at the same time and returns the first answer, since one of them may lead nowhere.
func (l Linode) once(ctx context.Context) ([]byte, error) {
	urls := l.URLs
	if len(urls) == 0 {
		urls = LinodeMetadataURLs()
	}
	transport := l.Transport
	if transport == nil {
		transport = &http.Transport{
			DisableKeepAlives: true, ResponseHeaderTimeout: linodeAnswer,
			DialContext: (&net.Dialer{Timeout: linodeConnect}).DialContext,
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*linodeAnswer)
	defer cancel()
	type answer struct {
		url  int
		data []byte
		err  error
	}
	answers := make(chan answer, len(urls))
	for i, base := range urls {
		go func() {
			data, err := linodeUserData(ctx, &http.Client{Transport: transport}, strings.TrimSuffix(base, "/"))
			answers <- answer{i, data, err}
		}()
	}
	// In the addresses' order: what is wrong is told again when the words change.
	errs := make(inOneLine, len(urls))
	for range urls {
		a := <-answers
		var permanent *backoff.PermanentError
		if a.err == nil || errors.As(a.err, &permanent) {
			return a.data, a.err
		}
		errs[a.url] = a.err
	}
	return nil, errs
}

// inOneLine is errors.Join for a console, where a message has one line.
type inOneLine []error

// Error is the messages in their order.
func (e inOneLine) Error() string {
	texts := make([]string, 0, len(e))
	for _, err := range e {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e inOneLine) Unwrap() []error { return e }

func linodeUserData(ctx context.Context, client *http.Client, base string) ([]byte, error) {
	token, err := linodeCall(ctx, client, http.MethodPut, base+"/v1/token", "Metadata-Token-Expiry-Seconds", "300")
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", err)
	}
	encoded, err := linodeCall(ctx, client, http.MethodGet, base+"/v1/user-data", "Metadata-Token", strings.TrimSpace(string(token)))
	if err != nil {
		return nil, fmt.Errorf("get user-data: %w", err)
	}
	plain, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(encoded)), ""))
	if err != nil {
		return nil, backoff.Permanent(errors.New("user-data is not in base64"))
	}
	return plain, nil
}

// linodeCall makes one request. A machine without user-data gives an empty answer. Answers that another attempt cannot
// change are permanent.
func linodeCall(ctx context.Context, client *http.Client, method, url, header, value string) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	req.Header.Set(header, value)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch {
	case resp.StatusCode == http.StatusOK:
		return io.ReadAll(io.LimitReader(resp.Body, 2*maxUserData))
	case resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotFound:
		return nil, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	default:
		return nil, backoff.Permanent(fmt.Errorf("%s answered %s", url, resp.Status))
	}
}
