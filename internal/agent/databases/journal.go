package databases

import (
	"fmt"

	"github.com/atollhq/terraform-provider-atoll/internal/recovery"
	"github.com/atollhq/terraform-provider-atoll/internal/spec"
)

// journalPrefix begins the names of members' journals; the database's name follows.
const journalPrefix = "database-"

// record is a member's journal on the disk.
type record struct {
	Engine spec.DatabaseEngine `json:"engine"`
	recovery.Journal
}

// load reads the journal; a member that has none begins one.
func (p *part) load() error {
	var r record
	found, err := p.m.cfg.State.Read(journalPrefix+p.name, &r)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if found {
		p.journal, p.journaled = r.Journal, true
	}
	return nil
}

// save writes the journal if it says something new. What is about to be done or said waits for it.
func (p *part) save(j recovery.Journal) error {
	if p.journaled && p.journal.Equal(j) {
		return nil
	}
	if err := p.m.cfg.State.Write(journalPrefix+p.name, record{Engine: p.engine, Journal: j}); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	p.journal, p.journaled = j, true
	return nil
}
