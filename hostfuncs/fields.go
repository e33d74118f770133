package hostfuncs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/wasakari/wasakari/recovery"
)

// serverField is one field of a server's document. recovery.Server is the
// allow-list of what a guest may see; its JSON names are Nova's.
type serverField struct {
	name      string
	index     int
	omitEmpty bool
}

// serverFields lists them in the order of the struct.
var serverFields = func() []serverField {
	typ := reflect.TypeFor[recovery.Server]()
	var out []serverField
	for i := range typ.NumField() {
		name, opts, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		out = append(out, serverField{name: name, index: i, omitEmpty: opts == "omitempty"})
	}
	return out
}()

// selectFields finds the fields named, in the order of the struct, the id
// always among them. Nil means all.
func selectFields(names []string) ([]serverField, error) {
	if len(names) == 0 {
		return nil, nil
	}
	for _, n := range names {
		if !slices.ContainsFunc(serverFields, func(f serverField) bool { return f.name == n }) {
			return nil, unknownField(n)
		}
	}
	out := make([]serverField, 0, len(names)+1)
	for _, f := range serverFields {
		if f.name == "id" || slices.Contains(names, f.name) {
			out = append(out, f)
		}
	}
	return out, nil
}

func unknownField(name string) error {
	best, bestDist := "", 0
	for _, f := range serverFields {
		// Guests tend to leave out Nova's prefixes: compare with the bare name too.
		bare := f.name[strings.LastIndexByte(f.name, ':')+1:]
		d := min(levenshtein.Distance(recovery.Cut(name, 64), f.name, nil), levenshtein.Distance(recovery.Cut(name, 64), bare, nil))
		if best == "" || d < bestDist {
			best, bestDist = f.name, d
		}
	}
	return fmt.Errorf("fields: a server has no field %q, the nearest is %q: %w", recovery.Cut(name, 64), best, recovery.ErrInvalid)
}

// appendServer appends s's document with the fields given, nil for all.
func appendServer(b []byte, s *recovery.Server, fields []serverField) ([]byte, error) {
	if fields == nil {
		doc, err := json.Marshal(s)
		return append(b, doc...), err
	}
	v := reflect.ValueOf(s).Elem()
	b = append(b, '{')
	for i, f := range fields {
		fv := v.Field(f.index)
		if f.omitEmpty && isEmpty(fv) {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), f.name...), '"', ':')
		switch {
		case fv.Kind() == reflect.Bool:
			b = strconv.AppendBool(b, fv.Bool())
		case fv.Kind() == reflect.Int:
			b = strconv.AppendInt(b, fv.Int(), 10)
		case fv.Kind() == reflect.String && fv.Len() == 0 && fv.Type() == reflect.TypeFor[recovery.NullString]():
			b = append(b, "null"...)
		case fv.Kind() == reflect.String && plain(fv.String()):
			b = append(append(append(b, '"'), fv.String()...), '"')
		default:
			doc, err := json.Marshal(fv.Interface())
			if err != nil {
				return nil, err
			}
			b = append(b, doc...)
		}
	}
	return append(b, '}'), nil
}

// plain reports whether s needs no escaping in JSON.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// isEmpty is what omitempty means for the kinds of field a server has.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil()
	}
	return v.IsZero()
}
