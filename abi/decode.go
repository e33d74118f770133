package abi

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Bounds of the documents that guests send.
const (
	// MaxDocument is the size of the largest request that is decoded, in bytes.
	// The limits of a task are smaller.
	MaxDocument = 16 << 20
	// MaxDepth is how deep objects and arrays may be nested.
	MaxDepth = 64
)

// DecodeRequest decodes the request of op into a pointer to the op's request
// type. No bytes at all are read as {}. It is stricter than encoding/json: a
// key that is unknown, given twice or spelled in another case is refused, and
// so are a missing key, null, a value outside its enumeration, nesting deeper
// than MaxDepth, bytes that are no UTF-8 and anything after the document. What
// into points at is changed only when all is well.
//
// The error has code ErrnoInvalid, or ErrnoTooLarge for a request larger than
// MaxDocument; its message names the op and the key.
func DecodeRequest(op string, data []byte, into any) *Error {
	if len(data) > MaxDocument {
		return Errorf(ErrnoTooLarge, "%s: the request has %d bytes; at most %d are taken", op, len(data), MaxDocument)
	}
	if len(data) == 0 {
		data = []byte("{}")
	}
	ps := decode(data, into, 1)
	if len(ps) > 0 {
		return Errorf(ErrnoInvalid, "%s: %s", op, ps[0])
	}
	return nil
}

// problem is one mistake in a document.
type problem struct{ path, reason, hint string }

func (p problem) String() string {
	s := p.reason
	if p.path != "" {
		s = p.path + ": " + s
	}
	if p.hint != "" {
		s += "; " + p.hint
	}
	return s
}

// decode checks data against the type that into points at, then decodes it.
// It finds at most limit problems. With problems, into is left alone when the
// limit is 1; else it receives what could be read.
func decode(data []byte, into any, limit int) []problem {
	if !utf8.Valid(data) {
		return []problem{{reason: "the document is not UTF-8"}}
	}
	if !json.Valid(data) {
		var v any
		err := json.Unmarshal(data, &v)
		reason := "the document is not JSON"
		if se, ok := errors.AsType[*json.SyntaxError](err); ok {
			reason += fmt.Sprintf(": %v, at byte %d", se, se.Offset)
		}
		return []problem{{reason: reason}}
	}
	w := walker{data: data, limit: limit}
	w.value(typeOf(reflect.TypeOf(into).Elem()))
	if len(w.problems) > 0 && (limit == 1 || w.stopped) {
		return w.problems
	}
	if err := json.Unmarshal(data, into); err != nil && len(w.problems) == 0 {
		return []problem{{reason: err.Error()}}
	}
	return w.problems
}

// shape is the kind of JSON value that a Go type takes.
type shape uint8

const (
	shapeAny shape = iota
	shapeObject
	shapeMap
	shapeList
	shapeText
	shapeInt
	shapeFloat
	shapeBool
)

var shapeNames = [...]string{
	"any", "an object", "an object", "an array", "a string", "an integer", "a number", "true or false",
}

// docType is what the walker needs to know of a Go type.
type docType struct {
	shape  shape
	elem   *docType // of shapeMap and shapeList
	fields []docField
	byName map[string]int // JSON name → index in fields
	names  []string
	orText bool // of shapeObject: a string will do
}

type docField struct {
	name     string
	typ      *docType
	required bool
	enum     []string
	min      *int64 // smallest number
	nonEmpty bool   // of a string
}

var docTypes sync.Map // reflect.Type → *docType

// typeOf panics on types that no document has: a mistake of ours.
func typeOf(t reflect.Type) *docType {
	if d, ok := docTypes.Load(t); ok {
		return d.(*docType)
	}
	d := &docType{}
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
	case t == reflect.TypeFor[Text]():
		*d = *typeOf(reflect.TypeFor[Secret]())
		d.orText = true
	case t.Kind() == reflect.Pointer:
		d = typeOf(t.Elem())
	case t.Kind() == reflect.Struct:
		d.shape = shapeObject
		d.byName = map[string]int{}
		for f := range t.Fields() {
			d.add(f)
		}
	case t.Kind() == reflect.Map:
		d.shape, d.elem = shapeMap, typeOf(t.Elem())
	case t.Kind() == reflect.Slice:
		d.shape, d.elem = shapeList, typeOf(t.Elem())
	case t.Kind() == reflect.String:
		d.shape = shapeText
	case t.Kind() == reflect.Bool:
		d.shape = shapeBool
	case t.Kind() == reflect.Float64:
		d.shape = shapeFloat
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		d.shape = shapeInt
	default:
		panic("abi: no document has a " + t.String())
	}
	docTypes.Store(t, d)
	return d
}

