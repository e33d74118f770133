package masakariv1

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// schema is what a value has to satisfy: rules in the order in which they are
// looked at. The first that fails tells the client. The same rules describe
// the value in the OpenAPI document.
type schema []rule

// rule is one demand on a value.
type rule interface {
	// check gives nil when the value satisfies the rule.
	check(v value) *mistake
	// describe adds the rule to a description.
	describe(s *openapi3.Schema)
}

// mistake is what is wrong with a body.
type mistake struct {
	path   string // name of the innermost field; empty at the top
	value  value
	reason string
	whole  bool // reason is the whole text
}

func wrong(v value, format string, args ...any) *mistake {
	return &mistake{value: v, reason: fmt.Sprintf(format, args...)}
}

// text is what the client is told.
func (m *mistake) text() string {
	if m.whole || m.path == "" {
		return m.reason
	}
	return "Invalid input for field/attribute " + m.path + ". Value: " + m.value.shown() + ". " + m.reason
}

// check gives the first mistake, or nil.
func (s schema) check(v value) *mistake {
	for _, r := range s {
		if m := r.check(v); m != nil {
			return m
		}
	}
	return nil
}

// openAPI describes the values that the schema allows.
func (s schema) openAPI() *openapi3.SchemaRef {
	out := &openapi3.Schema{}
	for _, r := range s {
		r.describe(out)
	}
	return out.NewRef()
}

// types allows values of some kinds.
type types []kind

func (t types) check(v value) *mistake {
	if slices.Contains(t, v.kind) {
		return nil
	}
	names := make([]string, len(t))
	for i, k := range t {
		names[i] = quotedString(string(k))
	}
	return wrong(v, "%s is not of type %s", v.quoted(), strings.Join(names, ", "))
}

func (t types) describe(s *openapi3.Schema) {
	for _, k := range t {
		switch {
		case k == kindNull:
			s.Nullable = true
		case len(t) == 2 && t[0] == kindBool && t[1] == kindString:
			// boolOrWord says what it takes.
		default:
			s.Type = &openapi3.Types{string(k)}
		}
	}
}

// enum allows some strings. Texts show them as a list, those of constants as a
// tuple.
type (
	enum      []string
	constants []string
)

func (e enum) check(v value) *mistake {
	if v.kind == kindString && slices.Contains(e, v.text) {
		return nil
	}
	return wrong(v, "%s is not one of [%s]", v.quoted(), quotedWords(e))
}

func (c constants) check(v value) *mistake {
	if v.kind == kindString && slices.Contains(c, v.text) {
		return nil
	}
	return wrong(v, "%s is not one of (%s)", v.quoted(), quotedWords(c))
}

func (c constants) describe(s *openapi3.Schema) { enum(c).describe(s) }

// quotedWords lists words in quotes.
func quotedWords(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = quotedString(w)
	}
	return strings.Join(q, ", ")
}

func (e enum) describe(s *openapi3.Schema) {
	for _, w := range e {
		s.Enum = append(s.Enum, w)
	}
}

var trueWords, falseWords = []string{"True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"},
	[]string{"False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"}

// boolOrWord allows booleans and the words for them.
type boolOrWord struct{}

func (boolOrWord) check(v value) *mistake {
	if v.kind == kindBool || v.kind == kindString && (slices.Contains(trueWords, v.text) || slices.Contains(falseWords, v.text)) {
		return nil
	}
	return wrong(v, "%s is not one of [True, %s, False, %s]", v.quoted(), quotedWords(trueWords), quotedWords(falseWords))
}

func (boolOrWord) describe(s *openapi3.Schema) {
	words := openapi3.NewStringSchema()
	enum(slices.Concat(trueWords, falseWords)).describe(words)
	s.OneOf = openapi3.SchemaRefs{openapi3.NewBoolSchema().NewRef(), words.NewRef()}
}

// length bounds the length of a string, in characters.
type length struct{ least, most int }

func (l length) check(v value) *mistake {
	if v.kind != kindString {
		return nil
	}
	n := utf8.RuneCountInString(v.text)
	switch {
	case n < l.least:
		return wrong(v, "%s is too short", v.quoted())
	case l.most > 0 && n > l.most:
		return wrong(v, "%s is too long", v.quoted())
	}
	return nil
}

func (l length) describe(s *openapi3.Schema) {
	s.MinLength = uint64(max(l.least, 0))
	if l.most > 0 {
		most := uint64(l.most)
		s.MaxLength = &most
	}
}

// pattern is a regular expression that a string must match.
type pattern struct {
	re    *regexp.Regexp
	shown string // as the texts show it
}

func matching(expr, shown string) pattern { return pattern{regexp.MustCompile(expr), shown} }

func (p pattern) check(v value) *mistake {
	if v.kind != kindString || p.re.MatchString(v.text) {
		return nil
	}
	return wrong(v, "%s does not match %s", v.quoted(), quotedString(p.shown))
}

func (p pattern) describe(s *openapi3.Schema) { s.Pattern = p.shown }

// printable reports whether a character may stand in a name or text. Those
// beyond the basic plane may not: Masakari's databases cannot keep them.
func printable(r rune) bool {
	return r < 0xFFFF && unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs)
}

// name is the form of a name.
type name struct{}

func (name) check(v value) *mistake {
	if v.kind != kindString {
		return nil
	}
	first, _ := utf8.DecodeRuneInString(v.text)
	last, _ := utf8.DecodeLastRuneInString(v.text)
	if v.text != "" && !unicode.Is(unicode.Zs, first) && !unicode.Is(unicode.Zs, last) && allPrintable(v.text, "") {
		return nil
	}
	m := wrong(v, "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end with whitespace.")
	m.whole = true
	return m
}

