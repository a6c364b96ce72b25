package api

import "crypto/tls"

// ClientWithTLS returns a client with a TLS configuration of the test's own.
func ClientWithTLS(t Target, config *tls.Config) *Client {
	return newClient(t, func() (*tls.Config, error) { return config, nil })
}
