package clustermap

import (
	"math"
	"unicode/utf8"
)

// Lengths of the picture, in pixels of its own coordinates.
const (
	margin = 20.0
	// headHeight is for the title and the line below it.
	headHeight = 62.0
	lineHeight = 15.0
	// charWidth is how wide a character of running text is at most on average, in the widest of the usual fonts at its size.
	charWidth     = 7.1
	boldCharWidth = 9.0
	// labelCharWidth and labelHeight are of the figures beside links.
	labelCharWidth, labelHeight = 6.6, 12.5
	cardPadding                 = 10.0
	cardGap                     = 10.0
	sitePadding                 = 10.0
	siteTitle                   = 22.0
	siteGap                     = 18.0
	discRadius                  = 12.0
	// maxChars is how many characters of a line are shown. Titles of elements have all.
	maxChars = 42
)

// card is a node's place in the picture, and the disc that its links end at.
type card struct {
	node        Node
	x, y        float64
	width       float64
	height      float64
	disc        point
	left        bool
	lines       []line
	nameAsShown string
}

// line is a line of text on a card.
type line struct {
	text  string
	level Level
}

// box is a site's place in the picture.
type box struct {
	title               string
	x, y, width, height float64
}

type point struct{ x, y float64 }

func (p point) plus(q point) point          { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point         { return point{p.x - q.x, p.y - q.y} }
func (p point) times(f float64) point       { return point{p.x * f, p.y * f} }
func (p point) length() float64             { return math.Hypot(p.x, p.y) }
func (p point) toward(q point) point        { return q.minus(p).unit() }
func (p point) normal() point               { return point{-p.y, p.x} }
func between(a, b point) point              { return a.plus(b).times(0.5) }
func (p point) at(d point, l float64) point { return p.plus(d.times(l)) }

func (p point) unit() point {
	if l := p.length(); l > 0 {
		return p.times(1 / l)
	}
	return point{1, 0}
}

// layout is where everything of a map is.
type layout struct {
	boxes []box
	cards []*card
	// byName finds the card of a node.
	byName map[string]*card
	center point
	// width is that of the picture, bottom where the last site ends.
	width, bottom float64
}

// place lays a map out. A mesh is a complete graph, in which no order of layers or forces would find anything, so that the places
// follow from the names alone: sites in two columns, in their order, as equal in height as that allows; between the columns
// the nodes' discs on an ellipse, at the height of their cards, so that no straight line between two of them meets a third.
func place(m Map) layout {
	l := layout{byName: map[string]*card{}}
	width := 150.0
	for _, n := range m.Nodes {
		c := newCard(n)
		l.cards, l.byName[n.Name] = append(l.cards, c), c
		width = max(width, c.width)
	}
	for _, s := range m.Sites {
		width = max(width, charWidth*float64(utf8.RuneCountInString(shown(s.Text()))))
	}
	split := splitColumns(m.Sites, l.byName)
	heights := []float64{l.height(m.Sites[:split]), l.height(m.Sites[split:])}
	tallest := max(heights[0], heights[1])
	middle := min(max(tallest*0.8, 460), 1000)
	boxWidth := width + 2*sitePadding
	l.center = point{margin + boxWidth + middle/2, headHeight + tallest/2}
	l.width = 2*margin + 2*boxWidth + middle
	if split == len(m.Sites) {
		// One site has one column.
		l.width = 2*margin + boxWidth + middle/2 + 2*discRadius
	}
	l.bottom = headHeight + tallest
	for i, column := range [][]Site{m.Sites[:split], m.Sites[split:]} {
		x, y := margin, l.center.y-heights[i]/2
		if i == 1 {
			x = l.width - margin - boxWidth
		}
		for _, s := range column {
			b := box{title: shown(s.Text()), x: x, y: y, width: boxWidth}
			y += siteTitle
			for _, name := range s.Nodes {
				c := l.byName[name]
				c.x, c.y, c.width, c.left = x+sitePadding, y, width, i == 0
				y += c.height + cardGap
			}
			y += sitePadding - cardGap
			b.height = y - b.y
			l.boxes = append(l.boxes, b)
			y += siteGap
		}
	}
	rx, ry := middle/2-2*discRadius, tallest/2*1.15
	for _, c := range l.cards {
		y := c.y + c.height/2
		dy := (y - l.center.y) / ry
		dx := rx * math.Sqrt(max(0, 1-dy*dy))
		if c.left {
			dx = -dx
		}
		c.disc = point{l.center.x + dx, y}
	}
	return l
}

func newCard(n Node) *card {
	c := &card{node: n, nameAsShown: shown(n.Name)}
	c.lines = append(c.lines, line{n.Text(), n.Level})
	if n.MeshAddress != "" {
		c.lines = append(c.lines, line{n.MeshAddress, Good})
	}
	for _, r := range n.Roles {
		c.lines = append(c.lines, line{r.Text(), r.Level})
	}
	c.width = boldCharWidth * float64(utf8.RuneCountInString(c.nameAsShown))
	for i, l := range c.lines {
		c.lines[i].text = shown(l.text)
		if l.level != Good && i > 0 {
			c.lines[i].text = sign(l.level) + " " + c.lines[i].text
		}
		c.width = max(c.width, charWidth*float64(utf8.RuneCountInString(c.lines[i].text)))
	}
	c.width += 2 * cardPadding
	c.height = 2*cardPadding + 14 + lineHeight*float64(len(c.lines))
	return c
}

// shown is a text as far as there is room for it.
func shown(text string) string { return clip(text, maxChars) }

// height is that of a column of sites.
func (l layout) height(sites []Site) float64 {
	h := 0.0
	for i, s := range sites {
		if i > 0 {
			h += siteGap
		}
		h += siteTitle + sitePadding - cardGap
		for _, name := range s.Nodes {
			h += l.byName[name].height + cardGap
		}
	}
	return h
}

// splitColumns returns how many sites are in the left column. Of two ways that are as good, the left column is the shorter one.
func splitColumns(sites []Site, cards map[string]*card) int {
	if len(sites) < 2 {
		return len(sites)
	}
	l := layout{byName: cards}
	best, least := 1, math.Inf(1)
	for k := 1; k < len(sites); k++ {
		if d := math.Abs(l.height(sites[:k]) - l.height(sites[k:])); d < least-0.5 {
			best, least = k, d
		}
	}
	return best
}

// curve is the way of one direction of a link: a quadratic curve from disc to disc, which keeps to the right of the other direction.
type curve struct{ from, control, to, tip point }

// between two nodes of one column the way leads into the open middle, past the discs in between.
func (l layout) curve(a, b *card) curve {
	middle := between(a.disc, b.disc)
	if a.left == b.left {
		middle = middle.at(middle.toward(point{l.center.x, middle.y}), math.Abs(l.center.x-middle.x)*0.45+18)
	}
	control := middle.at(a.disc.toward(b.disc).normal(), 13)
	arrival := b.disc.toward(control)
	return curve{
		from: a.disc.at(a.disc.toward(control), discRadius+1), control: control,
		to: b.disc.at(arrival, discRadius+8), tip: b.disc.at(arrival, discRadius+1),
	}
}

// at returns the point of the curve at t from 0 to 1.
func (c curve) at(t float64) point {
	return c.from.times((1 - t) * (1 - t)).plus(c.control.times(2 * t * (1 - t))).plus(c.to.times(t * t))
}
