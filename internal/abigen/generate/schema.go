// Package generate turns abi/schema.json into Go source and Markdown tables.
package generate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// schema is what is read of abi/schema.json.
type schema struct {
	Errnos []errno `json:"errnos"`
	Ops    []op    `json:"ops"`
	Defs   defs    `json:"$defs"`
}

type errno struct {
	Name  string `json:"name"`
	Errno int    `json:"errno"`
	Doc   string `json:"doc"`
}

type op struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Doc     string   `json:"doc"`
	Request *node    `json:"request"`
	Answer  *node    `json:"answer"`
	Errors  []string `json:"errors"`
}

func (o op) group() string { g, _, _ := strings.Cut(o.Name, "."); return g }
func (o op) verb() string  { _, v, _ := strings.Cut(o.Name, "."); return v }

// node is a JSON schema, as far as the ABI uses the language.
type node struct {
	Ref         string   `json:"$ref"`
	Type        typeName `json:"type"`
	Description string   `json:"description"`
	Properties  defs     `json:"properties"`
	Required    []string `json:"required"`
	Items       *node    `json:"items"`
	Additional  *node    `json:"additionalProperties"`
	Enum        []string `json:"enum"`
	Minimum     *int64   `json:"minimum"`
	OneOf       []*node  `json:"oneOf"` // of a type that is written by hand
}

func (n *node) ref() string           { return strings.TrimPrefix(n.Ref, "#/$defs/") }
func (n *node) needs(key string) bool { return slices.Contains(n.Required, key) }

// typeName is a type, "string or null" being a string that may be null.
type typeName struct {
	name string
	null bool
}

func (t *typeName) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &t.name); err == nil {
		return nil
	}
	var both []string
	if err := json.Unmarshal(b, &both); err != nil {
		return err
	}
	if len(both) != 2 || both[1] != "null" {
		return fmt.Errorf("type %q: want a name, or a name and null", both)
	}
	t.name, t.null = both[0], true
	return nil
}

// defs are named schemas in the order of the file.
type defs []named

type named struct {
	name string
	*node
}

func (d *defs) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		n := new(node)
		if err := dec.Decode(n); err != nil {
			return fmt.Errorf("%v: %w", key, err)
		}
		*d = append(*d, named{fmt.Sprint(key), n})
	}
	return nil
}

// initialisms are written in capitals in Go names.
var initialisms = map[string]string{
	"id": "ID", "uuid": "UUID", "vm": "VM", "ip": "IP", "kv": "KV", "ha": "HA", "ttl": "TTL",
	"vmove": "VMove", "vmoves": "VMoves", "ms": "Milliseconds",
	"http": "HTTP", "url": "URL", "tls": "TLS", "ca": "CA", "json": "JSON", "$secret": "Name",
}

// goName makes a Go name of a JSON or op name: what stands before the last
// colon is dropped, "_s" at the end is Seconds.
func goName(s string) string {
	s = s[strings.LastIndexByte(s, ':')+1:]
	s = strings.ReplaceAll(s, ".", "_")
	var b strings.Builder
	words := strings.Split(s, "_")
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1 && w == "s":
			b.WriteString("Seconds")
		case initialisms[w] != "":
			b.WriteString(initialisms[w])
		case w != "":
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}