func (d *docType) add(f reflect.StructField) {
	name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" || name == "-" {
		panic("abi: field " + f.Name + " has no JSON name")
	}
	df := docField{name: name, typ: typeOf(f.Type), required: opts == "", nonEmpty: f.Tag.Get("nonempty") != ""}
	if e := f.Tag.Get("enum"); e != "" {
		df.enum = strings.Split(e, ",")
	}
	if m := f.Tag.Get("min"); m != "" {
		n, err := strconv.ParseInt(m, 10, 64)
		if err != nil {
			panic("abi: field " + f.Name + ": " + err.Error())
		}
		df.min = &n
	}
	d.byName[name] = len(d.fields)
	d.fields = append(d.fields, df)
	d.names = append(d.names, name)
}

// walker goes over a valid JSON text and notes what does not fit the type.
type walker struct {
	data     []byte
	pos      int
	path     []step
	problems []problem
	limit    int
	stopped  bool // the limit was reached, or the document is too deep
}

// step is one key, or one index when key is nil.
type step struct {
	key   []byte
	index int
}

func (w *walker) at() string {
	var b strings.Builder
	for i, s := range w.path {
		switch {
		case s.key == nil:
			fmt.Fprintf(&b, "[%d]", s.index)
		case i == 0:
			b.WriteString(shownKey(s.key))
		default:
			b.WriteString("." + shownKey(s.key))
		}
	}
	return b.String()
}

// shownKey keeps control characters and endless keys out of messages.
func shownKey(key []byte) string {
	const longest = 64
	for _, c := range key {
		if c <= ' ' || c == 0x7f || c == '"' || len(key) > longest {
			return strconv.Quote(string(key[:min(len(key), longest)]))
		}
	}
	return string(key)
}

func (w *walker) report(reason, hint string) {
	if w.stopped {
		return
	}
	w.problems = append(w.problems, problem{w.at(), reason, hint})
	w.stopped = len(w.problems) >= w.limit
}

func (w *walker) push(s step) { w.path = append(w.path, s) }
func (w *walker) pop()        { w.path = w.path[:len(w.path)-1] }

// next skips white space and gives the byte that follows, without taking it.
func (w *walker) next() byte {
	for {
		switch c := w.data[w.pos]; c {
		case ' ', '\t', '\r', '\n':
			w.pos++
		default:
			return c
		}
	}
}

func (w *walker) value(t *docType) {
	c := w.next()
	if len(w.path) >= MaxDepth && (c == '{' || c == '[') {
		w.report(fmt.Sprintf("nested deeper than %d", MaxDepth), "")
		w.stopped = true
		return
	}
	switch c {
	case '{':
		if t.shape != shapeObject && t.shape != shapeMap && t.shape != shapeAny {
			w.mismatch(t, "an object")
			t = anyType
		}
		w.object(t)
	case '[':
		if t.shape != shapeList && t.shape != shapeAny {
			w.mismatch(t, "an array")
			t = anyType
		}
		w.array(t)
	case '"':
		w.text()
		if t.shape != shapeText && t.shape != shapeAny && !t.orText {
			w.mismatch(t, "a string")
		}
	case 't', 'f':
		w.scalar()
		if t.shape != shapeBool && t.shape != shapeAny {
			w.mismatch(t, "true or false")
		}
	case 'n':
		w.scalar()
		if t.shape != shapeAny {
			w.report("want "+shapeNames[t.shape]+", not null", "leave the key out")
		}
	default:
		w.number(t)
	}
}

var anyType = &docType{}

func (w *walker) mismatch(t *docType, got string) {
	w.report("want "+shapeNames[t.shape]+", not "+got, "")
}

func (w *walker) number(t *docType) {
	s := string(w.scalar())
	switch t.shape {
	case shapeAny:
	case shapeFloat:
		if _, err := strconv.ParseFloat(s, 64); err != nil {
			w.report("the number is out of range", "")
		}
	case shapeInt:
		if _, err := strconv.ParseInt(s, 10, 64); err != nil {
			w.report("want an integer of 64 bits, without fraction and exponent", "")
		}
	default:
		w.mismatch(t, "a number")
	}
}

// scalar takes everything up to the next delimiter.
func (w *walker) scalar() []byte {
	from := w.pos
	for w.pos < len(w.data) {
		switch w.data[w.pos] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return w.data[from:w.pos]
		}
		w.pos++
	}
	return w.data[from:w.pos]
}

