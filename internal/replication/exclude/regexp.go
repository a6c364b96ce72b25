package exclude

import "strings"

// Regexps returns, for each pattern, a regular expression that matches the same whole paths, byte by byte. It uses no
// more than what the engines of replication tools have in common, unison's "Regex" among them: literals, ".", lists in
// brackets, groups, "|", "*", "+", "?" and the backslash before their signs; "." means every byte, a newline too, and the
// expression is one for the whole path. None has "->" in it or a blank at an end, which unison would take for its own.
func (s *Set) Regexps() []string {
	if s == nil {
		return nil
	}
	list := make([]string, 0, len(s.patterns))
	for i := range s.patterns {
		list = append(list, s.patterns[i].regexp())
	}
	return list
}

func (p *pattern) regexp() string {
	var b strings.Builder
	if p.name {
		b.WriteString("(.*/)?")
	}
	for i, part := range p.parts {
		last := i == len(p.parts)-1
		switch {
		case part.deep && last:
			b.WriteString(".+")
		case part.deep:
			b.WriteString("(.*/)?")
		default:
			// A name is never empty; without this "(.*/)?[^/]*" would match the tree's root.
			if onlyStars(part.tokens) {
				b.WriteString("[^/]+")
			} else {
				for j := range part.tokens {
					part.tokens[j].regexp(&b)
				}
			}
			if !last {
				b.WriteByte('/')
			}
		}
	}
	return b.String()
}

func (t *token) regexp(b *strings.Builder) {
	switch {
	case t.kind == star:
		b.WriteString("[^/]*")
	case t.kind == literal:
		quote(b, t.char)
	case t.not:
		// No engine has an escape inside of brackets in common with the others: "]" stands first, "-" last, and behind "["
		// a slash, so that no named class begins there.
		b.WriteString("[^")
		if t.set[']'] {
			b.WriteByte(']')
		}
		for c := byte(' '); c < 0x7f; c++ {
			if t.set[c] && strings.IndexByte("][/-", c) < 0 {
				b.WriteByte(c)
			}
		}
		if t.set['['] {
			b.WriteByte('[')
		}
		b.WriteByte('/')
		if t.set['-'] {
			b.WriteByte('-')
		}
		b.WriteByte(']')
	default:
		var choices []string
		var plain strings.Builder
		for c := byte(' '); c < 0x7f; c++ {
			switch {
			case !t.set[c]:
			case letter(c):
				plain.WriteByte(c)
			case c != '/':
				var one strings.Builder
				quote(&one, c)
				choices = append(choices, one.String())
			}
		}
		if plain.Len() > 0 {
			choices = append(choices, "["+plain.String()+"]")
		}
		if len(choices) == 1 {
			b.WriteString(choices[0])
			return
		}
		b.WriteString("(" + strings.Join(choices, "|") + ")")
	}
}

// quote writes one byte that stands for itself.
func quote(b *strings.Builder, c byte) {
	switch {
	case strings.IndexByte(`|()*+?[.^${\`, c) >= 0:
		b.WriteByte('\\')
		b.WriteByte(c)
	case c == ' ' || c == '-':
		b.WriteByte('[')
		b.WriteByte(c)
		b.WriteByte(']')
	default:
		b.WriteByte(c)
	}
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