func (name) describe(s *openapi3.Schema) {
	s.Description = "Printable characters, no blank at the start or end."
	s.Pattern = `^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$`
}

func allPrintable(s, but string) bool {
	for _, r := range s {
		if !printable(r) && !strings.ContainsRune(but, r) {
			return false
		}
	}
	return true
}

// prose is the form of a text of several lines.
type prose struct{}

func (prose) check(v value) *mistake {
	if v.kind != kindString || allPrintable(v.text, "\n") {
		return nil
	}
	return wrong(v, "%s does not match printable characters and newlines", v.quoted())
}

func (prose) describe(s *openapi3.Schema) {
	s.Description = "Printable characters and newlines."
	s.Pattern = `^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*$`
}

// dateTime is the form of a time.
type dateTime struct{}

func (dateTime) check(v value) *mistake {
	if v.kind != kindString {
		return nil
	}
	if _, err := parseTime(v.text); err != nil {
		return wrong(v, "%s is not a 'date-time'", v.quoted())
	}
	return nil
}

func (dateTime) describe(s *openapi3.Schema) {
	s.Format = "date-time"
	s.Description = "ISO 8601; UTC when it names no zone."
}

// uuidForm is the form of a UUID.
type uuidForm struct{}

func (uuidForm) check(v value) *mistake {
	if v.kind != kindString || uuidLike(v.text) {
		return nil
	}
	return wrong(v, "%s is not a 'uuid'", v.quoted())
}

func (uuidForm) describe(s *openapi3.Schema) { s.Format = "uuid" }

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$`)

// uuidLike holds for UUIDs with and without dashes.
func uuidLike(s string) bool { return uuidPattern.MatchString(s) }

// field is a field of an object and what its value has to satisfy.
type field struct {
	name   string
	schema schema
}

// fields are the fields of an object that have a schema.
type fields []field

func (f fields) check(v value) *mistake {
	if v.kind != kindObject {
		return nil
	}
	for _, want := range f {
		item, ok := v.get(want.name)
		if !ok {
			continue
		}
		if m := want.schema.check(item); m != nil {
			if m.path == "" {
				m.path = want.name
			}
			return m
		}
	}
	return nil
}

func (f fields) describe(s *openapi3.Schema) {
	s.Properties = openapi3.Schemas{}
	for _, want := range f {
		s.Properties[want.name] = want.schema.openAPI()
	}
}

// only refuses fields that are not listed.
type only []string

func (o only) check(v value) *mistake {
	var extra []string
	for _, key := range v.keys {
		if !slices.Contains(o, key) {
			extra = append(extra, quotedString(key))
		}
	}
	if v.kind != kindObject || len(extra) == 0 {
		return nil
	}
	slices.Sort(extra)
	verb := "was"
	if len(extra) > 1 {
		verb = "were"
	}
	return wrong(v, "Additional properties are not allowed (%s %s unexpected)", strings.Join(extra, ", "), verb)
}

func (only) describe(s *openapi3.Schema) {
	no := false
	s.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
}

// required lists fields that must be there.
type required []string

func (r required) check(v value) *mistake {
	if v.kind != kindObject {
		return nil
	}
	for _, key := range r {
		if !slices.Contains(v.keys, key) {
			return wrong(v, "%s is a required property", quotedString(key))
		}
	}
	return nil
}

func (r required) describe(s *openapi3.Schema) { s.Required = append(s.Required, r...) }

// oneOrMore asks for at least one of the listed fields.
type oneOrMore []string

func (o oneOrMore) check(v value) *mistake {
	for _, key := range v.keys {
		if slices.Contains(o, key) {
			return nil
		}
	}
	return wrong(v, "%s is not valid under any of the given schemas", v.quoted())
}

func (o oneOrMore) describe(s *openapi3.Schema) { s.MinProps = 1 }

// eachKey bounds keys and values of an object that has no fields of its own.
type eachKey struct {
	keys   pattern
	schema schema
}

func (e eachKey) check(v value) *mistake {
	if v.kind != kindObject {
		return nil
	}
	for i, key := range v.keys {
		if !e.keys.re.MatchString(key) {
			continue
		}
		if m := e.schema.check(v.items[i]); m != nil {
			if m.path == "" {
				m.path = key
			}
			return m
		}
	}
	var extra []string
	for _, key := range v.keys {
		if !e.keys.re.MatchString(key) {
			extra = append(extra, quotedString(key))
		}
	}
	if len(extra) == 0 {
		return nil
	}
	slices.Sort(extra)
	verb := "does"
	if len(extra) > 1 {
		verb = "do"
	}
	return wrong(v, "%s %s not match any of the regexes: %s", strings.Join(extra, ", "), verb, quotedString(e.keys.shown))
}

func (e eachKey) describe(s *openapi3.Schema) {
	s.AdditionalProperties = openapi3.AdditionalProperties{Schema: e.schema.openAPI()}
}

// closed is an object with these fields and no others. A field is looked at
// before one that should not be there, that before what must be there.
func closed(must rule, f ...field) schema {
	return schema{types{kindObject}, fields(f), onlyThese(f), must}
}

// complete is as closed, but what is missing comes before what should not be
// there.
func complete(must required, f ...field) schema {
	return schema{types{kindObject}, fields(f), must, onlyThese(f)}
}

func onlyThese(f []field) only {
	names := make(only, len(f))
	for i := range f {
		names[i] = f[i].name
	}
	return names
}

// envelope is a body: an object with one field.
func envelope(name string, inner schema) schema {
	return complete(required{name}, field{name, inner})
}
