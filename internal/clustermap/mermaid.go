package clustermap

import (
	"encoding/json"
	"fmt"
	"strings"
)

// maxEdges is how many edges Mermaid draws unless the page that it is on says otherwise (its setting maxEdges).
const maxEdges = 500

// Mermaid writes the map as a flowchart of Mermaid's, as GitHub and many wikis draw it: sites are subgraphs, a link that is as it
// should be is one edge with two heads, any other two edges, dotted where traffic takes a detour or loses packets and with a cross
// where it does not arrive. Of a mesh with more edges than Mermaid draws, those that are as they should be are left out, and a comment
// says so.
func (m Map) Mermaid() []byte {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	fmt.Fprintf(&b, "  accTitle: %s\n", oneLine(m.Title()))
	fmt.Fprintf(&b, "  accDescr: %s\n", oneLine(m.description()))
	ids := map[string]string{}
	for i, n := range m.Nodes {
		ids[n.Name] = fmt.Sprintf("n%d", i)
	}
	byName := map[string]Node{}
	for _, n := range m.Nodes {
		byName[n.Name] = n
	}
	for i, s := range m.Sites {
		fmt.Fprintf(&b, "  subgraph s%d[%s]\n", i, quoted(s.Text()))
		for _, name := range s.Nodes {
			n := byName[name]
			lines := []string{n.Name, n.Text()}
			if n.MeshAddress != "" {
				lines = append(lines, n.MeshAddress)
			}
			for _, r := range n.Roles {
				lines = append(lines, r.Text())
			}
			fmt.Fprintf(&b, "    %s[%s]:::%s\n", ids[name], quoted(lines...), n.Level)
		}
		b.WriteString("  end\n")
	}
	m.edges(&b, ids)
	for _, c := range []struct{ level, look string }{
		{string(Good), "stroke:#15803d"},
		{string(Degraded), "stroke:#b45309,stroke-width:3px,stroke-dasharray:9 4"},
		{string(Down), "stroke:#b91c1c,stroke-width:3px,stroke-dasharray:2 4"},
		{string(Unknown), "stroke:#6b7280,stroke-dasharray:1 6"},
		{string(Paused), "stroke:#4338ca,stroke-width:3px"},
	} {
		fmt.Fprintf(&b, "  classDef %s %s\n", c.level, c.look)
	}
	return []byte(b.String())
}

func (m Map) edges(b *strings.Builder, ids map[string]string) {
	all := 0
	for _, l := range m.Links {
		all++
		if l.There.Level != Good || l.Back.Level != Good {
			all++
		}
	}
	left := 0
	edges := map[Level][]string{}
	number := 0
	for _, l := range m.Links {
		from, to := ids[l.From], ids[l.To]
		if l.There.Level == Good && l.Back.Level == Good {
			if all > maxEdges {
				left++
				continue
			}
			fmt.Fprintf(b, "  %s <-->|%s| %s\n", from, quoted(l.There.Text()+" / "+l.Back.Text()), to)
			edges[Good] = append(edges[Good], fmt.Sprint(number))
			number++
			continue
		}
		fmt.Fprintf(b, "  %s %s|%s| %s\n", from, arrow(l.There.Level), quoted(l.There.Text()), to)
		fmt.Fprintf(b, "  %s %s|%s| %s\n", to, arrow(l.Back.Level), quoted(l.Back.Text()), from)
		edges[l.There.Level] = append(edges[l.There.Level], fmt.Sprint(number))
		edges[l.Back.Level] = append(edges[l.Back.Level], fmt.Sprint(number+1))
		number += 2
	}
	if left > 0 {
		fmt.Fprintf(b, "  %%%% %d links that are as they should be are left out: Mermaid draws at most %d\n", left, maxEdges)
	}
	colours := map[Level]string{Good: "#15803d", Degraded: "#b45309", Down: "#b91c1c", Unknown: "#6b7280"}
	for _, level := range Levels() {
		if list := edges[level]; len(list) > 0 {
			fmt.Fprintf(b, "  linkStyle %s stroke:%s\n", strings.Join(list, ","), colours[level])
		}
	}
}

func arrow(l Level) string {
	switch l {
	case Down:
		return "--x"
	case Degraded, Unknown:
		return "-.->"
	case Good, Paused:
	}
	return "-->"
}

// quoted is a label of these lines. Everything that Mermaid or a browser could take for more than text is written by its number;
// what Mermaid has line feeds for is a line of its own.
func quoted(lines ...string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, line := range lines {
		if i > 0 {
			b.WriteString("<br/>")
		}
		for _, r := range oneLine(line) {
			if plain(r) {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, "#%d;", r)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

// plain tells whether a character means nothing but itself in a label, which Mermaid reads as Markdown and HTML.
func plain(r rune) bool {
	return r >= 0x80 || r == ' ' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(".,:-/%()!?+=", r)
}

// oneLine is a text in one line, for places where nothing can be escaped: a line feed there would begin another statement.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }), " ")
}

// JSON writes the map as an object, indented.
func (m Map) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the map of cluster %q: %w", m.Cluster, err)
	}
	return append(data, '\n'), nil
}
