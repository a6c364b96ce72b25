package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// healthSlow is how long a node may take until it says what it should before the diary shows what it has said meanwhile.
const healthSlow = 8 * time.Second

// diary is what happened to the node in one run: how long each step took and why. It tells a node that has waited for something
// from one whose router was started again.
type diary struct {
	b *labBench
	// name tells the run from others; database whether the node has one.
	name     string
	database bool
	began    time.Time
	primary  string
	// router names the process of the router when the run began.
	router string
	// said is what the endpoint has said, each with how long after the beginning.
	said []string
	last string
	// out and in are what the run has measured, or how long it has waited.
	out, in time.Duration
}

// newDiary begins the diary of a run.
func (b *labBench) newDiary(ctx context.Context, r *healthRow, run int) (*diary, error) {
	d := &diary{b: b, name: fmt.Sprintf("%s, minimum_nodes %d, run %d", r.cause.name, r.floor, run), database: r.cause.database, began: time.Now()}
	if !d.database {
		return d, nil
	}
	var err error
	if d.primary, err = b.Database(labNodes...).Primary(ctx); err != nil {
		return nil, err
	}
	d.router, err = d.starts(ctx)
	return d, err
}

// starts returns when the router was started last, and how often its service did that by itself.
func (d *diary) starts(ctx context.Context) (string, error) {
	out, err := d.b.Exec(ctx, healthNode, "systemctl", "show", "--property=MainPID,ExecMainStartTimestamp,NRestarts", d.b.Database(labNodes...).RouterUnit())
	return strings.Join(strings.Fields(string(out)), " "), err
}

// hear takes in what the endpoint says.
func (d *diary) hear(got standing, parts map[string]string) {
	says := string(got)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if parts[name] != "ok" {
			says += "; " + name + ": " + parts[name]
		}
	}
	if says != d.last {
		d.said, d.last = append(d.said, fmt.Sprintf("%.2f s: %s", time.Since(d.began).Seconds(), says)), says
	}
}

// end writes the diary: a line when all went as it should, and the whole of it otherwise. In the folder for journals, if there is one, it
// leaves what the node's programs have said in the run.
func (d *diary) end(ctx context.Context, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	text, errs := fmt.Sprintf("%s: %s, %s", d.name, seconds(d.out), seconds(d.in)), []error{}
	if d.database {
		router, err := d.starts(ctx)
		errs = append(errs, err)
		text += ", the primary was " + d.primary
		if router != d.router {
			text += ", the router was started again: " + router
		}
	}
	if d.b.journals != "" {
		journal, err := d.b.Exec(ctx, healthNode, "journalctl", "--no-pager", "--output=short-precise", fmt.Sprintf("--since=@%d", d.began.Unix()),
			"--unit=atolld.service", "--unit="+d.b.Database(labNodes...).RouterUnit(), "--unit=atoll-mysql.service")
		errs = append(errs, err)
		name := strings.NewReplacer(" ", "-", ",", "").Replace(d.name) + ".log"
		errs = append(errs, os.WriteFile(filepath.Join(d.b.journals, name), []byte(strings.Join(d.said, "\n")+"\n\n"+string(journal)), 0o600))
	}
	if failed != nil || max(d.out, d.in) > healthSlow {
		text += "; it said\n  " + strings.Join(d.said, "\n  ")
	}
	fmt.Fprintln(d.b.out, text)
	return errors.Join(errs...)
}
