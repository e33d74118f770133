package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/wasakari/wasakari/internal/regular"
	"github.com/wasakari/wasakari/recovery"
)

// Cache keeps what was pulled by digest in a folder, so that a node starts
// without its registry. What lies there counts only while it fits its digest. It
// is safe for concurrent use, by several processes too.
type Cache struct {
	client *Client
	dir    string
}

// NewCache makes a cache in dir, which is made when something is kept; with "" for
// dir nothing is.
func NewCache(client *Client, dir string) *Cache { return &Cache{client: client, dir: dir} }

// The files of an artifact, in a folder named by its digest.
const (
	manifestFile = "manifest.json"
	moduleFile   = "module.wasm"
)

// Pull gives the module of a reference with a digest, from the folder or from
// its registry. kept tells why the folder does not have it now; that costs the
// next start the registry, and no more.
func (c *Cache) Pull(ctx context.Context, r Reference) (wasm []byte, kept, err error) {
	if r.Digest() == "" {
		return nil, nil, fmt.Errorf("%s: %w: a reference without a digest: its module could change", r, recovery.ErrInvalid)
	}
	if wasm, ok := c.read(r); ok {
		return wasm, nil, nil
	}
	a, err := c.client.Pull(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	return a.Wasm, c.keep(a), nil
}

func (c *Cache) folder(r Reference) string {
	return filepath.Join(c.dir, strings.ReplaceAll(r.Digest(), ":", "-"))
}

// read gives what the folder has.
func (c *Cache) read(r Reference) (wasm []byte, ok bool) {
	if c.dir == "" {
		return nil, false
	}
	text, err := regular.Read(filepath.Join(c.folder(r), manifestFile), maxManifest)
	if err != nil || digest.FromBytes(text).String() != r.Digest() {
		return nil, false
	}
	layer, err := c.client.layer(text)
	if err != nil {
		return nil, false
	}
	wasm, err = regular.Read(filepath.Join(c.folder(r), moduleFile), layer.Size)
	return wasm, err == nil && digest.FromBytes(wasm) == layer.Digest
}

// keep writes an artifact: the manifest, which makes it count, last.
func (c *Cache) keep(a Artifact) error {
	if c.dir == "" {
		return nil
	}
	dir := c.folder(a.Reference)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{moduleFile, a.Wasm}, {manifestFile, a.manifest}} {
		if err := write(dir, f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

func write(dir, name string, data []byte) error {
	tmp, err := os.CreateTemp(dir, name+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// Prune removes what is none of those that are named.
func (c *Cache) Prune(keep []Reference) error {
	if c.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		wanted := slices.ContainsFunc(keep, func(r Reference) bool { return filepath.Base(c.folder(r)) == e.Name() })
		if strings.HasPrefix(e.Name(), "sha256-") && !wanted {
			errs = append(errs, os.RemoveAll(filepath.Join(c.dir, e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}
