//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

// clockVariable says, in seconds, how far the clock of a program from buildWrong is ahead.
const clockVariable = "ATOLL_TEST_CLOCK"

// edits are changes of source files, by their paths: what is replaced must be there exactly once.
type edits map[string][][2]string

// wrongTime is a standard library whose time.Now is as far off as clockVariable says. The connection between an engine and
// its provider keeps the right time, as both would have the same wrong one: TLS checks by it, and the certificate that the
// provider makes for it is dated by it.
func wrongTime() edits {
	std := filepath.Join(runtime.GOROOT(), "src") //nolint:staticcheck // the toolchain that runs this test
	const create = "func CreateCertificate(rand io.Reader, template, parent *Certificate, pub, priv any) ([]byte, error) {\n"
	const now, first = "func Now() Time {\n", "\tsec, nsec, mono := runtimeNow()\n"
	return edits{
		filepath.Join(std, "time", "time.go"): {
			{"import (\n", "import (\n\t\"syscall\"\n"},
			{now + first, fmt.Sprintf(`var wrongBy = func() int64 {
	text, _ := syscall.Getenv(%q)
	seconds, _ := atoi(text)
	return int64(seconds)
}()

func Now() Time { return nowAhead(wrongBy) }

func RightNow() Time { return nowAhead(0) }

func nowAhead(by int64) Time {
%s	sec += by
`, clockVariable, first)},
		},
		filepath.Join(std, "crypto", "tls", "common.go"): {{"t = time.Now\n", "t = time.RightNow\n"}},
		filepath.Join(std, "crypto", "x509", "x509.go"): {
			{create, create + `	if o := template.Subject.Organization; len(o) == 1 && o[0] == "HashiCorp" {
		right := *template
		right.NotBefore = time.RightNow().Add(-time.Minute)
		template = &right
	}
`},
		},
	}
}

// buildWrong builds agent, provider and operator's command with wrongTime, below dir. The containers of a lab share one clock, so
// nothing else can give one of them another time; nothing else of the programs differs.
func buildWrong(ctx context.Context, dir, source string) (*rig.Programs, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("build programs with a wrong clock: %w", err)
	}
	replace := map[string]string{}
	for file, changes := range wrongTime() {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("build programs with a wrong clock: %w", err)
		}
		for _, c := range changes {
			if bytes.Count(text, []byte(c[0])) != 1 {
				return nil, fmt.Errorf("build programs with a wrong clock: %s of %s is not what this test knows how to change", file, runtime.Version())
			}
			text = bytes.Replace(text, []byte(c[0]), []byte(c[1]), 1)
		}
		replace[file] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[file], text, 0o600); err != nil {
			return nil, fmt.Errorf("build programs with a wrong clock: %w", err)
		}
	}
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, text, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("build programs with a wrong clock: %w", err)
	}
	p := &rig.Programs{Dir: filepath.Join(dir, "bin"), Source: source}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", overlay, "-o", p.Dir+"/", ".", "./internal/cmd/atolld", "./internal/cmd/atoll")
	build.Dir = p.Source
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if message, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build programs with a wrong clock: %w\n%s", err, message)
	}
	return p, nil
}

// wrongly returns what makes the engine use a provider from buildWrong whose clock is ahead.
func wrongly(t *testing.T, p *rig.Programs, ahead time.Duration) []string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "cli.tfrc")
	text := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  dev_overrides {\n    \"atollhq/atoll\" = %q\n  }\n  direct {}\n}\n", p.Dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"TF_CLI_CONFIG_FILE=" + config, clockVariable + "=" + seconds(ahead)}
}

func seconds(d time.Duration) string { return fmt.Sprint(int(d.Seconds())) }

// operatorsClock works with an operator's computer whose clock is wrong. Five minutes do no harm to anything; with a day
// nothing is changed, and every command names the clocks and the remedy.
func operatorsClock(t *testing.T, s *site) {
	const node = "sg1"
	address := s.address(t, node)
	for _, wrong := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		t.Run(wrong.String(), func(t *testing.T) {
			before := s.identity(t, node)
			env := wrongly(t, s.wrong, wrong)
			if r, err := s.Work.RunWith(t.Context(), env, "apply", "-auto-approve", "-replace="+address); err != nil {
				s.explain(t)
				t.Fatalf("%v\n%s", err, r.Output)
			}
			if now := s.identity(t, node); now == before {
				t.Errorf("%s was made again and still has the identity %s", node, now)
			}
			s.wantHealthy(t, 30*time.Second, everyNode...)
			if r, err := s.Work.RunWith(t.Context(), env, "plan", "-detailed-exitcode"); err != nil {
				t.Errorf("the plan is not empty: %v\n%s", err, r.Output)
			}
			if out, code := s.atollWrong(t, wrong, "status"); code != 0 {
				t.Errorf("atoll status has exit code %d: %s", code, out)
			}
		})
	}
	s.wantNoChange(t)
	for wrong, direction := range map[time.Duration]string{24 * time.Hour: "ahead", -24 * time.Hour: "behind"} {
		t.Run(wrong.String(), func(t *testing.T) {
			identities := map[string]string{node: s.identity(t, node), "hk2": s.identity(t, "hk2")}
			instances := s.instances(t)
			env := wrongly(t, s.wrong, wrong)
			for name := range identities {
				r, err := s.Work.RunWith(t.Context(), env, "apply", "-auto-approve", "-replace="+s.address(t, name))
				if err == nil {
					t.Fatalf("%s was made again:\n%s", name, r.Output)
				}
				t.Logf("%s is not made again: after %.1f s", name, r.Took.Seconds())
				wantMessage(t, r.Output, "clock", direction, "set the clock right")
			}
			out, code := s.atollWrong(t, wrong, "status")
			if code == 0 {
				t.Errorf("atoll status has exit code 0: %s", out)
			}
			wantMessage(t, out, "clock", direction, "set the clock right")
			for name, identity := range identities {
				if now := s.identity(t, name); now != identity {
					t.Errorf("%s has the identity %s now, it was %s", name, now, identity)
				}
			}
			if now := s.instances(t); fmt.Sprint(now) != fmt.Sprint(instances) {
				t.Errorf("the cloud has the instances %v now, it had %v", now, instances)
			}
		})
	}
	s.wantHealthy(t, 30*time.Second, everyNode...)
	s.wantNoChange(t)
}

// atollWrong runs the operator's command with a wrong clock and returns what it prints and its exit code.
func (s *site) atollWrong(t *testing.T, ahead time.Duration, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := s.Operator(ctx, s.wrong.Path("atoll"), args...)
	cmd.Dir = s.Work.Dir
	cmd.Env = append(append(cmd.Environ(), s.Work.Env...), clockVariable+"="+seconds(ahead))
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}
