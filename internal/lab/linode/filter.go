package linode

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// listing is one page of a list.
type listing[T any] struct {
	Data    []T `json:"data"`
	Page    int `json:"page"`
	Pages   int `json:"pages"`
	Results int `json:"results"`
}

const (
	smallestPage = 25
	defaultPage  = 100
	largestPage  = 500
)

// page applies the request's X-Filter, page and page_size. Filters may name the given fields, with a
// dot for fields of fields.
func page[T any](r *http.Request, items []T, fields ...string) (listing[json.RawMessage], error) {
	var none listing[json.RawMessage]
	number, err := parameter(r, "page", 1, 1, 1<<30)
	if err != nil {
		return none, err
	}
	size, err := parameter(r, "page_size", defaultPage, smallestPage, largestPage)
	if err != nil {
		return none, err
	}
	rows, err := toRows(items)
	if err != nil {
		return none, err
	}
	if rows, err = filter(rows, r.Header.Get("X-Filter"), fields); err != nil {
		return none, err
	}
	pages := max((len(rows)+size-1)/size, 1)
	if number > pages {
		return none, notFound()
	}
	out := listing[json.RawMessage]{Data: []json.RawMessage{}, Page: number, Pages: pages, Results: len(rows)}
	for _, row := range rows[(number-1)*size : min(number*size, len(rows))] {
		out.Data = append(out.Data, row.raw)
	}
	return out, nil
}

func parameter(r *http.Request, name string, fallback, least, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, invalid(name, fmt.Sprintf("Must be %d-%d", least, most))
	}
	return n, nil
}

// row is an object as the client sees it; filters work on nothing else.
type row struct {
	raw    json.RawMessage
	fields map[string]any
}

func toRows[T any](items []T) ([]row, error) {
	rows := make([]row, 0, len(items))
	for _, item := range items {
		raw, err := json.Marshal(item)
		if err != nil {
			return nil, fmt.Errorf("encode list: %w", err)
		}
		r := row{raw: raw}
		if err := json.Unmarshal(raw, &r.fields); err != nil {
			return nil, fmt.Errorf("encode list: %w", err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// get returns a field; entity.id is the id of entity.
func (r row) get(name string) any {
	var value any = r.fields
	for part := range strings.SplitSeq(name, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[part]
	}
	return value
}

func filter(rows []row, header string, fields []string) ([]row, error) {
	if header == "" {
		return rows, nil
	}
	var query map[string]any
	if err := json.Unmarshal([]byte(header), &query); err != nil {
		return nil, invalid("X-Filter", "Cannot decode JSON")
	}
	orderBy, _ := query["+order_by"].(string)
	descending := query["+order"] == "desc"
	delete(query, "+order_by")
	delete(query, "+order")
	f := filterer{fields: fields}
	if orderBy != "" {
		f.check(orderBy)
	}
	kept := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !f.matches(r, query) })
	if len(rows) == 0 {
		f.matches(row{}, query) // a bad filter is an error, also of an empty list
	}
	if f.err != nil {
		return nil, f.err
	}
	if orderBy != "" {
		slices.SortStableFunc(kept, func(a, b row) int {
			if descending {
				a, b = b, a
			}
			order, _ := compare(a.get(orderBy), b.get(orderBy))
			if order == 0 {
				// Times have whole seconds only; what was made later counts as later.
				order, _ = compare(a.get("id"), b.get("id"))
			}
			return order
		})
	}
	return kept, nil
}

// filterer decides whether rows match a query and remembers the first thing wrong with it.
type filterer struct {
	fields []string
	err    error
}

func (f *filterer) check(field string) {
	if f.err == nil && !slices.Contains(f.fields, field) {
		f.err = invalid("X-Filter", "Cannot filter on "+field)
	}
}

// matches evaluates every condition, so that a mistake is found wherever it is.
func (f *filterer) matches(r row, query map[string]any) bool {
	ok := true
	for key, condition := range query {
		switch key {
		case "+and", "+or":
			ok = f.combine(r, key, condition) && ok
		default:
			f.check(key)
			ok = f.holds(r.get(key), condition) && ok
		}
	}
	return ok
}

func (f *filterer) combine(r row, key string, condition any) bool {
	list, isList := condition.([]any)
	if !isList && f.err == nil {
		f.err = invalid("X-Filter", key+" must be a list")
	}
	all, some := true, false
	for _, entry := range list {
		query, _ := entry.(map[string]any)
		hit := f.matches(r, query)
		all, some = all && hit, some || hit
	}
	if key == "+or" {
		return some
	}
	return all
}

func (f *filterer) holds(value, condition any) bool {
	operators, ok := condition.(map[string]any)
	if !ok {
		return equal(value, condition)
	}
	matched := true
	for operator, operand := range operators {
		order, ordered := compare(value, operand)
		var hit bool
		switch operator {
		case "+gt":
			hit = ordered && order > 0
		case "+gte":
			hit = ordered && order >= 0
		case "+lt":
			hit = ordered && order < 0
		case "+lte":
			hit = ordered && order <= 0
		case "+neq":
			hit = !equal(value, operand)
		case "+contains":
			hit = strings.Contains(strings.ToLower(fmt.Sprint(value)), strings.ToLower(fmt.Sprint(operand)))
		default:
			if f.err == nil {
				f.err = invalid("X-Filter", "Unknown operator "+operator)
			}
		}
		matched = matched && hit
	}
	return matched
}

// equal compares as the vendor does: a list, such as tags, is equal to each thing in it.
func equal(value, wanted any) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(v any) bool { return equal(v, wanted) })
	}
	return reflect.DeepEqual(value, wanted)
}

func compare(a, b any) (order int, ok bool) {
	switch a := a.(type) {
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b), true
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b), true
		}
	}
	return 0, false
}
