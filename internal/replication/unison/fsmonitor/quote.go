package fsmonitor

import (
	"fmt"
	"strings"
)

// plain are the characters that unison leaves as they are (disallowed_char in src/fswatch.ml); it decodes any other, too.
const plain = "-_.~!*'();:@&=+$,/?#[]"

// Quote encodes an argument.
func Quote(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// QuoteError is an argument that is not encoded as it should be.
type QuoteError struct {
	Argument string
	// At is the position of the % that nothing comes of.
	At int
}

// Error names the argument.
func (e *QuoteError) Error() string {
	return fmt.Sprintf("%q is not percent-encoded at position %d", e.Argument, e.At)
}

// Unquote decodes an argument. The error is a *QuoteError.
func Unquote(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", &QuoteError{Argument: s, At: i}
		}
		high, low := digit(s[i+1]), digit(s[i+2])
		if high < 0 || low < 0 {
			return "", &QuoteError{Argument: s, At: i}
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String(), nil
}

// digit is the value of a hexadecimal digit, -1 when it is none.
func digit(c byte) int {
	return strings.IndexByte("0123456789abcdef", c|0x20)
}
