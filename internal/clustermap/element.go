package clustermap

import (
	"bytes"
	"encoding/xml"
	"strconv"
)

// element is a piece of an XML document. It has a text or children, not both: whitespace between elements means nothing then.
type element struct {
	name     string
	attrs    []xml.Attr
	text     string
	children []*element
}

// el makes an element with attributes in pairs of name and value.
func el(name string, attrs ...string) *element {
	e := &element{name: name}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.attrs = append(e.attrs, xml.Attr{Name: xml.Name{Local: attrs[i]}, Value: attrs[i+1]})
	}
	return e
}

// with adds children and returns the element.
func (e *element) with(children ...*element) *element {
	e.children = append(e.children, children...)
	return e
}

// saying sets the text and returns the element.
func (e *element) saying(text string) *element {
	e.text = text
	return e
}

// document returns the element as a document. The encoder escapes what it writes, and replaces what XML cannot hold.
func (e *element) document() ([]byte, error) {
	var b bytes.Buffer
	encoder := xml.NewEncoder(&b)
	encoder.Indent("", " ")
	if err := e.encode(encoder); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func (e *element) encode(to *xml.Encoder) error {
	start := xml.StartElement{Name: xml.Name{Local: e.name}, Attr: e.attrs}
	if err := to.EncodeToken(start); err != nil {
		return err
	}
	if e.text != "" {
		if err := to.EncodeToken(xml.CharData(e.text)); err != nil {
			return err
		}
	}
	for _, child := range e.children {
		if err := child.encode(to); err != nil {
			return err
		}
	}
	return to.EncodeToken(start.End())
}

// px writes a length or coordinate down.
func px(v float64) string {
	text := strconv.FormatFloat(v, 'f', 1, 64)
	if text == "-0.0" {
		return "0.0"
	}
	return text
}
