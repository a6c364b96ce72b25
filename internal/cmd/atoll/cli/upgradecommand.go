package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/trust"
)

// endWithin is how long a command may take to end by itself when this program is interrupted.
const endWithin = 10 * time.Second

// shell runs a command of a flag.
func (u *upgrade) shell(ctx context.Context, flag, command string) error {
	return u.command(ctx, flag, []string{"sh", "-c", command})
}

// command runs a command on this machine.
func (u *upgrade) command(ctx context.Context, what string, args []string) error {
	u.out.say("upgrade %s: running %s", u.state.ID, what)
	began := time.Now()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	// An interrupted command ends as it does when it is run alone.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = endWithin
	cmd.Stdout, cmd.Stderr = u.env.Stdout, u.env.Stderr
	if u.json {
		cmd.Stdout = u.env.Stderr
	}
	if in, ok := u.env.Stdin.(*os.File); ok {
		cmd.Stdin = in // for passwords and questions
	}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); name != trust.EnvSigningKey && name != trust.EnvSigningKeyFile {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "ATOLL_UPGRADE="+u.state.ID, "ATOLL_UPGRADE_NODE="+u.state.Node)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s has failed: %w", what, err)
	}
	u.out.say("upgrade %s: %s is done (%s)", u.state.ID, what, time.Since(began).Round(time.Second))
	return nil
}
