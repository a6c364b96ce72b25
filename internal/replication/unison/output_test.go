package unison_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison"
)

// TestReadRounds reads what unison 2.53.7 and 2.52.1 really wrote.
func TestReadRounds(t *testing.T) {
	for name, test := range map[string]struct {
		output string
		want   []unison.Round
	}{
		"one file": {
			`file     ---->            d/g  
[BGN] Copying d/g from /srv/a to //hk2//srv/b
[END] Copying d/g
Synchronization complete at 15:34:49  (1 item transferred, 0 skipped, 0 failed)
`, []unison.Round{{}},
		},
		"what it did not expect, as before 2.53.5": {
			"\nInvalid argument: Bytes.create\nRaised at Lwt.poll in file \"lwt.ml\"\n",
			[]unison.Round{{Fatal: "Invalid argument: Bytes.create\nRaised at Lwt.poll in file \"lwt.ml\""}},
		},
		"a reason that is like its last words": {
			`Failed [a:b]: Error in renaming a:
Invalid argument [rename(/srv/b/a:b)]
Synchronization incomplete at 15:35:05  (0 items transferred, 0 skipped, 1 failed)
  failed: a:b
Fatal error: Error in committing:
Invalid argument [rename(/srv/b/x)]
`, []unison.Round{
				{Failed: map[string]string{"a:b": "Error in renaming a: Invalid argument [rename(/srv/b/a:b)]"}},
				{Fatal: "Error in committing:\nInvalid argument [rename(/srv/b/x)]"},
			},
		},
		"a name that is like its last words": {
			`[BGN] Copying new
Fatal error: Lost connection with the server from /srv/a to //hk2//srv/b
[END] Copying new
Fatal error: Lost connection with the server
Synchronization complete at 15:37:24  (1 item transferred, 0 skipped, 0 failed)
Nothing to do: replicas have not changed since last sync.
`, []unison.Round{{}, {}},
		},
		"nothing": {
			"Nothing to do: replicas have not changed since last sync.\n",
			[]unison.Round{{}},
		},
		"a directory that nobody may write": {
			`dir      ---->            no  
[BGN] Copying no from /srv/a to //hk2//srv/b
Failed [no]: Error in creating directory:
Operation not permitted [mkdir(/srv/b/.unison.no.e9af5c984c025c64bfac37abb7ce9a2f.unison.tmp)]
Synchronization incomplete at 15:35:05  (0 items transferred, 0 skipped, 1 failed)
  failed: no
Nothing to do: replicas have not changed since last sync.
`, []unison.Round{
				{Failed: map[string]string{"no": "Error in creating directory: Operation not permitted [mkdir(/srv/b/.unison.no.e9af5c984c025c64bfac37abb7ce9a2f.unison.tmp)]"}},
				{},
			},
		},
		"what cannot be read, and names with newlines": {
			`[ERROR] Skipping fifo
  path /srv/a/fifo has unknown file type
[ERROR] Skipping no
  Error in scanning directory:
Permission denied [opendir(/srv/a/no)]
[BGN] Copying new
line from /srv/a to //hk2//srv/b
[END] Copying new
line
Synchronization complete at 15:37:24  (8 items transferred, 3 skipped, 0 failed)
  skipped: fifo (path /srv/a/fifo has unknown file type)
  skipped: no (Error in scanning directory:
Permission denied [opendir(/srv/a/no)])
  skipped: secret (Error in digesting /srv/a/secret:
/srv/a/secret: Permission denied)
Synchronization complete at 15:37:25  (1 item transferred, 0 skipped, 0 failed)
`, []unison.Round{
				{Skipped: map[string]string{"fifo": "path /srv/a/fifo has unknown file type", "no": "Error in scanning directory", "secret": "Error in digesting /srv/a/secret"}},
				{},
			},
		},
		"names with newlines that are skipped": {
			`Synchronization incomplete at 15:37:24  (0 items transferred, 2 skipped, 1 failed)
  skipped: new
line (would create a file with nocreation or nocreationpartial set)
  skipped: 
 (would create a file with nocreation or nocreationpartial set)
  failed: .atoll/pace
Nothing to do: replicas have not changed since last sync.
`, []unison.Round{{MoreSkipped: 2, Failed: map[string]string{".atoll/pace": ""}}, {}},
		},
		"a new directory with what cannot be read in it": {
			`dir      ---->            d  
[BGN] Copying d from /srv/a to //hk2//srv/b
[END] Copying d
Failed [.atoll/pace]: Error in creating file:
Permission denied
Synchronization incomplete at 22:07:16  (1 item transferred, 1 partially transferred, 1 skipped, 1 failed)
  skipped: no (Error in scanning directory:
Permission denied [opendir(/srv/a/no)])
  partially transferred: d
  failed: .atoll/pace
Synchronization incomplete at 22:07:17  (0 items transferred, 0 skipped, 1 failed, 2 not started)
  failed: .atoll/pace
`, []unison.Round{
				{
					Skipped: map[string]string{"no": "Error in scanning directory", "d": "not everything in it could be read"},
					Failed:  map[string]string{".atoll/pace": "Error in creating file: Permission denied"},
				},
				{Failed: map[string]string{".atoll/pace": ""}},
			},
		},
		"2.52 overwrites its lines": {
			"Starting...\r           \rSynchronization complete at 15:37:24  (2 items transferred, 0 skipped, 0 failed)\r\n",
			[]unison.Round{{}},
		},
		"the tree is gone": {
			"Error: Server: Path /srv/b/.atoll is designated as a mountpoint, but points to nothing on host hk2\n",
			[]unison.Round{{Fatal: "Server: Path /srv/b/.atoll is designated as a mountpoint, but points to nothing on host hk2"}},
		},
		"one archive is lost": {
			`Error: Warning: inconsistent state.  
The archive file is missing on some hosts.
For safety, the remaining copies should be deleted.
`, []unison.Round{{Fatal: "Warning: inconsistent state.  \nThe archive file is missing on some hosts.\nFor safety, the remaining copies should be deleted."}},
		},
		"killed while it sums up": {
			"Synchronization incomplete at 15:35:05  (0 items transferred, 0 skipped, 2 failed)\n  failed: a",
			[]unison.Round{{Failed: map[string]string{"a": ""}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []unison.Round
			if err := unison.ReadRounds(strings.NewReader(test.output), func(r unison.Round) { got = append(got, r) }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
