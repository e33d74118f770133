package masakariv1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is the type of a JSON value, by the name that the schemas use.
type kind string

const (
	kindNull   kind = "null"
	kindBool   kind = "boolean"
	kindNumber kind = "number"
	kindString kind = "string"
	kindArray  kind = "array"
	kindObject kind = "object"
)

// value is a JSON value that keeps the order of an object's keys: error texts
// quote values as the client wrote them.
type value struct {
	kind  kind
	text  string // of a string; the digits of a number
	truth bool
	keys  []string // of an object, each once
	items []value  // of an array; of an object, as keys
}

// maxDepth bounds the nesting of a body; no body of the API is deeper than 3.
const maxDepth = 64

var errMalformed = errors.New("malformed JSON")

// parse reads a whole body. Of a key given twice the last value counts.
func parse(body []byte) (value, error) {
	if !utf8.Valid(body) {
		return value{}, errMalformed
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	v, err := parseNext(dec, 0)
	if err != nil {
		return value{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return value{}, errMalformed
	}
	return v, nil
}

func parseNext(dec *json.Decoder, depth int) (value, error) {
	if depth > maxDepth {
		return value{}, errMalformed
	}
	token, err := dec.Token()
	if err != nil {
		return value{}, errMalformed
	}
	switch t := token.(type) {
	case nil:
		return value{kind: kindNull}, nil
	case bool:
		return value{kind: kindBool, truth: t}, nil
	case json.Number:
		return value{kind: kindNumber, text: t.String()}, nil
	case string:
		return value{kind: kindString, text: t}, nil
	case json.Delim:
		if t == '[' {
			return parseArray(dec, depth)
		}
		return parseObject(dec, depth)
	}
	return value{}, errMalformed
}

func parseArray(dec *json.Decoder, depth int) (value, error) {
	v := value{kind: kindArray}
	for dec.More() {
		item, err := parseNext(dec, depth+1)
		if err != nil {
			return value{}, err
		}
		v.items = append(v.items, item)
	}
	if _, err := dec.Token(); err != nil {
		return value{}, errMalformed
	}
	return v, nil
}

func parseObject(dec *json.Decoder, depth int) (value, error) {
	v := value{kind: kindObject}
	at := map[string]int{}
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return value{}, errMalformed
		}
		item, err := parseNext(dec, depth+1)
		if err != nil {
			return value{}, err
		}
		if i, twice := at[key]; twice {
			v.items[i] = item
			continue
		}
		at[key] = len(v.keys)
		v.keys = append(v.keys, key)
		v.items = append(v.items, item)
	}
	if _, err := dec.Token(); err != nil {
		return value{}, errMalformed
	}
	return v, nil
}

// get gives the value of a key of an object.
func (v value) get(key string) (value, bool) {
	for i, k := range v.keys {
		if k == key {
			return v.items[i], true
		}
	}
	return value{}, false
}

// str gives the string at a key, empty when there is none.
func (v value) str(key string) string {
	item, _ := v.get(key)
	if item.kind != kindString {
		return ""
	}
	return item.text
}

// flag gives the boolean or boolean word at a key, or the default.
func (v value) flag(key string, byDefault bool) bool {
	item, ok := v.get(key)
	switch {
	case !ok:
		return byDefault
	case item.kind == kindString:
		truth, _ := word(item.text)
		return truth
	}
	return item.truth
}

// word reads a boolean word: what oslo.utils takes, in any case.
func word(s string) (truth, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "t", "true", "on", "y", "yes":
		return true, true
	case "0", "f", "false", "off", "n", "no":
		return false, true
	}
	return false, false
}

// notation is a way to write values.
type notation struct {
	comma, colon, null, yes, no string

	text func(string) string
}

var (
	jsonNotation = notation{",", ":", "null", "true", "false", func(s string) string {
		data, _ := json.Marshal(s) // a string is always encoded
		return string(data)
	}}
	pythonNotation = notation{", ", ": ", "None", "True", "False", quotedString}
)

// MarshalJSON gives the value with its keys in their order.
func (v value) MarshalJSON() ([]byte, error) { return []byte(v.in(jsonNotation)), nil }

func (v value) in(n notation) string {
	var b strings.Builder
	v.write(&b, n)
	return b.String()
}

func (v value) write(b *strings.Builder, n notation) {
	switch v.kind {
	case kindArray, kindObject:
		open, end := byte('['), byte(']')
		if v.kind == kindObject {
			open, end = '{', '}'
		}
		b.WriteByte(open)
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(n.comma)
			}
			if v.kind == kindObject {
				b.WriteString(n.text(v.keys[i]))
				b.WriteString(n.colon)
			}
			item.write(b, n)
		}
		b.WriteByte(end)
	case kindString:
		b.WriteString(n.text(v.text))
	case kindNumber:
		b.WriteString(v.text)
	case kindBool:
		if v.truth {
			b.WriteString(n.yes)
		} else {
			b.WriteString(n.no)
		}
	default:
		b.WriteString(n.null)
	}
}

// shown gives the value as the texts quote it after "Value:": a string as it
// is, anything else as quoted.
func (v value) shown() string {
	if v.kind == kindString {
		return v.text
	}
	return v.quoted()
}

// quoted gives the value in Python's notation, which is how clients of
// Masakari have always been told of it.
func (v value) quoted() string { return v.in(pythonNotation) }

// quotedString gives s in single quotes, in double ones where that saves
// escapes, with what cannot be printed escaped.
func quotedString(s string) string {
	var b strings.Builder
	q := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		q = '"'
	}
	b.WriteRune(q)
	for _, r := range s {
		switch {
		case r == q || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || r > ' ' && r != 0x7f && unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(q)
	return b.String()
}
