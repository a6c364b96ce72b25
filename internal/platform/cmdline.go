package platform

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// The parameters of the kernel's command line.
const (
	// ParameterFirstBoot holds the payload in base64, or the https address of a file that holds it.
	ParameterFirstBoot = "atoll.first_boot"
	// ParameterSHA256 is the SHA-256 checksum, in hexadecimal digits, of the file at that address.
	ParameterSHA256 = "atoll.first_boot_sha256"
)

// CommandLine is the command line of the kernel, which a PXE server or a boot loader sets. What is on it may be read by
// every user of the machine, and what an address points to by whoever knows it, so it is for tickets of a short life.
type CommandLine struct {
	// Path is the file with the command line; empty means /proc/cmdline.
	Path string
	// Client fetches an address; nil means one that trusts the machine's certificate authorities and uses no proxy.
	Client *http.Client
}

var _ Source = CommandLine{}

// Name implements Source.
func (CommandLine) Name() string { return "kernel command line" }

// Fetch implements Source. Gzip below the base64 is understood, since a command line is short (2048 bytes on amd64).
func (c CommandLine) Fetch(ctx context.Context) (data []byte, found bool, err error) {
	path := c.Path
	if path == "" {
		path = "/proc/cmdline"
	}
	line, err := os.ReadFile(path)
	if err != nil {
		// A container may hide it; a kernel that shows none has none for us.
		return nil, false, nil //nolint:nilerr // see above
	}
	var value, sum string
	for _, word := range strings.Fields(string(line)) {
		key, v, _ := strings.Cut(word, "=")
		switch key {
		case ParameterFirstBoot:
			value = strings.Trim(v, `"`)
		case ParameterSHA256:
			sum = strings.ToLower(strings.Trim(v, `"`))
		}
	}
	if value == "" {
		return nil, false, nil
	}
	var raw []byte
	if strings.Contains(value, "://") {
		raw, err = c.download(ctx, value, sum)
	} else {
		raw, err = fromBase64(value)
	}
	if err != nil {
		return nil, false, err
	}
	data, found, err = Extract(raw)
	if err == nil && !found {
		err = fmt.Errorf("what %s gives holds no Atoll payload", ParameterFirstBoot)
	}
	return data, found, err
}

// fromBase64 decodes either alphabet, with or without padding.
func fromBase64(value string) ([]byte, error) {
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(value), "=")
	raw, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil {
		return nil, fmt.Errorf("%s is neither base64 nor an https address: was it cut off? A kernel takes %d characters in all",
			ParameterFirstBoot, 2048)
	}
	return raw, nil
}

// download gets a file whose checksum is known. The checksum pins what is read; TLS keeps the ticket from being read on
// the way.
func (c CommandLine) download(ctx context.Context, address, sum string) (raw []byte, err error) {
	if !strings.HasPrefix(address, "https://") {
		return nil, fmt.Errorf("%s must be an https address: the ticket in the file is secret", ParameterFirstBoot)
	}
	if want, err := hex.DecodeString(sum); err != nil || len(want) != sha256.Size {
		return nil, fmt.Errorf("%s gives an address; %s must give the file's SHA-256 checksum in 64 hexadecimal digits",
			ParameterFirstBoot, ParameterSHA256)
	}
	client := c.Client
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ParameterFirstBoot, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch the first-boot data: %w%s", err, clockHint(err))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the first-boot data: %s answered %s", address, resp.Status)
	}
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxUserData+1)); err != nil {
		return nil, fmt.Errorf("fetch the first-boot data: %w", err)
	}
	if got := checksum(raw); got != sum {
		return nil, fmt.Errorf("fetch the first-boot data: %s has the SHA-256 checksum %s, not %s as %s says: somebody changed one of the two",
			address, got, sum, ParameterSHA256)
	}
	return raw, nil
}

// clockHint says that a certificate which is not valid now may be valid at the right time.
func clockHint(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Sprintf("; the clock of this machine says %s: if that is wrong, the certificate may be good once it is set",
			time.Now().UTC().Format(time.RFC3339))
	}
	return ""
}

// Forget implements Source. A command line is the boot loader's.
func (c CommandLine) Forget(context.Context, string) error {
	return &StaysError{Source: c.Name(), Remedy: "take " + ParameterFirstBoot + " out of the boot loader's or PXE server's configuration"}
}
