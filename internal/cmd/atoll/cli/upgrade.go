package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// Stopped is the exit code of `atoll upgrade` when a change is neither made nor taken back: the cluster is in maintenance, and it was said how to go on.
const Stopped = 3

// errStopped ends an upgrade that somebody has to go on with.
var errStopped = errors.New("the upgrade has stopped")

// What is done when a change fails.
const (
	onFailureKeep    = "keep"
	onFailureRestore = "restore"
)

// upgradeOptions are the flags of atoll upgrade start, resume and abort.
type upgradeOptions struct {
	nodes     nodeFlags
	on        string
	pairs     []string
	hotOnly   bool
	backup    string
	verify    string
	undo      string
	onFailure string
	// noVerify and noUndo do without what the upgrade was begun with.
	noVerify, noUndo bool
	// changed tells that the change was made, again that it is to be made once more.
	changed, again bool
	timeout        time.Duration
	json           bool
}

func upgradeCommand(env Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Change once what all nodes share, and take it back when it does not work",
		Long: `Changes something that all nodes share, such as an application in replicated trees, once and for all of them: takes all nodes out of
service, waits until their trees are equal, takes snapshots of these on the node where the change is made, makes the change, waits until it is on
every node, verifies it, and puts the nodes back into service. When the change fails, the snapshots are put back.

How far it is stands on the nodes, in the signed order that keeps them in maintenance. When this program is interrupted at any moment, or its machine
dies, the nodes stay in maintenance, and

  atoll upgrade resume    goes on
  atoll upgrade abort     takes everything back

from any machine with the signing key.

The change, and what makes backups and verifies, are commands that run here, on the operator's machine, such as ssh: Atoll runs nobody's commands on
nodes. They see ATOLL_UPGRADE (the upgrade's ID) and ATOLL_UPGRADE_NODE, and never the signing key.`,
	}
	cmd.AddCommand(upgradeStartCommand(env), upgradeResumeCommand(env), upgradeAbortCommand(env), upgradeListCommand(env), upgradeForgetCommand(env))
	return cmd
}

func upgradeStartCommand(env Environment) *cobra.Command {
	var o upgradeOptions
	cmd := &cobra.Command{
		Use:   "start [--on NODE] -- COMMAND [ARGUMENT…]",
		Short: "Change something once, with a way back",
		Long: `Makes a change, in these steps:

  1. looks whether there is room for the snapshots and whether all nodes of the pairs answer; nothing has changed when not
  2. takes every node of the cluster out of service (atoll maintenance), and waits until their trees are equal by digest
  3. runs --backup, and takes a snapshot of each tree on the node of the change; its digest has to be that of both nodes
  4. runs COMMAND, once
  5. waits until all trees are equal again on all nodes, runs --verify, and puts the nodes back into service

Snapshots are of the trees of the pairs on that node, without what these exclude. Old directories in cold roots are not in them, and neither are
databases: let --backup make a copy of a database that the change changes, and --undo put that back.

When something fails in steps 1 to 3, the nodes are put back into service, since nothing has changed. When it fails later, --on-failure decides: "keep"
stops, so that you can look and then resume or abort, and "restore" takes everything back at once: runs --undo, puts the trees back, waits until they
are equal on all nodes, and puts the nodes into service. What is replaced thereby is kept on the node, so that nothing that users wrote is lost.

The exit code is 0 when the change is made, 1 when it has failed and everything is as it was before, 2 when nothing was changed, and 3 when it has
stopped in between: all nodes are in maintenance then.`,
		Example: `  atoll upgrade start --on hk1 --verify 'curl -fsS https://hk1.example.com/status.php' -- ssh hk1 sudo -u www-data php /srv/app/occ upgrade
  atoll upgrade start --on hk1 --on-failure restore \
    --backup 'ssh hk1 "umask 077; mysqldump --single-transaction app >/root/app-$ATOLL_UPGRADE.sql"' \
    --undo   'ssh hk1 "mysql app </root/app-$ATOLL_UPGRADE.sql"' \
    -- ssh hk1 /srv/app/upgrade.sh`,
		Args: func(cmd *cobra.Command, args []string) error { return o.wantsChange(cmd, args, true) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.with(cmd.Context(), env, func(ctx context.Context, u *upgrade) error { return u.start(ctx, args) })
		},
	}
	o.add(cmd)
	o.addSteps(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.on, "on", "", "the `node` where the change is made, by default the one that leads all the pairs")
	flags.StringArrayVar(&o.pairs, "pair", nil, "the `name` of a pair, instead of all; may be repeated")
	flags.StringVar(&o.backup, "backup", "", "a shell `command` that makes a backup of what is not in the pairs, before the change")
	return cmd
}

