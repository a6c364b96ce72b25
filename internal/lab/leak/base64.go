package leak

import (
	"encoding/base64"
	"iter"
	"regexp"
)

// ticketKey is what the key of any ticket looks like in first-boot data, also of one that a run made and nobody else has seen.
var ticketKey = regexp.MustCompile(`ticket_key\\*"?\s*[:=]\s*\\*"[A-Za-z0-9+/=_-]{40,}`)

// deepest is how many layers of base64 are looked into. A ticket's key is within three when it is on its way to Linode: it is
// base64 in the JSON form of first-boot data, which is base64 in a comment of user-data, which is base64 in the request.
const deepest = 4

// shortestRun is how many letters of base64 must stand together to be looked into: as many as stand for the shortest secret,
// and for what is decoded with it.
const shortestRun = 16

// unpacked yields what runs of base64 letters in data, of either alphabet, stand for. Where in a run the base64 begins is not
// known: it is read from four places, so that one of them is right.
func unpacked(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var run []byte
		for at := 0; at <= len(data); at++ {
			if at < len(data) {
				if letter := alphabet[data[at]]; letter != 0 {
					run = append(run, letter)
					continue
				}
			}
			for skip := 0; len(run) >= shortestRun && skip < 4; skip++ {
				text := run[skip:]
				if len(text)%4 == 1 { // one letter more than a byte takes
					text = text[:len(text)-1]
				}
				inner := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
				if n, err := base64.RawStdEncoding.Decode(inner, text); err == nil && !yield(inner[:n]) {
					return
				}
			}
			run = run[:0]
		}
	}
}

// alphabet has for each letter of base64 the one of the standard alphabet, and 0 for what is no letter.
var alphabet = func() (out [256]byte) {
	for c := range 256 {
		switch b := byte(c); {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '+', b == '/':
			out[c] = b
		case b == '-':
			out[c] = '+'
		case b == '_':
			out[c] = '/'
		}
	}
	return out
}()
