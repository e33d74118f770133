package config_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
)

// aKey is a public key; each n has another.
func aKey(n byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), n)).Public().(ed25519.PublicKey)
}

// TestSignatures: whose modules have to be signed with what.
func TestSignatures(t *testing.T) {
	one, two, three := aKey(1), aKey(2), aKey(3)
	digest := strings.Repeat("ab", 32)
	text := strings.NewReplacer("ONE", config.PublicKey(one), "TWO", config.PublicKey(two), "THREE", config.PublicKey(three), "SHA", "sha256:"+digest).Replace(`[signatures]
trusted = ONE
operator = unsigned
tenants = signed
@p1 = TWO,
  ONE
@p2 = unsigned
[libraries]
acme@p1 = THREE
acme@p3 = THREE
acme@p4 = SHA
open@p3 =
open@p4 =
`)
	c, msg := load(t, text)
	if msg != "" {
		t.Fatal(msg)
	}
	if got := warnings(c); len(got) > 0 {
		t.Errorf("warnings = %q", got)
	}
	for _, tt := range []struct {
		name, tenant, library string
		key                   ed25519.PublicKey
		digest                string
		want                  bool
	}{
		{"operator's, not signed", "", "acme", nil, "", true},
		{"tenant's with a line, not signed", "p1", "acme", nil, "", false},
		{"signed with one of his keys", "p1", "acme", two, "", true},
		{"and with the other", "p1", "acme", one, "", true},
		{"the key of the library is none of them", "p1", "acme", three, "", false},
		{"let off", "p2", "acme", nil, "", true},
		{"tenant's without a line, not signed", "p3", "open", nil, "", false},
		{"signed with a trusted key", "p3", "open", one, "", true},
		{"signed with another", "p3", "open", two, "", false},
		{"signed with the key of the library", "p3", "acme", three, "", true},
		{"signed with the key of another library", "p3", "open", three, "", false},
		{"pinned by its digest", "p4", "acme", nil, digest, true},
		{"pinned in another library", "p4", "open", nil, digest, false},
	} {
		reg, _ := c.Registration(tt.library, tt.tenant)
		if got := c.Signatures(tt.tenant).Takes(tt.digest, tt.key, reg); got != tt.want {
			t.Errorf("%s: taken: %t, want %t", tt.name, got, tt.want)
		}
	}
	if p := c.Signatures("p1"); !strings.HasSuffix(p.Pos.String(), "t.conf:5:1") {
		t.Errorf("@p1 stands at %s, want t.conf:5:1", p.Pos)
	}
	none, msg := load(t, "[libraries]\n")
	if p := none.Signatures("p1"); msg != "" || !p.Takes("", nil, config.Registration{}) {
		t.Errorf("without a section unsigned modules are refused: %s", msg)
	}
	want := "signed; " + config.PublicKey(two) + ", " + config.PublicKey(one)
	got := map[string]string{}
	settings, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if s.Group == "signatures" {
			got[s.Name] = strings.Join(s.Value.([]string), ", ")
		}
	}
	if got["tenants"]+"; "+got["@p1"] != want || len(got) != 5 {
		t.Errorf("effective = %v, want tenants and @p1 to be %s", got, want)
	}
}

func TestSignaturesRefused(t *testing.T) {
	const want = "want unsigned, signed, or public keys, each ed25519: and a key in base64"
	for _, tt := range []struct{ name, text, want string }{
		{"another line", "[signatures]\nacme = signed\n", "t.conf:2:1: option [signatures] 'acme': not the name of a line; the lines are trusted, operator, tenants and @PROJECT"},
		{"no project", "[signatures]\n@a b = signed\n", "t.conf:2:1: option [signatures] '@a b': not the name of a line; "},
		{"a word", "[signatures]\noperator = maybe\n", "t.conf:2:12: option [signatures] operator: " + want + ", got 'maybe'"},
		{"a word among keys", "[signatures]\noperator = " + config.PublicKey(aKey(1)) + ", signed\n", "option [signatures] operator: " + want + ", got 'signed'"},
		{"a digest", "[signatures]\n@p1 = sha256:" + strings.Repeat("0", 64) + "\n", "option [signatures] @p1: " + want},
		{"nothing", "[signatures]\ntenants =\n", "t.conf:2:10: option [signatures] tenants: " + want},
		{"no key to trust", "[signatures]\ntrusted = signed\n", "t.conf:2:11: option [signatures] trusted: want public keys, each ed25519: and a key in base64, got 'signed'"},
	} {
		if _, msg := load(t, tt.text); !strings.Contains(msg, tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, msg, tt.want)
		}
	}
}

func TestRegistryModules(t *testing.T) {
	good := "oci://r.example.com:5000/acme/x@sha256:" + strings.Repeat("0", 64)
	c, msg := load(t, "[wasakari]\nmodules = "+good+"\n")
	if msg != "" || len(c.Wasakari.Modules) != 1 || c.Wasakari.Modules[0] != good {
		t.Errorf("modules = %q, %s", c.Wasakari.Modules, msg)
	}
	for _, bad := range []string{"oci://r.example.com/x:1", "r.example.com/x@sha256:" + strings.Repeat("0", 64), "oci://r.example.com/x@sha256:0"} {
		if _, msg := load(t, "[wasakari]\nmodules = "+bad+"\n"); !strings.Contains(msg, "want oci://HOST[:PORT]/REPOSITORY@sha256: and 64 hex digits") {
			t.Errorf("%s: %q", bad, msg)
		}
	}
}
