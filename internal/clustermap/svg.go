package clustermap

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atollhq/terraform-provider-atoll/internal/api"
)

// style is how levels look. Each has its own dashes, so that the picture can be read without colours; all text has a contrast of
// at least 4.5 to 1 on its ground.
const style = `
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2937; }
.head { font-size: 18px; font-weight: 600; }
.name { font-size: 14px; font-weight: 600; }
.quiet { fill: #4b5563; }
.ground { fill: #ffffff; }
.site { fill: #f3f4f6; stroke: #9ca3af; }
.card { fill: #ffffff; stroke: #9ca3af; }
.lead { stroke: #9ca3af; fill: none; }
.line { fill: none; stroke-width: 1.6; }
.label text { text-anchor: middle; font-size: 11px; }
.plate { fill: #ffffff; fill-opacity: 0.85; }
.sign { fill: #ffffff; text-anchor: middle; font-weight: 700; }
.good .line { stroke: #15803d; } .good .tip, .good .disc { fill: #15803d; }
.degraded .line { stroke: #b45309; stroke-width: 2.4; stroke-dasharray: 9 4; } .degraded .tip, .degraded .disc { fill: #b45309; } text.degraded { fill: #92400e; }
.down .line { stroke: #b91c1c; stroke-width: 2.4; stroke-dasharray: 2 4; } .down .tip, .down .disc { fill: #b91c1c; } text.down { fill: #b91c1c; }
.unknown .line { stroke: #6b7280; stroke-dasharray: 1 6; } .unknown .tip, .unknown .disc { fill: #6b7280; } text.unknown { fill: #4b5563; }
.paused .disc { fill: #4338ca; } text.paused { fill: #4338ca; }
.many .good .line { stroke-opacity: 0.35; } .many .good .tip { fill-opacity: 0.35; }
`

const (
	// fewNodes is up to how many nodes every direction has its figures beside it. In a larger mesh only those have them that
	// somebody should look at.
	fewNodes = 4
	// manyNodes is from how many nodes on links that are as they should be are drawn faintly.
	manyNodes = 8
	// fewLinks is up to how many links the list below the picture has them all, fewSentences how many of what is wrong is there.
	fewLinks, fewSentences = 15, 12
	// longestName is what is shown of a name in the list of links.
	longestName = 24
)

// Style returns the style sheet that every picture contains, as it is in there, for policies of pages that show pictures.
func Style() string { return style }

// sign is a level in one or two characters.
func sign(l Level) string {
	switch l {
	case Good:
		return "ok"
	case Degraded:
		return "!"
	case Down:
		return "x"
	case Paused:
		return "="
	case Unknown:
	}
	return "?"
}

// SVG draws the map. The picture needs nothing else: no script, no font, no style sheet. It has a title and a description, and so has each node and
// each direction of each link.
func (m Map) SVG() ([]byte, error) {
	l := place(m)
	d := &drawing{m: m, l: l, width: max(l.width, 560, 2*margin+10*float64(utf8.RuneCountInString(m.Title())))}
	picture := el("g", "class", "picture")
	if len(m.Nodes) >= manyNodes {
		picture.attrs[0].Value += " many"
	}
	for _, b := range l.boxes {
		picture.with(el("g").with(
			el("rect", "class", "site", "x", px(b.x), "y", px(b.y), "width", px(b.width), "height", px(b.height), "rx", "8"),
			el("text", "class", "quiet", "x", px(b.x+sitePadding), "y", px(b.y+15)).saying(b.title),
		))
	}
	picture.with(d.links()...)
	for _, c := range l.cards {
		picture.with(d.node(c))
	}
	below := d.below(l.bottom + 24)
	root := el("svg",
		"xmlns", "http://www.w3.org/2000/svg", "width", px(d.width), "height", px(d.height), "viewBox", fmt.Sprintf("0 0 %s %s", px(d.width), px(d.height)),
		"role", "img", "aria-labelledby", "atoll-map-title atoll-map-description",
	).with(
		el("title", "id", "atoll-map-title").saying(m.Title()),
		el("desc", "id", "atoll-map-description").saying(m.description()),
		el("style").saying(style),
		el("rect", "class", "ground", "width", "100%", "height", "100%"),
		el("text", "class", "head", "x", px(margin), "y", "30").saying(m.Title()),
		el("text", "class", "quiet", "x", px(margin), "y", "48").saying(m.subtitle()),
		picture, below,
	)
	out, err := root.document()
	if err != nil {
		return nil, fmt.Errorf("draw the map of cluster %q: %w", m.Cluster, err)
	}
	return append([]byte(xml.Header), out...), nil
}

// Title is how the cluster is, in a few words.
func (m Map) Title() string {
	if m.Healthy {
		return fmt.Sprintf("Cluster %s is healthy", m.Cluster)
	}
	return fmt.Sprintf("Cluster %s is DEGRADED", m.Cluster)
}

func (m Map) subtitle() string {
	return fmt.Sprintf("as %s sees it at %s", m.Seen, m.At.UTC().Format(time.RFC3339))
}

