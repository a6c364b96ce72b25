package exclude

import "strings"

// pattern is one pattern, taken apart.
type pattern struct {
	text string
	// name tells that the last part of a path alone is looked at.
	name  bool
	parts []part
}

// part is what stands between two slashes of a pattern.
type part struct {
	// deep is "**".
	deep   bool
	tokens []token
}

type kind int

const (
	literal kind = iota
	star
	class
)

// token matches one byte, or any number of them for a star.
type token struct {
	kind kind
	// char is a literal's byte.
	char byte
	// set and not are a class: the bytes that it lists, and whether it means all others. "?" is all but none.
	set [256]bool
	not bool
}

func (t *token) one(b byte) bool {
	if t.kind == literal {
		return t.char == b
	}
	return t.set[b] != t.not
}

func parse(text string) (pattern, error) {
	p, reason := split(text)
	if reason != "" {
		return pattern{}, &PatternError{Pattern: text, Reason: reason}
	}
	return p, nil
}

// split takes a pattern apart. The string is the reason why it is none.
func split(text string) (p pattern, reason string) {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return p, `control characters cannot be written: use "?" in their place`
		}
	}
	switch {
	case text == "":
		return p, "is empty"
	case text[0] == '!':
		return p, `"!" takes nothing back here: list what to exclude, or write "\!" for a name that begins so`
	case strings.HasSuffix(text, "/"):
		return p, `ends in a slash: a pattern cannot mean directories only; leave the slash out, or write "/**" after the directory for all that is in it`
	}
	p = pattern{text: text, name: !strings.Contains(text, "/")}
	all := true
	for piece := range strings.SplitSeq(strings.TrimPrefix(text, "/"), "/") {
		switch piece {
		case "":
			return p, "has two slashes in a row"
		case ".", "..":
			return p, `"." and ".." are no parts of a path from the tree's root`
		case "**":
			if n := len(p.parts); n == 0 || !p.parts[n-1].deep {
				p.parts = append(p.parts, part{deep: true})
			}
			continue
		}
		tokens, reason := tokenize(piece)
		if reason != "" {
			return p, reason
		}
		p.parts = append(p.parts, part{tokens: tokens})
		all = all && onlyStars(tokens)
	}
	if all && len(p.parts) == 1 || all && p.parts[0].deep {
		return p, "excludes all of the tree"
	}
	return p, ""
}

func onlyStars(tokens []token) bool {
	for i := range tokens {
		if tokens[i].kind != star {
			return false
		}
	}
	return true
}

// tokenize reads one part. The string is the reason why it is none.
func tokenize(piece string) (tokens []token, reason string) {
	for i := 0; i < len(piece); i++ {
		switch c := piece[i]; c {
		case '*':
			if i+1 < len(piece) && piece[i+1] == '*' {
				return nil, `"**" stands alone between slashes; "*" matches within a name`
			}
			tokens = append(tokens, token{kind: star})
		case '?':
			tokens = append(tokens, token{kind: class, not: true})
		case '[':
			t, end, reason := bracket(piece, i+1)
			if reason != "" {
				return nil, reason
			}
			tokens, i = append(tokens, t), end
		case '\\':
			if i++; i == len(piece) {
				return nil, `a backslash takes the next character for itself, and there is none`
			}
			tokens = append(tokens, token{char: piece[i]})
		default:
			tokens = append(tokens, token{char: c})
		}
	}
	return tokens, ""
}

// bracket reads a class that begins behind its "[", and says where its "]" is.
func bracket(piece string, i int) (t token, end int, reason string) {
	t.kind = class
	if i < len(piece) && (piece[i] == '!' || piece[i] == '^') {
		t.not = true
		i++
	}
	// char reads one character of the class, -1 when there is none that a class can have.
	char := func() int {
		if i < len(piece) && piece[i] == '\\' {
			i++
		}
		if i >= len(piece) || piece[i] >= 0x80 {
			return -1
		}
		i++
		return int(piece[i-1])
	}
	for first := true; ; first = false {
		if i < len(piece) && piece[i] == ']' && !first {
			return t, i, ""
		}
		if i+1 < len(piece) && piece[i] == '[' && strings.IndexByte(":.=", piece[i+1]) >= 0 {
			return t, 0, "classes with names such as [:alpha:] are not known: write [a-zA-Z]"
		}
		low := char()
		high := low
		if i+1 < len(piece) && piece[i] == '-' && piece[i+1] != ']' {
			i++
			high = char()
		}
		if low < 0 || high < 0 {
			return t, 0, `"[" begins a class of ASCII characters and needs its "]"; write "\[" for a bracket itself`
		}
		if low > high {
			return t, 0, "a range in brackets goes from the lower character to the higher"
		}
		for c := low; c <= high; c++ {
			t.set[c] = true
		}
	}
}

// match takes a path and its last part. Nearly every path of a large tree matches nothing: the last byte says so first.
func (p *pattern) match(path, name string) bool {
	if n := len(p.parts) - 1; !p.parts[n].deep {
		tokens := p.parts[n].tokens
		if last := &tokens[len(tokens)-1]; last.kind != star && !last.one(path[len(path)-1]) {
			return false
		}
	}
	if p.name {
		return matchPart(p.parts[0].tokens, name)
	}
	return matchParts(p.parts, path)
}

// matchParts matches a whole path, or what is left of one behind a slash. Only "**" has more than one way to match;
// runs of it are one, and a path has no more parts than 4096 / 2.
func matchParts(parts []part, path string) bool {
	for len(parts) > 0 {
		if parts[0].deep {
			if len(parts) == 1 {
				return path != ""
			}
			for {
				if matchParts(parts[1:], path) {
					return true
				}
				slash := strings.IndexByte(path, '/')
				if slash < 0 {
					return false
				}
				path = path[slash+1:]
			}
		}
		name, rest, more := strings.Cut(path, "/")
		if !matchPart(parts[0].tokens, name) {
			return false
		}
		parts = parts[1:]
		if more == (len(parts) == 0) {
			return false
		}
		path = rest
	}
	return true
}

// matchPart matches one name. It goes back to the last star only, which is enough for stars that match within one name.
func matchPart(tokens []token, name string) bool {
	if name == "" {
		return false
	}
	t, n := 0, 0
	back, from := -1, 0
	for n < len(name) {
		switch {
		case t < len(tokens) && tokens[t].kind == star:
			back, from = t, n
			t++
		case t < len(tokens) && tokens[t].one(name[n]):
			t++
			n++
		case back >= 0:
			from++
			t, n = back+1, from
		default:
			return false
		}
	}
	for t < len(tokens) && tokens[t].kind == star {
		t++
	}
	return t == len(tokens)
}
