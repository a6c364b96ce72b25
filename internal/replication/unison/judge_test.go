package unison_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/unison"
	"github.com/atollhq/terraform-provider-atoll/internal/replication/worker"
)

// TestCauses reads what unison 2.53.7 says before it ends, as it is in its source.
func TestCauses(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"Warning: inconsistent state.  \nThe archive file is missing on some hosts.\nFor safety, the remaining copies should be deleted.\n  Archive arf1 on host hk1 is MISSING\n  Archive ar2a on host sg1 should be DELETED\nPlease delete archive files as appropriate and try again\nor invoke Unison with -ignorearchives flag.": "archive",
		"Internal error: On-disk archives are not identical.\n\nThis can happen when both machines have the same hostname.\nIt can also happen when one copy of Unison has been compiled with\nOCaml version 3 and one with OCaml version 4.":                                                                                         "archive",
		"Internal error: New archives are not identical.\nRetaining original archives.  Please run Unison again to bring them up to date.":                                                                                                                                                                                            "unequal",
		"Archive file seems damaged (int: overflow): use the -ignorearchives option, or throw away archives on both machines and try again":                                                                                                                                                                                           "archive",
		"Server: Archive file seems damaged (input_value: truncated object): use the -ignorearchives option, or throw away archives on both machines and try again":                                                                                                                                                                   "archive",
		"exception raised in loading archive (this indicates a bug!):\nEnd_of_file":                                                                                                                                                                                                                                                   "archive",
		"Server: Path /srv/b/.atoll is designated as a mountpoint, but points to nothing on host hk2":                                                                                                                                                                                                                                 "tree",
		"Path /srv/loading archive/.atoll is designated as a mountpoint, but points to nothing on host hk2":                                                                                                                                                                                                                           "tree",
		"Lost connection with the server":                              "link",
		"Can't connect to server /run/tunnel.sock: Connection refused": "link",
		"Filesystem watcher error: reach who knows of changes":         "monitor",
		"Warning: the archives are locked.  \nIf no other instance of unison is running, the locks should be removed.\n  The file /x/lk on host hk1 should be deleted\nPlease delete lock files as appropriate and try again.": "locked",
		"Invalid argument (please report a bug): Bytes.create\nRaised at Lwt.ignore_result in file \"src/lwt/lwt.ml\"":                                                                                                         "crash",
		"Uncaught unix error (please report a bug): read failed: Connection reset by peer\nRaised at Lwt.ignore_result in file":                                                                                                "link",
		"Uncaught unix error (please report a bug): write failed: No space left on device\nRaised at Lwt.ignore_result in file":                                                                                                "unknown",

		// What earlier ones say, and what the kernel does.
		"Uncaught unix error: write failed: Invalid argument":                                                     "unknown",
		"Invalid argument: Bytes.create\nRaised at Lwt.poll in file \"src/lwt/lwt.ml\"":                           "crash",
		"Uncaught exception Stdlib.Queue.Empty\nRaised at Lwt.poll in file":                                       "crash",
		"ended by a signal: segmentation fault":                                                                   "crash",
		"ended by a signal: killed":                                                                               "killed",
		"Server: Filesystem watcher error: x":                                                                     "monitor",
		"Invalid argument [rename(/srv/uploads/a:b)]":                                                             "unknown",
		"Error in committing:\nInvalid argument [rename(/srv/uploads/a:b)]":                                       "unknown",
		"Uncaught exception (please report a bug): Not_found\nRaised at Stdlib__Map.Make.find in file \"map.ml\"": "crash",
		"Uncaught exception Stack overflow\nRaised by":                                                            "exhausted",
		"Uncaught exception (please report a bug): Out of memory\nRaised at":                                      "exhausted",
		"Stack overflow. This could indicate a programming error.":                                                "exhausted",
		"ended by a signal: aborted":                                                                              "killed",
	} {
		if got := unison.CauseOf(said); got != want {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
}

// TestLastOf has unison's server end, as unison 2.53.7 says it, with what others have said before.
func TestLastOf(t *testing.T) {
	t.Parallel()
	segfault := exec.CommandContext(t.Context(), "sh", "-c", "kill -SEGV $$").Run()
	for _, tt := range []struct {
		said string
		end  error
		want string
	}{
		{"Unison server failed: Invalid argument: Bytes.create\nRaised at", nil, "Invalid argument: Bytes.create\nRaised at"},
		{"ERROR: ld.so: object '/x' cannot be preloaded: ignored.\nUnison server failed: Uncaught exception Not_found", nil, "Uncaught exception Not_found"},
		{"ERROR: ld.so: object '/x' cannot be preloaded: ignored.", segfault, "ended by a signal: segmentation fault"},
		{"", nil, ""},
	} {
		if got := unison.LastOfServer(tt.said, tt.end); got != tt.want {
			t.Errorf("%q, %v: %q, want %q", tt.said, tt.end, got, tt.want)
		}
	}
}

// TestUntidy has transfers fail.
func TestUntidy(t *testing.T) {
	t.Parallel()
	began := time.Now()
	u := unison.NewUntidy()
	for _, round := range []struct {
		after  time.Duration
		failed map[string]string
		want   []string
	}{
		{0, map[string]string{"a/b/file": "Destination updated during synchronization", "file": "No space left on device"}, nil},
		{30 * time.Second, map[string]string{"file": "No space left on device"}, nil},
		{time.Minute + time.Second, nil, []string{"a/b"}},
		{80 * time.Second, map[string]string{"long/name": "Error: File name too long"}, []string{"a/b", "long"}},
		{2*time.Minute + time.Second, nil, []string{".", "a/b"}},
		{3 * time.Minute, nil, []string{".", "long"}},
		{time.Hour, nil, []string{"long"}},
		{2 * time.Hour, nil, nil},
	} {
		if diff := cmp.Diff(round.want, u.Round(round.failed, began.Add(round.after))); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", round.after, diff)
		}
	}
}

// TestOvertaken has canaries and files written to while unison carries them over, as unison says it.
func TestOvertaken(t *testing.T) {
	const meanwhile = "The source file /srv/uploads/x: has been modified during synchronization.  Transfer aborted."
	for _, tt := range []struct {
		path, reason string
		want         bool
	}{
		{worker.CanaryDir + "/uploads/sg1", meanwhile, true},
		{worker.CanaryDir + "/uploads/sg1", "Permission denied [open(/srv/uploads/.atoll-canary/uploads/sg1)]", false},
		{"uploads/sg1", meanwhile, false},
		{worker.CanaryDir + ".txt", meanwhile, false},
	} {
		if got := unison.Overtaken(tt.path, tt.reason); got != tt.want {
			t.Errorf("%q: %s: %t, want %t", tt.path, tt.reason, got, tt.want)
		}
	}
}
