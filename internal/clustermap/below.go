package clustermap

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// below draws what is under the picture: the legend, the links as a list and what is wrong. It sets the drawing's height.
func (d *drawing) below(y float64) *element {
	g := el("g", "class", "below")
	x := margin
	for _, sample := range []struct {
		level Level
		text  string
	}{{Good, "as it should be"}, {Degraded, "degraded: a detour, or losing packets"}, {Down, "down"}, {Unknown, "unknown"}} {
		g.with(el("g", "class", string(sample.level)).with(
			el("path", "class", "line", "d", fmt.Sprintf("M%s %s H%s", px(x), px(y), px(x+34))),
			el("text", "class", "quiet", "x", px(x+40), "y", px(y+4)).saying(sample.text),
		))
		x += 40 + charWidth*float64(len(sample.text)) + 14
	}
	d.width = max(d.width, x)
	y += lineHeight
	y = d.linkList(g, y)
	y = d.sentences(g, y, "Wrong", d.m.Reasons)
	y = d.sentences(g, y, "Worth a look", d.m.Warnings)
	d.height = y + margin
	return g
}

// linkList lists links as text: all of a small mesh, of a large one those that are not as they should be although their nodes are
// there.
func (d *drawing) linkList(g *element, y float64) float64 {
	var list []Link
	for _, l := range d.m.Links {
		away := d.l.byName[l.From].node.away() || d.l.byName[l.To].node.away()
		if len(d.m.Links) <= fewLinks || !away && (l.There.Level != Good || l.Back.Level != Good) {
			list = append(list, l)
		}
	}
	row := func(from, to string, way Direction, x float64) {
		name := clip(from, longestName) + " → " + clip(to, longestName) + "  "
		g.with(el("text", "class", string(way.Level), "x", px(x), "y", px(y)).saying(name + clip(way.Text(), maxChars)))
	}
	if len(list) > 0 {
		y += lineHeight + 6
		g.with(el("text", "class", "name", "x", px(margin), "y", px(y)).saying("Links"))
	}
	for _, l := range list[:min(len(list), fewLinks)] {
		y += lineHeight + 2
		row(l.From, l.To, l.There, margin)
		row(l.To, l.From, l.Back, margin+d.width/2-margin/2)
	}
	if more := len(d.m.Links) - min(len(list), fewLinks); more > 0 {
		y += lineHeight + 2
		text := fmt.Sprintf("%s: as they should be, or of nodes that are not", count(more, "more link"))
		if len(list) > fewLinks {
			text = count(more, "more link")
		}
		g.with(el("text", "class", "quiet", "x", px(margin), "y", px(y)).saying(text))
	}
	return y
}

// sentences lists sentences under a heading, in lines that fit.
func (d *drawing) sentences(g *element, y float64, heading string, list []string) float64 {
	if len(list) == 0 {
		return y
	}
	y += lineHeight + 10
	g.with(el("text", "class", "name", "x", px(margin), "y", px(y)).saying(heading))
	for _, sentence := range list[:min(len(list), fewSentences)] {
		for i, text := range wrap(sentence, int((d.width-2*margin-14)/charWidth)) {
			x := margin + 14
			if i == 0 {
				text, x = "- "+text, margin+4
			}
			y += lineHeight + 1
			g.with(el("text", "x", px(x), "y", px(y)).saying(text))
		}
	}
	if more := len(list) - fewSentences; more > 0 {
		y += lineHeight + 1
		g.with(el("text", "class", "quiet", "x", px(margin+14), "y", px(y)).saying(fmt.Sprintf("and %d more", more)))
	}
	return y
}

// wrap breaks a text into lines of at most width characters, between words where it can.
func wrap(text string, width int) []string {
	var out []string
	current := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > width {
			if current != "" {
				out, current = append(out, current), ""
			}
			runes := []rune(word)
			out, word = append(out, string(runes[:width])), string(runes[width:])
		}
		switch {
		case current == "":
			current = word
		case utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) > width:
			out, current = append(out, current), word
		default:
			current += " " + word
		}
	}
	return append(out, current)
}

func clip(text string, length int) string {
	runes := []rune(text)
	if len(runes) <= length {
		return text
	}
	return string(runes[:length-1]) + "…"
}
