package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/atollhq/terraform-provider-atoll/internal/database/mysql"
	"github.com/atollhq/terraform-provider-atoll/internal/host"
)

// disk is a machine of which df says something.
type disk struct {
	host.System
	says string
	err  error
}

func (d disk) Run(context.Context, host.Command) (host.Output, error) {
	return host.Output{Stdout: []byte(d.says)}, d.err
}

func TestRoom(t *testing.T) {
	free := func(bytes int) disk { return disk{says: fmt.Sprintf("Avail\n%d\n", bytes)} }
	const mib = 1 << 20
	tests := []struct {
		name  string
		disk  disk
		unfit string
		none  bool
	}{
		{"plenty", free(10_000 * mib), "", false},
		{"enough", free(192 * mib), "", false},
		{"scarce", free(150 * mib), "150 MiB are left below /var/lib/atoll-mysql", false},
		{"hardly any", free(7 * mib), "7 MiB are left", true},
		{"none", free(0), "0 KiB are left", true},
		// Nobody hands over because of what nobody knows.
		{"unknown", disk{err: errors.New("no df")}, "", false},
		{"not understood", disk{says: "Avail\nmuch\n"}, "", false},
		{"nothing", disk{}, "", false},
	}
	for _, tt := range tests {
		unfit, none := mysql.Room(t.Context(), tt.disk)
		if !strings.Contains(unfit, tt.unfit) || (unfit == "") != (tt.unfit == "") || none != tt.none {
			t.Errorf("%s: got %q (%t), want %q (%t)", tt.name, unfit, none, tt.unfit, tt.none)
		}
	}
}
