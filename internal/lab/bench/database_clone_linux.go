package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/atollhq/terraform-provider-atoll/internal/lab/await"
)

// fillRow is a row of 1 MiB that does not compress to nothing.
const fillRow = `INSERT INTO app.fill (data) SELECT REPEAT(SHA2(RAND(), 256), 16384)`

// measureClone fills the database, has a secondary lose its data, and measures until it is whole again.
func (o databaseOptions) measureClone(ctx context.Context, w databaseWay, g databaseGroup) (string, error) {
	primary, err := g.primary(ctx)
	if err != nil {
		return "", err
	}
	err = g.root(primary).In("app").Do(ctx, func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS app.fill (id BIGINT AUTO_INCREMENT PRIMARY KEY, data LONGBLOB)`); err != nil {
			return err
		}
		for range o.clone {
			if _, err := conn.ExecContext(ctx, fillRow); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("fill the database: %w", err)
	}
	if _, err := await.Attempt(ctx, databaseReady, g.ready); err != nil {
		return "", err
	}
	var victim string
	for _, n := range g.nodes() {
		if n != primary {
			victim = n
		}
	}
	from := time.Now()
	if err := g.wipe(ctx, victim); err != nil {
		return "", err
	}
	if _, err := await.Attempt(ctx, 2*databaseReady, g.ready); err != nil {
		return "", fmt.Errorf("%s does not come back: %w", victim, err)
	}
	return fmt.Sprintf("%s: a member without data has a copy of %d MiB and is online after %s.", w.name, o.clone, seconds(time.Since(from))), nil
}