func upgradeResumeCommand(env Environment) *cobra.Command {
	var o upgradeOptions
	cmd := &cobra.Command{
		Use:   "resume [--changed | --again] [-- COMMAND [ARGUMENT…]]",
		Short: "Go on with an upgrade that was interrupted",
		Long: `Goes on with an upgrade where it was interrupted.

Before the change COMMAND has to be given again. An upgrade that was interrupted during the change may have been made, in part: look, and then say
--changed when it was made, --again -- COMMAND to make it once more, or abort. Once it is made, what is left is to wait, to verify and to leave the
maintenance. Commands are not kept anywhere: give --verify and --undo again.

Exit codes are those of start.`,
		Args: func(cmd *cobra.Command, args []string) error { return o.wantsChange(cmd, args, false) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.with(cmd.Context(), env, func(ctx context.Context, u *upgrade) error { return u.resume(ctx, args) })
		},
	}
	o.add(cmd)
	o.addSteps(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.backup, "backup", "", "the `command` that makes a backup, when that was not made yet")
	flags.BoolVar(&o.changed, "changed", false, "the change was made although it was interrupted")
	flags.BoolVar(&o.again, "again", false, "make the change once more although it was interrupted")
	flags.BoolVar(&o.noVerify, "no-verify", false, "do without the --verify that it was begun with")
	cmd.MarkFlagsMutuallyExclusive("changed", "again")
	cmd.MarkFlagsMutuallyExclusive("verify", "no-verify")
	return cmd
}

func upgradeAbortCommand(env Environment) *cobra.Command {
	var o upgradeOptions
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Take an upgrade back",
		Long: `Takes back an upgrade that has stopped or was interrupted: runs --undo, puts the trees back to their snapshots on the node of the change, waits until
the other nodes have followed, and puts all nodes back into service. Before the change it only does the last.

A snapshot is read first, and one that is damaged or not whole is not used. Only what differs is put back, path by path, like any other change of the
tree. What was in its place is kept on the node, in .atoll/replaced of the tree. An abort that is interrupted can be repeated.

The exit code is 0 when everything is as it was, and 3 when it is not yet: all nodes are in maintenance then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd.Context(), env, func(ctx context.Context, u *upgrade) error { return u.abort(ctx) })
		},
	}
	o.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.undo, "undo", "", "a shell `command` that puts back what --backup has saved")
	flags.BoolVar(&o.noUndo, "no-undo", false, "leave alone what --backup has saved")
	cmd.MarkFlagsMutuallyExclusive("undo", "no-undo")
	return cmd
}

func (o *upgradeOptions) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.nodes.add(flags)
	flags.BoolVar(&o.hotOnly, "hot-only", false, "do not compare the cold roots of pairs that move old directories")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait each time until trees are equal; 0 is for ever")
	flags.BoolVar(&o.json, "json", false, "print JSON at the end, and what commands print to the standard error")
}

func (o *upgradeOptions) addSteps(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.verify, "verify", "", "a shell `command` that fails unless all is well after the change")
	flags.StringVar(&o.undo, "undo", "", "a shell `command` that puts back what --backup has saved, when the change is taken back")
	flags.StringVar(&o.onFailure, "on-failure", onFailureKeep, "what to do when the change fails: `keep` or restore")
}

// wantsChange wants a command after "--", and nothing before.
func (o *upgradeOptions) wantsChange(cmd *cobra.Command, args []string, always bool) error {
	if o.onFailure != onFailureKeep && o.onFailure != onFailureRestore {
		return fmt.Errorf("--on-failure %q is neither %q nor %q", o.onFailure, onFailureKeep, onFailureRestore)
	}
	if dash := cmd.ArgsLenAtDash(); dash > 0 || dash < 0 && len(args) > 0 {
		return fmt.Errorf("the command that makes the change has to follow after --: %q", args)
	}
	if always && len(args) == 0 {
		return errors.New("say which command makes the change, after --")
	}
	if o.again && len(args) == 0 {
		return errors.New("--again needs the command that makes the change, after --")
	}
	return nil
}