// text takes a string and gives what it means; the bytes alias the document
// when it holds no escapes.
func (w *walker) text() []byte {
	from := w.pos
	escaped := false
	for w.pos++; w.data[w.pos] != '"'; w.pos++ {
		if w.data[w.pos] == '\\' {
			escaped = true
			w.pos++
		}
	}
	w.pos++
	raw := w.data[from:w.pos]
	if !escaped {
		return raw[1 : len(raw)-1]
	}
	if halfPair(raw) {
		w.report("half of a surrogate pair stands for no character", "")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return raw // not reached: the document is valid
	}
	return []byte(s)
}

// halfPair reports whether a string of JSON has an escape of one half of a
// surrogate pair without the other. Readers differ in what they make of it,
// and some refuse the document.
func halfPair(raw []byte) bool {
	high := false // the escape before was a first half
	for i := 0; i < len(raw); i++ {
		unit := uint64(0)
		if raw[i] == '\\' {
			i++
			if raw[i] == 'u' {
				unit, _ = strconv.ParseUint(string(raw[i+1:i+5]), 16, 16) // the document is valid
				i += 4
			}
		}
		low := unit >= 0xdc00 && unit < 0xe000
		if high != low {
			return true
		}
		high = unit >= 0xd800 && unit < 0xdc00
	}
	return false
}

func (w *walker) array(t *docType) {
	elem := anyType
	if t.shape == shapeList {
		elem = t.elem
	}
	w.pos++
	for i := 0; !w.stopped; i++ {
		if w.next() == ']' {
			w.pos++
			return
		}
		if w.next() == ',' {
			w.pos++
		}
		w.push(step{index: i})
		w.value(elem)
		w.pop()
	}
}

func (w *walker) object(t *docType) {
	w.pos++
	var seen keySet
	for !w.stopped {
		if w.next() == '}' {
			w.pos++
			break
		}
		if w.next() == ',' {
			w.pos++
			w.next()
		}
		key := w.text()
		w.next()
		w.pos++ // the colon
		w.push(step{key: key})
		if !seen.add(key) {
			w.report("the key is given twice", "")
		}
		switch t.shape {
		case shapeObject:
			if i, ok := t.byName[string(key)]; ok {
				w.field(&t.fields[i])
				break
			}
			w.report("unknown key", meant(string(key), t.names))
			w.value(anyType)
		case shapeMap:
			w.value(t.elem)
		default:
			w.value(anyType)
		}
		w.pop()
	}
	for i := range t.fields {
		if f := &t.fields[i]; f.required && !seen.has(f.name) {
			w.push(step{key: []byte(f.name)})
			w.report("the key is missing", "")
			w.pop()
		}
	}
}

// field takes a value and checks what the field asks for beyond its type.
func (w *walker) field(f *docField) {
	before := len(w.problems)
	w.next()
	from := w.pos
	w.value(f.typ)
	if len(w.problems) != before || w.stopped {
		return
	}
	switch {
	case f.typ.shape == shapeText && (f.enum != nil || f.nonEmpty):
		w.pos = from
		v := string(w.text())
		if f.enum != nil && !slices.Contains(f.enum, v) {
			w.report("want one of "+strings.Join(f.enum, ", "), meant(v, f.enum))
		} else if v == "" {
			w.report("the string is empty", "leave the key out or fill it")
		}
	case f.min != nil:
		n, err := strconv.ParseFloat(string(w.data[from:w.pos]), 64)
		if err != nil || n < float64(*f.min) {
			w.report(fmt.Sprintf("want at least %d", *f.min), "")
		}
	}
}

// keySet holds the keys of one object: few in a slice, many in a map, so that
// an object of a million keys does not cost a million squared.
type keySet struct {
	few  [][]byte
	many map[string]bool
}

func (s *keySet) has(key string) bool {
	if s.many != nil {
		return s.many[key]
	}
	for _, k := range s.few {
		if string(k) == key {
			return true
		}
	}
	return false
}

// add reports whether the key is new.
func (s *keySet) add(key []byte) bool {
	if s.has(string(key)) {
		return false
	}
	const few = 16
	if s.many == nil && len(s.few) < few {
		s.few = append(s.few, key)
		return true
	}
	if s.many == nil {
		s.many = map[string]bool{}
		for _, k := range s.few {
			s.many[string(k)] = true
		}
	}
	s.many[string(key)] = true
	return true
}
