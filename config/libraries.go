package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// Registration is one line of section [libraries]: a library that the operator
// knows, and what its modules are told by.
type Registration struct {
	// Name is that of the line: LIBRARY, or LIBRARY@TENANT.
	Name string
	Pos  recovery.Position
	// Digests are sha256 of modules, in lower-case hex.
	Digests []string
	// Keys are public keys of those who sign modules.
	Keys []ed25519.PublicKey
}

// Pinned reports whether only certain modules are of the library.
func (r Registration) Pinned() bool { return len(r.Digests)+len(r.Keys) > 0 }

// Takes reports whether a module with this digest, signed with this key (nil:
// not signed), is of the library.
func (r Registration) Takes(digest string, key ed25519.PublicKey) bool {
	return !r.Pinned() || r.HasDigest(digest) ||
		slices.ContainsFunc(r.Keys, func(k ed25519.PublicKey) bool { return k.Equal(key) })
}

// HasDigest reports whether the digest is among those that are pinned.
func (r Registration) HasDigest(digest string) bool { return slices.Contains(r.Digests, digest) }

// Registers reports whether section [libraries] has a line: then modules of
// libraries without one are refused.
func (c *Config) Registers() bool { return len(c.libraries) > 0 }

// LibraryLine is the name of a library's line in sections such as [libraries].
func LibraryLine(library, tenant string) string { return lineName(library, "", tenant) }

// Registration gives the line of a library; a tenant's library has one of its
// own.
func (c *Config) Registration(library, tenant string) (Registration, bool) {
	r, ok := c.libraries[LibraryLine(library, tenant)]
	return r, ok
}

const (
	digestWord = "sha256:"
	keyWord    = "ed25519:"
	wantPin    = "a pin: sha256: and 64 hex digits, or ed25519: and a public key in base64"
)

// PublicKey writes a key as it stands in section [libraries].
func PublicKey(key ed25519.PublicKey) string { return keyWord + base64.StdEncoding.EncodeToString(key) }

func (c *Config) readLibraries() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.libraries = map[string]Registration{}
	for _, a := range c.lines(librariesGroup) {
		r := Registration{Name: a.name, Pos: a.namePos}
		taskKey, hint := grantName(a.name)
		if hint == "" && taskKey != "" {
			hint = "a library is registered as a whole: leave /" + taskKey + " out"
		}
		if hint != "" {
			errs = append(errs, misnamed(a, "a library", hint))
			continue
		}
		o := recovery.OptionSpec{Group: librariesGroup, Name: a.name, Type: recovery.ListOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for off, pin := range listItems(t.s) {
			if !r.pin(pin) {
				e := wrong(o, text{s: pin, file: t.file, segs: []seg{seg1(t, off)}, secret: t.secret}, wantPin)
				if len(pin) > len(keyWord) && strings.HasPrefix(pin, keyWord) {
					e.Hint = "wasakari task sign prints the key's line"
				}
				errs = append(errs, e)
			}
		}
		c.libraries[a.name] = r
	}
	return errs
}

// pin takes one item of a line.
func (r *Registration) pin(item string) bool {
	if d, ok := strings.CutPrefix(item, digestWord); ok {
		if b, err := hex.DecodeString(d); err != nil || len(b) != 32 {
			return false
		}
		r.Digests = append(r.Digests, strings.ToLower(d))
		return true
	}
	k, ok := strings.CutPrefix(item, keyWord)
	b, err := base64.StdEncoding.Strict().DecodeString(k)
	if !ok || err != nil || len(b) != ed25519.PublicKeySize {
		return false
	}
	r.Keys = append(r.Keys, b)
	return true
}

// String writes the line.
func (r Registration) String() string {
	var pins []string
	for _, d := range r.Digests {
		pins = append(pins, digestWord+d)
	}
	for _, k := range r.Keys {
		pins = append(pins, PublicKey(k))
	}
	return strings.TrimRight(fmt.Sprintf("%s = %s", r.Name, strings.Join(pins, ", ")), " ")
}