// description says the map in words.
func (m Map) description() string {
	text := fmt.Sprintf("%s of %s, %s, %s.", count(len(m.Nodes), "node"), count(len(m.Sites), "site"), count(len(m.Links), "link"), m.subtitle())
	for _, n := range m.Nodes {
		text += " " + n.sentence() + "."
	}
	if len(m.Reasons) > 0 {
		text += " Wrong: " + strings.Join(m.Reasons, "; ") + "."
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sentence says how a node is and what it does.
func (n Node) sentence() string {
	text := fmt.Sprintf("%s (%s) is %s", n.Name, Site{Provider: n.Provider, Site: n.Site}.Text(), n.Text())
	if n.Message != "" {
		text += " (" + n.Message + ")"
	}
	for _, r := range n.Roles {
		text += "; " + r.Text()
	}
	return text
}

// Text is the site's name.
func (s Site) Text() string {
	if s.Provider == "" && s.Site == "" {
		return "site unknown"
	}
	return strings.TrimSpace(s.Site + ", " + s.Provider)
}

// drawing is a picture while it is drawn.
type drawing struct {
	m             Map
	l             layout
	width, height float64
}

func (d *drawing) node(c *card) *element {
	edge := c.x + c.width
	if !c.left {
		edge = c.x
	}
	g := el("g", "class", "node "+string(c.node.Level)).with(
		el("title").saying(c.node.sentence()),
		el("line", "class", "lead", "x1", px(edge), "y1", px(c.disc.y), "x2", px(c.disc.x), "y2", px(c.disc.y)),
		el("rect", "class", "card", "x", px(c.x), "y", px(c.y), "width", px(c.width), "height", px(c.height), "rx", "5"),
		el("text", "class", "name", "x", px(c.x+cardPadding), "y", px(c.y+cardPadding+11)).saying(c.nameAsShown),
	)
	y := c.y + cardPadding + 14
	for _, line := range c.lines {
		y += lineHeight
		g.with(el("text", "class", string(line.level), "x", px(c.x+cardPadding), "y", px(y-2)).saying(line.text))
	}
	return g.with(
		el("circle", "class", "disc", "cx", px(c.disc.x), "cy", px(c.disc.y), "r", px(discRadius)),
		el("text", "class", "sign", "x", px(c.disc.x), "y", px(c.disc.y+4)).saying(sign(c.node.Level)),
	)
}

// links draws each direction of each link; what is worse is drawn later, over the rest, and figures over all lines.
func (d *drawing) links() []*element {
	type way struct {
		from, to *card
		Direction
	}
	var ways []way
	for _, link := range d.m.Links {
		a, b := d.l.byName[link.From], d.l.byName[link.To]
		ways = append(ways, way{a, b, link.There}, way{b, a, link.Back})
	}
	order := []Level{Good, Unknown, Degraded, Down}
	slices.SortStableFunc(ways, func(a, b way) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	var lines, labels []*element
	for _, w := range ways {
		c := d.l.curve(w.from, w.to)
		head := c.control.toward(c.tip)
		side := head.normal().times(4.5)
		left, right := c.to.plus(side), c.to.minus(side)
		lines = append(lines, el("g", "class", "direction "+string(w.Level)).with(
			el("title").saying(fmt.Sprintf("%s to %s: %s", w.from.node.Name, w.to.node.Name, w.Text())),
			el("path", "class", "line", "d", fmt.Sprintf("M%s %s Q%s %s %s %s", px(c.from.x), px(c.from.y), px(c.control.x), px(c.control.y), px(c.to.x), px(c.to.y))),
			el("path", "class", "tip", "d", fmt.Sprintf("M%s %s L%s %s L%s %s Z", px(c.tip.x), px(c.tip.y), px(left.x), px(left.y), px(right.x), px(right.y))),
		))
		if !d.labelled(w.from.node, w.to.node, w.Direction) {
			continue
		}
		labels = append(labels, plate(c.at(0.33), w.Level, w.figures()))
	}
	return append(lines, labels...)
}

// plate is figures on a ground of their own, so that lines behind them do not cross them out.
func plate(at point, level Level, figures []string) *element {
	wide := 0.0
	for i, text := range figures {
		figures[i] = shown(text)
		wide = max(wide, labelCharWidth*float64(utf8.RuneCountInString(figures[i])))
	}
	high := labelHeight * float64(len(figures))
	g := el("g", "class", "label").with(
		el("rect", "class", "plate", "x", px(at.x-wide/2-2), "y", px(at.y-high/2-1), "width", px(wide+4), "height", px(high+2), "rx", "3"),
	)
	for i, text := range figures {
		g.with(el("text", "class", string(level), "x", px(at.x), "y", px(at.y-high/2+labelHeight*float64(i+1)-3)).saying(text))
	}
	return g
}

// labelled tells whether a direction has its figures beside it. Of a node that is away its own state is what matters.
func (d *drawing) labelled(from, to Node, way Direction) bool {
	return len(d.m.Nodes) <= fewNodes || way.Level != Good && !from.away() && !to.away()
}

// away tells whether the node is not there to be reached, or needs not be: nothing is said of its links then.
func (n Node) away() bool { return n.Level == Down || n.Level == Unknown || n.Level == Paused }

// figures are what is beside a direction: one line while it is as it should be, else the words above the figures.
func (d Direction) figures() []string {
	words, rest, split := strings.Cut(d.Text(), " ms")
	i := strings.LastIndex(words, " ")
	switch {
	case !split || i < 0:
		return []string{d.Text()}
	case d.State == api.UpDirect:
		return []string{words[i+1:] + " ms" + rest}
	default:
		return []string{words[:i], words[i+1:] + " ms" + rest}
	}
}
