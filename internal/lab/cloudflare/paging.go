package cloudflare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// all is the answer to a list that has no pages.
func all[T any](c *call, items []T) []T {
	c.info = &resultInfo{Page: 1, PerPage: len(items), Count: len(items), TotalCount: len(items), TotalPages: 1}
	if items == nil {
		return []T{}
	}
	return items
}

// page returns the part of a list that the request asks for. A page behind the last one is empty, as the vendor's is.
func page[T any](c *call, items []T, fallback, least, most int) ([]T, error) {
	query := c.URL.Query()
	number, err := parameter(query, "page", 1, 1, 1<<30)
	if err != nil {
		return nil, err
	}
	size, err := parameter(query, "per_page", fallback, least, most)
	if err != nil {
		return nil, err
	}
	begin := min((number-1)*size, len(items))
	part := items[begin:min(begin+size, len(items))]
	c.info = &resultInfo{
		Page: number, PerPage: size, Count: len(part), TotalCount: len(items), TotalPages: (len(items) + size - 1) / size,
	}
	return append([]T{}, part...), nil
}

func parameter(query url.Values, name string, fallback, least, most int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fail(http.StatusBadRequest, codeInvalid, fmt.Sprintf("%s must be between %d and %d", name, least, most))
	}
	return n, nil
}

// filter keeps the objects that match the request's parameters, which are named like the objects' fields: "name" and
// "name.exact" are equal to it, "name.contains", "name.startswith" and "name.endswith" are parts of it, all without regard
// to case. The parameter "match=any" keeps what one of them matches.
func filter[T any](query url.Values, items []T, fields ...string) ([]T, error) {
	var conditions []func(map[string]any) bool
	for name, values := range query {
		field, how, _ := strings.Cut(name, ".")
		if !slices.Contains(fields, field) || len(values) == 0 {
			continue
		}
		conditions = append(conditions, condition(field, how, values[0]))
	}
	if len(conditions) == 0 {
		return items, nil
	}
	anyOf := query.Get("match") == "any"
	var kept []T
	for _, item := range items {
		object, err := asObject(item)
		if err != nil {
			return nil, err
		}
		hits := 0
		for _, matches := range conditions {
			if matches(object) {
				hits++
			}
		}
		if hits == len(conditions) || anyOf && hits > 0 {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

func condition(field, how, wanted string) func(map[string]any) bool {
	wanted = strings.ToLower(wanted)
	return func(object map[string]any) bool {
		value := object[field]
		text := ""
		if value != nil {
			text = strings.ToLower(fmt.Sprint(value))
		}
		switch how {
		case "", "exact":
			return text == wanted
		case "contains":
			return strings.Contains(text, wanted)
		case "startswith":
			return strings.HasPrefix(text, wanted)
		case "endswith":
			return strings.HasSuffix(text, wanted)
		case "present":
			return text != ""
		case "absent":
			return text == ""
		}
		return false
	}
}

// order sorts by the field that the parameter "order" names, the first of the given ones when it is missing.
func order[T any](query url.Values, items []T, fields ...string) ([]T, error) {
	by := query.Get("order")
	if by == "" {
		by = fields[0]
	}
	if !slices.Contains(fields, by) {
		return nil, fail(http.StatusBadRequest, codeInvalid, "order must be one of "+strings.Join(fields, ", "))
	}
	keys := make([]string, 0, len(items))
	places := make([]int, 0, len(items))
	for n, item := range items {
		object, err := asObject(item)
		if err != nil {
			return nil, err
		}
		keys, places = append(keys, fmt.Sprint(object[by])), append(places, n)
	}
	slices.SortStableFunc(places, func(a, b int) int {
		if query.Get("direction") == "desc" {
			a, b = b, a
		}
		return cmp.Compare(keys[a], keys[b])
	})
	sorted := make([]T, 0, len(items))
	for _, n := range places {
		sorted = append(sorted, items[n])
	}
	return sorted, nil
}

// asObject is an object as the client sees it; filters work on nothing else.
func asObject(item any) (map[string]any, error) {
	data, err := json.Marshal(item)
	if err != nil {
		return nil, fmt.Errorf("encode list: %w", err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("encode list: %w", err)
	}
	return out, nil
}
