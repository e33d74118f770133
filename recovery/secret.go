package recovery

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// SecretKey is the only key of the JSON object that stands for a secret where
// a task sees one: {"$secret":"group.option"}.
const SecretKey = "$secret"

// Secret is the value of an option that must not be shown, and what the
// operator bound it to. It is printed, formatted, encoded and logged as its
// handle, never as its value.
type Secret struct {
	Name   string // group.option
	Value  string
	Origin string // https://host[:port], the only one it may be sent to; empty: unbound, it cannot be used
	// Places says where in a request it may stand: header:NAME, basic, body or
	// tls.
	Places []string
	Pos    Position // of the option's value
}

// safeSecret is the length, in characters, from which on a secret is not found by
// chance in a text that has nothing to do with it.
const safeSecret = 8

// Short reports whether the value is of fewer than 8 characters. It is masked in
// what is told like any other, but such a text may stand there by chance.
func (s Secret) Short() bool {
	return utf8.RuneCountInString(strings.TrimRight(s.Value, "\r\n")) < safeSecret
}

// Bound reports whether the operator said where the secret may be used.
func (s Secret) Bound() bool { return s.Origin != "" && len(s.Places) > 0 }

// String gives the handle.
func (s Secret) String() string {
	b, _ := s.MarshalJSON() // a map of strings always encodes
	return string(b)
}

// GoString gives the handle.
func (s Secret) GoString() string { return s.String() }

// Format gives the handle, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON gives the handle.
func (s Secret) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{SecretKey: s.Name})
}

// MarshalText gives the handle.
func (s Secret) MarshalText() ([]byte, error) { return s.MarshalJSON() }
