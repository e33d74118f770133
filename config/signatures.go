package config

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// SignaturePolicy is which modules of a project, or of the operator, are taken.
type SignaturePolicy struct {
	// Pos is where it stands; zero: nowhere.
	Pos recovery.Position
	// Signed says that a module needs a signature that counts.
	Signed bool
	// Keys are those whose signatures count, beside the keys in the line of the
	// module's library in [libraries]. Only says that those do not.
	Keys []ed25519.PublicKey
	Only bool

	text string // as it was written
}

// Takes reports whether a module is taken that is signed with this key (nil: not
// signed) and is of a library that is registered so.
func (p SignaturePolicy) Takes(digest string, key ed25519.PublicKey, reg Registration) bool {
	if !p.Signed || reg.HasDigest(digest) { // whoever pins the bytes needs no signature
		return true
	}
	has := func(keys []ed25519.PublicKey) bool {
		return slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(key) })
	}
	return has(p.Keys) || !p.Only && has(reg.Keys)
}

// String says what is wanted.
func (p SignaturePolicy) String() string {
	switch {
	case !p.Signed:
		return "unsigned modules are taken"
	case p.Only:
		return "modules signed with " + p.text + " are taken"
	}
	return "modules signed with a trusted key are taken"
}

// The lines of section [signatures] that are not a project's.
const (
	trustedLine  = "trusted"  // keys
	operatorLine = "operator" // the operator's modules
	tenantsLine  = "tenants"  // those of projects without a line

	unsignedWord = "unsigned"
	signedWord   = "signed"

	wantSignature = unsignedWord + ", " + signedWord + ", or public keys, each ed25519: and a key in base64"
)

// Signatures gives the policy for the modules of a project; empty: the
// operator's.
func (c *Config) Signatures(tenant string) SignaturePolicy {
	if tenant == "" {
		return c.signatures[operatorLine]
	}
	if p, ok := c.signatures["@"+tenant]; ok {
		return p
	}
	return c.signatures[tenantsLine]
}

func (c *Config) readSignatures() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.signatures = map[string]SignaturePolicy{}
	var trusted []ed25519.PublicKey
	for _, a := range c.lines(signaturesGroup) {
		tenant, ofTenant := strings.CutPrefix(a.name, "@")
		hint := ""
		switch {
		case ofTenant && !tenantForm.MatchString(tenant):
			hint = wantTenant
		case !ofTenant && !slices.Contains([]string{trustedLine, operatorLine, tenantsLine}, a.name):
			hint = "the lines are " + trustedLine + ", " + operatorLine + ", " + tenantsLine + " and @PROJECT"
		}
		if hint != "" {
			errs = append(errs, misnamed(a, "a line", hint))
			continue
		}
		o := recovery.OptionSpec{Group: signaturesGroup, Name: a.name, Type: recovery.ListOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p := SignaturePolicy{Pos: a.namePos, Signed: true, Only: true}
		var items []string
		var offs []int
		for off, item := range listItems(t.s) {
			items, offs = append(items, item), append(offs, off)
		}
		p.text = strings.Join(items, ", ")
		if word := p.text; a.name != trustedLine && (word == unsignedWord || word == signedWord) {
			p.Signed, p.Only, items = word == signedWord, false, nil
		} else if len(items) == 0 && a.name != trustedLine {
			errs = append(errs, wrong(o, t, wantSignature))
		}
		for i, item := range items {
			var r Registration
			if !strings.HasPrefix(item, keyWord) || !r.pin(item) {
				want := wantSignature
				if a.name == trustedLine {
					want = "public keys, each ed25519: and a key in base64"
				}
				e := wrong(o, text{s: item, file: t.file, segs: []seg{seg1(t, offs[i])}, secret: t.secret}, want)
				e.Hint = "wasakari task sign prints the key's line"
				errs = append(errs, e)
				continue
			}
			p.Keys = append(p.Keys, r.Keys...)
		}
		if a.name == trustedLine {
			trusted = p.Keys
			continue
		}
		c.signatures[a.name] = p
	}
	for name, p := range c.signatures {
		if p.Signed && !p.Only {
			p.Keys = trusted
			c.signatures[name] = p
		}
	}
	return errs
}

// signatureItems lists what a line of section [signatures] says, as it was
// written.
func (c *Config) signatureItems(a assignment) []string {
	t, err := (&reader{c: c}).substitute(recovery.OptionSpec{Group: signaturesGroup, Name: a.name, Type: recovery.ListOption}, a.value)
	if err != nil {
		return nil
	}
	return splitList(t.s)
}

// Refusal says why a module is not taken.
func (p SignaturePolicy) Refusal(tenant string, key ed25519.PublicKey) string {
	by := "it is not signed"
	if key != nil {
		by = "it is signed with " + PublicKey(key)
	}
	of := "the operator's modules"
	if tenant != "" {
		of = "modules of tenant " + tenant
	}
	return fmt.Sprintf("%s, and of %s only those are taken that are signed with a key that is trusted (%s)", by, of, p.Pos)
}
