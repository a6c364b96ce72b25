// Package leak looks for secrets where they do not belong: in states, plans, logs, process lists and files. Tests tell it
// every secret of a run; it looks for each in all the forms in which software writes such things down.
package leak

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// shortest is how long a form must be for a finding to mean anything, in bytes.
const shortest = 8

// Secrets are what must not be found anywhere but in its own place, by a name to report. The zero value holds none. Adding is
// not safe for concurrent use; looking is, once nothing is added any more.
type Secrets struct {
	forms []form
	// begin has the forms by their first bytes, and may a bit for each of these, which is asked first.
	begin map[uint64][]int
	may   [1 << 16]bool
}

// form is one way to write a secret down.
type form struct {
	name string
	text []byte
}

// Len returns how many forms are looked for.
func (s *Secrets) Len() int { return len(s.forms) }

func (s *Secrets) add(name string, text []byte) {
	if len(text) < shortest {
		return
	}
	if s.begin == nil {
		s.begin = map[uint64][]int{}
	}
	key := binary.LittleEndian.Uint64(text)
	s.begin[key] = append(s.begin[key], len(s.forms))
	s.may[bit(key)] = true
	s.forms = append(s.forms, form{name, bytes.Clone(text)})
}

// bit is Fibonacci hashing.
func bit(key uint64) uint64 { return (key * 0x9E3779B97F4A7C15) >> 48 }

// AddText adds a secret that is text, such as a token: as it is, and as a string within JSON.
func (s *Secrets) AddText(name, text string) {
	s.add(name, []byte(text))
	if quoted := strconv.Quote(text); quoted[1:len(quoted)-1] != text {
		s.add(name+" (quoted)", []byte(quoted[1:len(quoted)-1]))
	}
}

// AddKey adds a binary secret: raw, in hexadecimal, and as a list of numbers.
func (s *Secrets) AddKey(name string, key []byte) {
	s.add(name+" (raw)", key)
	s.AddText(name+" (hexadecimal)", hex.EncodeToString(key))
	s.AddText(name+" (numbers)", strings.Trim(fmt.Sprintf("%d", key), "[]"))
}

// AddPEM adds a private key file: each of its lines, and the seed of an Ed25519 key, which is its last 32 bytes.
func (s *Secrets) AddPEM(name string, text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s is not PEM", name)
	}
	before := s.Len()
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		// The first line of PKCS #8 and of OpenSSH's form is the same for all keys of a type; short ends say nothing.
		if len(line) >= 40 && !strings.HasPrefix(line, "-----") && !strings.HasPrefix(line, "b3BlbnNzaC1rZXktdjE") {
			s.AddText(fmt.Sprintf("%s (line %d)", name, i+1), line)
		}
	}
	if seed := len(block.Bytes) - 32; seed >= 0 && block.Type == "PRIVATE KEY" && len(block.Bytes) < 64 {
		s.AddKey(name+", seed", block.Bytes[seed:])
	}
	if s.Len() == before {
		return fmt.Errorf("%s has nothing to look for", name)
	}
	return nil
}

// AddFirstBoot adds first-boot data: the whole, and the key of its ticket.
func (s *Secrets) AddFirstBoot(name string, data []byte) error {
	var payload struct {
		Key []byte `json:"ticket_key"`
	}
	if err := json.Unmarshal(data, &payload); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(payload.Key) == 0 {
		return errors.New(name + " has no ticket key")
	}
	s.AddText(name, string(data))
	s.AddKey(name+", the ticket's key", payload.Key)
	return nil
}

// In returns the names of the secrets that data holds, sorted. Whatever could be base64 is looked into, too, and what is in
// that again. A ticket's key is found also when nobody has added it.
func (s *Secrets) In(data []byte) []string {
	found := s.in(data, 0)
	slices.Sort(found)
	return slices.Compact(found)
}

// in is In for data that was within so many layers of base64.
func (s *Secrets) in(data []byte, layers int) []string {
	var found []string
	for at := 0; at+shortest <= len(data); at++ {
		key := binary.LittleEndian.Uint64(data[at:])
		if !s.may[bit(key)] {
			continue
		}
		for _, i := range s.begin[key] {
			if bytes.HasPrefix(data[at:], s.forms[i].text) {
				found = append(found, s.forms[i].name)
			}
		}
	}
	if ticketKey.Match(data) {
		found = append(found, "a ticket's key")
	}
	if layers == deepest {
		return found
	}
	for inner := range unpacked(data) {
		found = append(found, s.in(inner, layers+1)...)
	}
	return found
}
