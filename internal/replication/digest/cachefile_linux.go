package digest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/renameio/v2"
)

// cacheMagic begins a cache file; its number changes with the format. Behind it stands a byte of flags (what attributes
// are remembered), the number of records, the records, and SHA-256 over all of this.
const cacheMagic = "atoll digest cache 1\n"

// record is a file in a cache file: little-endian numbers of fixed size.
type record struct {
	Dev, Ino           uint64
	Size, Mtime, Ctime int64
	Content            Sum
	Attributes         Sum
}

// CacheError is a cache file that cannot be used. The digest is right without it, only slower.
type CacheError struct {
	File string
	// Reason says what is wrong with it.
	Reason string
}

// Error names the file and the reason.
func (e *CacheError) Error() string {
	return fmt.Sprintf("digest cache %s is not used: %s", e.File, e.Reason)
}

func (t *Tree) cacheFlags() byte {
	var flags byte
	if t.options.Xattrs {
		flags |= 1
	}
	if t.options.ACLs {
		flags |= 2
	}
	return flags
}

// SaveCache writes what is known of files' contents, so that the next process need not read them again. The file is
// replaced at once or not at all, and only its owner may read it. Whoever can write to it can make unequal trees look
// equal: it belongs into a directory of root's.
func (t *Tree) SaveCache(file string) error {
	f, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("save digest cache: %w", err)
	}
	defer f.Cleanup() //nolint:errcheck // nothing is left to clean up after CloseAtomicallyReplace
	sum := sha256.New()
	buffered := bufio.NewWriterSize(f, 1<<18)
	w := io.MultiWriter(buffered, sum)
	records := t.cache.records()
	head := append([]byte(cacheMagic), t.cacheFlags())
	if _, err := w.Write(binary.LittleEndian.AppendUint64(head, uint64(len(records)))); err != nil {
		return fmt.Errorf("save digest cache: %w", err)
	}
	var b []byte
	for i := range records {
		if b, err = binary.Append(b[:0], binary.LittleEndian, &records[i]); err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			return fmt.Errorf("save digest cache: %w", err)
		}
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("save digest cache: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("save digest cache: %w", err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("save digest cache: %w", err)
	}
	return nil
}

func (c *cache) records() []record {
	var all []record
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		for id, k := range sh.files {
			all = append(all, record{id.dev, id.ino, k.stamp.size, k.stamp.mtime, k.stamp.ctime, k.content, sh.attributes[id]})
		}
		sh.mu.Unlock()
	}
	return all
}

// LoadCache reads what SaveCache wrote. A file that is not there is no error. One that is cut short, damaged, of another
// version or made with other attributes is a *CacheError, and nothing is taken from it.
func (t *Tree) LoadCache(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load digest cache: %w", err)
	}
	fail := func(reason string) error { return &CacheError{File: file, Reason: reason} }
	rest, ours := bytes.CutPrefix(text, []byte(cacheMagic))
	size := binary.Size(record{})
	switch {
	case !ours:
		return fail("it is none, or of another version")
	case len(rest) < 1+8+sha256.Size:
		return fail("it is cut short")
	}
	body := text[:len(text)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], text[len(body):]) {
		return fail("it is damaged")
	}
	if rest[0] != t.cacheFlags() {
		return fail("it was made with other extended attributes")
	}
	records := body[len(cacheMagic)+1+8:]
	if n := binary.LittleEndian.Uint64(rest[1:9]); n != uint64(len(records)/size) || len(records)%size != 0 {
		return fail("it has not as many records as it says")
	}
	var r record
	for ; len(records) > 0; records = records[size:] {
		if _, err := binary.Decode(records, binary.LittleEndian, &r); err != nil {
			return fail(err.Error())
		}
		t.cache.put(inode{r.Dev, r.Ino}, known{stamp: stamp{r.Size, r.Mtime, r.Ctime}, content: r.Content}, r.Attributes)
	}
	return nil
}
