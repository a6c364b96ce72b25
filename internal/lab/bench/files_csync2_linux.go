package main

import (
	"context"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/bare"
	"github.com/atollhq/terraform-provider-atoll/internal/lab/rig"
)

const (
	// csync2Config is the one of csync2's manual, for two machines. TLS is left out: with GnuTLS 3.6.13 and later, connections fail with
	// GNUTLS_E_CERTIFICATE_REQUIRED (https://github.com/LINBIT/csync2/issues/38).
	csync2Config = `nossl * *;
group uploads {
	host one other;
	key /etc/csync2.key;
	include ` + rig.PairPath + `;
	auto younger;
}
`
	// csync2Timer runs csync2 as often as cron could: nothing else does.
	csync2Timer = `[Unit]
Description=csync2, as cron would run it

[Timer]
OnCalendar=minutely
AccuracySec=1s
`
	csync2Run = `[Service]
Type=oneshot
ExecStart=/usr/sbin/csync2 -x
`
	csync2Begin = `mkdir -p /var/lib/csync2 ` + rig.PairPath + `
chown www-data:www-data ` + rig.PairPath + `
systemctl daemon-reload
systemctl start csync2.socket`
	csync2End = `systemctl stop csync2-cron.timer csync2-cron.service csync2.socket; rm -f /var/lib/csync2/*`
)

// csync2 is run once, and then every minute on both machines.
func (s *stockFiles) csync2(ctx context.Context) (*filesWay, func(context.Context) error, error) {
	one := s.machines[0]
	key, err := one.Run(ctx, "sh", "-euc", "rm -f /etc/csync2.key; csync2 -k /etc/csync2.key >&2; cat /etc/csync2.key")
	if err != nil {
		return nil, nil, err
	}
	if err := s.both(func(m *bare.Machine) error {
		for path, text := range map[string]string{
			"/etc/csync2.cfg": csync2Config, "/etc/csync2.key": key,
			"/etc/systemd/system/csync2-cron.timer": csync2Timer, "/etc/systemd/system/csync2-cron.service": csync2Run,
		} {
			if err := m.Write(path, []byte(text), 0o600); err != nil {
				return err
			}
		}
		return sh(ctx, m, csync2Begin)
	}); err != nil {
		return nil, nil, err
	}
	run := func(ctx context.Context) error { return service(ctx, one, "csync2", "-x") }
	end := func(ctx context.Context) error {
		return s.both(func(m *bare.Machine) error { return sh(ctx, m, csync2End) })
	}
	return &filesWay{
		live: true, begin: run, again: run,
		ready: func(ctx context.Context) error {
			return s.both(func(m *bare.Machine) error { return sh(ctx, m, "systemctl start csync2-cron.timer") })
		},
		note: "nothing runs csync2 by itself: it is run once at first, then csync2 -x every minute on both machines, the shortest that cron has; changes are made on one; without TLS, which does not work with today's GnuTLS",
	}, end, nil
}
