package cold

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/atollhq/terraform-provider-atoll/internal/replication/digest"
)

// copyTries is how often a directory is copied until nothing has changed meanwhile.
const copyTries = 2

// copy has a directory in the root or in staging, whole. Verified tells that the directory and its copy have to have the same digest; otherwise
// what differs is merged after the exchange.
func (m *Mover) copy(ctx context.Context, dir string, verified bool) (Copied, error) {
	delete(m.copied, dir)
	place := m.cfg.cold(dir)
	if exists(place) {
		return m.copyInto(ctx, dir, place)
	}
	name, err := id(0, dir)
	if err != nil {
		return Copied{}, err
	}
	staged := m.cfg.cold(filepath.Join(stagingDir, name))
	for range copyTries {
		if err := m.do("mirror", func() error { return m.mirror(ctx, m.cfg.hot(dir), staged) }); err != nil {
			return Copied{}, err
		}
		if !verified {
			m.copied[dir] = "adopted"
			return Copied{}, nil
		}
		there, theirs, err := m.sums(ctx, m.cfg.hot(dir), dir)
		if err != nil {
			return Copied{}, err
		}
		here, _, err := m.sums(ctx, staged, dir)
		if err != nil {
			return Copied{}, err
		}
		if there == here {
			m.copied[dir] = there
			return theirs, nil
		}
	}
	return Copied{}, busy(dir, "it and its copy are not the same after two tries")
}

// copyInto merges a directory of the tree into one that is in the root already.
func (m *Mover) copyInto(ctx context.Context, dir, place string) (Copied, error) {
	if info, err := os.Lstat(place); err != nil || !info.IsDir() {
		return Copied{}, Problem(fmt.Sprintf("directory %q is not moved: in its place in the cold root is something else: move away %s", dir, place))
	}
	before, theirs, err := m.sums(ctx, m.cfg.hot(dir), dir)
	if err != nil {
		return Copied{}, err
	}
	here, _, err := m.sums(ctx, place, dir)
	if err != nil {
		return Copied{}, err
	}
	if before != here {
		if err := m.merge(ctx, m.cfg.hot(dir), dir); err != nil {
			return Copied{}, err
		}
	}
	missing, err := m.uncovered(ctx, m.cfg.hot(dir), dir)
	if err != nil {
		return Copied{}, err
	}
	if missing != "" {
		return Copied{}, busy(dir, "%q is not in the cold root after it was brought there", missing)
	}
	m.copied[dir] = before
	return theirs, nil
}

// sums returns the digest of everything in a directory, and of what both nodes have of it when the hot part is equal: its names, contents and
// permissions without what is excluded there. Dir is the directory's path in the tree.
func (m *Mover) sums(ctx context.Context, root, dir string) (whole string, shared Copied, err error) {
	tree := digest.New(root, digest.Options{Permissions: 0o7777, Xattrs: true, ACLs: true, ModTimes: true})
	s, err := tree.Digest(ctx, nil)
	if err != nil {
		return "", shared, err
	}
	if s.ProblemCount > 0 {
		p := s.Problems[0]
		return "", shared, Problem(fmt.Sprintf("directory %q is not moved: %s %s: %s", dir, p.Kind, filepath.Join(root, string(p.Path)), p.Message))
	}
	plain := digest.New(root, digest.Options{Permissions: 0o7777})
	if _, err := plain.Digest(ctx, nil); err != nil {
		return "", shared, err
	}
	sum, err := m.shared(ctx, plain, dir, "", &shared)
	if err != nil {
		return "", shared, err
	}
	shared.Sum = base64.RawStdEncoding.EncodeToString(sum)
	return s.Sum.String(), shared, nil
}

// shared digests a directory below the root of a digested tree without what is excluded.
func (m *Mover) shared(ctx context.Context, tree digest.Lister, dir, at string, total *Copied) ([]byte, error) {
	listed, err := tree.Directory(ctx, at)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, e := range listed.Entries {
		path := filepath.Join(at, string(e.Name))
		if m.exclude.Match(filepath.Join(dir, path)) {
			continue
		}
		content := e.Content[:]
		if e.Kind == digest.Folder {
			if content, err = m.shared(ctx, tree, dir, path, total); err != nil {
				return nil, err
			}
		} else {
			total.Files++
			total.Bytes += e.Totals.Bytes
		}
		for _, part := range [][]byte{e.Name, []byte(e.Kind), content, e.Meta[:]} {
			_ = binary.Write(sum, binary.BigEndian, uint32(len(part))) // a hash takes everything
			sum.Write(part)
		}
	}
	return sum.Sum(nil), nil
}
