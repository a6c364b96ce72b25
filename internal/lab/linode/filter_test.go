package linode_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linode/linodego"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/linode"
)

func TestFilters(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{})
	for label, tags := range map[string][]string{"hk1": {"web"}, "sg1": {"web", "asia"}, "sg2": {"other"}} {
		options := node(label)
		options.Tags = tags
		if _, err := api.CreateInstance(ctx, options); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, filter string
		want         []string
	}{
		{"label", `{"label":"sg1"}`, []string{"sg1"}},
		{"tag, ordered", `{"tags":"web","+order_by":"label","+order":"desc"}`, []string{"sg1", "hk1"}},
		{"contains", `{"label":{"+contains":"SG"},"+order_by":"label"}`, []string{"sg1", "sg2"}},
		{"or", `{"+or":[{"label":"hk1"},{"label":"sg2"}],"+order_by":"label"}`, []string{"hk1", "sg2"}},
		{"and", `{"+and":[{"tags":"web"},{"tags":"asia"}]}`, []string{"sg1"}},
		{"not", `{"label":{"+neq":"hk1"},"+order_by":"label","+order":"asc"}`, []string{"sg1", "sg2"}},
		{"greater", `{"label":{"+gt":"hk1","+lt":"sg2"}}`, []string{"sg1"}},
		{"none", `{"label":"nobody"}`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list, err := api.ListInstances(ctx, linodego.NewListOptions(0, test.filter))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range list {
				got = append(got, i.Label)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("labels (-want +got)\n%s", diff)
			}
		})
	}
	for filter, want := range map[string]string{
		`{"foo":"bar"}`:               "[X-Filter] Cannot filter on foo",
		`{"+or":[{"status":"x"}]}`:    "[X-Filter] Cannot filter on status",
		`{"+order_by":"host_uuid"}`:   "[X-Filter] Cannot filter on host_uuid",
		`{"label":{"+resembles":"x"}`: "[X-Filter] Cannot decode JSON",
		`{"label":{"+like":"x"}}`:     "[X-Filter] Unknown operator +like",
	} {
		_, err := api.ListInstances(ctx, linodego.NewListOptions(0, filter))
		var e *linodego.Error
		if !errors.As(err, &e) || e.Message != want {
			t.Errorf("filter %s: error %v, want %q", filter, err, want)
		}
	}
}

func TestEventsNewestFirstAndByTime(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{Instant: true})
	first := create(ctx, t, api, "sg1")
	create(ctx, t, api, "sg2")
	filter := fmt.Sprintf(`{"+order":"desc","+order_by":"created","action":"linode_create","created":{"+gte":"2020-01-01T00:00:00"},"entity.id":%d,"entity.type":"linode"}`, first.ID)
	events, err := api.ListEvents(ctx, linodego.NewListOptions(0, filter))
	if err != nil || len(events) != 1 || events[0].Entity.Label != "sg1" {
		t.Errorf("events %+v, error %v", events, err)
	}
	all, err := api.ListEvents(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(all); n++ {
		if all[n-1].ID <= all[n].ID {
			t.Errorf("event %d comes before %d", all[n-1].ID, all[n].ID)
		}
	}
}

func TestPages(t *testing.T) {
	ctx := t.Context()
	api := serve(t, &linode.Server{})
	for n := range 30 {
		create(ctx, t, api, fmt.Sprintf("node%02d", n))
	}
	all, err := api.ListInstances(ctx, &linodego.ListOptions{PageSize: 25})
	if err != nil || len(all) != 30 {
		t.Errorf("%d instances over two pages, error %v, want 30", len(all), err)
	}
	second := &linodego.ListOptions{PageOptions: &linodego.PageOptions{Page: 2}, PageSize: 25}
	part, err := api.ListInstances(ctx, second)
	if err != nil || len(part) != 5 || second.Pages != 2 || second.Results != 30 {
		t.Errorf("page 2: %d instances of %d on %d pages, error %v", len(part), second.Results, second.Pages, err)
	}
	if _, err := api.ListInstances(ctx, &linodego.ListOptions{PageOptions: &linodego.PageOptions{Page: 3}, PageSize: 25}); !linodego.IsNotFound(err) {
		t.Errorf("page 3: error %v, want not found", err)
	}
}
