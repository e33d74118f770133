package config

import (
	"errors"
	"fmt"
	"net/textproto"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/regular"
	"github.com/wasakari/wasakari/recovery"
)

// Binding is one line of section [secrets]: where the value of a task's secret
// option may be sent.
type Binding struct {
	Group, Name string // of the option
	Pos         recovery.Position
	Origin      string   // https://host[:port], as abi.HTTPOrigin spells it
	Places      []string // header:NAME, basic, body, tls
}

// Bindings lists the lines of section [secrets] in the order in which they
// were written.
func (c *Config) Bindings() []Binding {
	var out []Binding
	for _, a := range c.lines(secretsGroup) {
		if k, ok := secretName(a.name); ok {
			out = append(out, c.bindings[k])
		}
	}
	return out
}

// bound reports whether an option has a line in [secrets], which makes it a
// secret whatever a task calls it.
func (c *Config) bound(k key) bool {
	_, ok := c.bindings[k]
	return ok
}

// Secrets reads those of specs that are secret and set, by "group.name". A
// value that begins with file: names the file that holds it, by its absolute
// path; one line end at its end is left away. A secret without a line in
// [secrets] is not bound. All mistakes are told at once, each a
// *recovery.ConfigError that shows neither value nor path.
func (c *Config) Secrets(specs []recovery.OptionSpec) (map[string]recovery.Secret, error) {
	out := map[string]recovery.Secret{}
	var errs []*recovery.ConfigError
	for _, o := range specs {
		if !o.Secret {
			continue
		}
		name := o.Group + "." + o.Name
		if _, done := out[name]; done {
			continue
		}
		v, t, set, err := (&reader{c: c}).read(o)
		value, ok := v.(string)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !set || !ok {
			continue
		}
		if path, ok := strings.CutPrefix(value, fileWord); ok {
			var reason string
			if value, reason = secretFile(path); reason != "" {
				errs = append(errs, &recovery.ConfigError{
					Pos: t.pos(0), Reason: fmt.Sprintf("option %s: its file %s", title(o), reason),
					Hint: "want file: and the absolute path of a file that holds the value alone",
				})
				continue
			}
		}
		b := c.bindings[key{groupKey(o.Group), o.Name}]
		out[name] = recovery.Secret{Name: name, Value: value, Origin: b.Origin, Places: slices.Clone(b.Places), Pos: t.pos(0)}
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	return out, nil
}

// Text gives the secret itself: what the file holds that a value names which begins
// with file:. The error shows neither value nor path.
func (s Secret) Text() (string, error) {
	path, ok := strings.CutPrefix(string(s), fileWord)
	if !ok {
		return string(s), nil
	}
	value, reason := secretFile(path)
	if reason != "" {
		return "", fmt.Errorf("its file %s; want file: and the absolute path of a file that holds the value alone: %w", reason, recovery.ErrInvalid)
	}
	return value, nil
}

const (
	fileWord       = "file:"
	maxSecretBytes = 64 << 10
)

// secretFile reads the file of a secret, or says what is wrong with it.
func secretFile(path string) (value, reason string) {
	if !filepath.IsAbs(path) {
		return "", "is not named by an absolute path"
	}
	b, err := regular.Read(path, maxSecretBytes)
	_, large := errors.AsType[*regular.TooLargeError](err)
	switch {
	case large:
		return "", fmt.Sprintf("has more than %d KiB", maxSecretBytes>>10)
	case errors.Is(err, regular.ErrNotRegular):
		return "", "is " + bare(err)
	case err != nil:
		return "", "cannot be read: " + bare(err)
	case invalidUTF8(string(b)) >= 0:
		return "", "is not UTF-8 text"
	}
	value = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if value == "" {
		return "", "is empty"
	}
	return value, ""
}

// secretName splits group.option at the last dot: a section may have dots.
func secretName(name string) (key, bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 || !groupForm.MatchString(name[:i]) || !optionForm.MatchString(name[i+1:]) {
		return key{}, false
	}
	return key{groupKey(name[:i]), name[i+1:]}, true
}

var (
	optionForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	// headerForm is a token of RFC 9110.
	headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")
)

const (
	wantBinding = "ORIGIN PLACE, such as https://tickets.example.com header:Authorization"
	wantOrigin  = "the origin first, as https://host or https://host:port, such as https://tickets.example.com"
	wantPlace   = "a place: header:NAME, basic, body or tls"
)

func (c *Config) readBindings() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.bindings = map[key]Binding{}
	for _, a := range c.lines(secretsGroup) {
		k, ok := secretName(a.name)
		if !ok {
			errs = append(errs, misnamed(a, "an option", "write SECTION.OPTION, such as acme.token"))
			continue
		}
		if Reserved(k.group) {
			errs = append(errs, misnamed(a, "a task's option", "section "+k.group+" belongs to Wasakari, Masakari or OpenStack; no task reads it"))
			continue
		}
		o := recovery.OptionSpec{Group: secretsGroup, Name: a.name, Type: recovery.StringOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		i := strings.LastIndexByte(a.name, '.')
		b := Binding{Group: a.name[:i], Name: a.name[i+1:], Pos: a.namePos}
		errs = append(errs, b.read(o, t)...)
		c.bindings[k] = b
	}
	return errs
}

// read takes the value of a line.
func (b *Binding) read(o recovery.OptionSpec, t text) []*recovery.ConfigError {
	from := len(t.s) - len(trimLeft(t.s))
	to := len(t.s)
	if n := strings.IndexFunc(t.s[from:], isSpace); n >= 0 {
		to = from + n
	}
	part := func(s string, off int) text {
		return text{s: s, file: t.file, segs: []seg{seg1(t, off)}, secret: t.secret}
	}
	origin, err := abi.ParseHTTPOrigin(t.s[from:to])
	if err != nil || !strings.HasPrefix(origin, "https://") {
		return []*recovery.ConfigError{wrong(o, part(t.s[from:to], from), wantOrigin)}
	}
	b.Origin = origin
	var errs []*recovery.ConfigError
	for off, item := range listItems(t.s[to:]) {
		place, ok := placeOf(item)
		if !ok {
			errs = append(errs, wrong(o, part(item, to+off), wantPlace))
		} else if !slices.Contains(b.Places, place) {
			b.Places = append(b.Places, place)
		}
	}
	if len(errs)+len(b.Places) == 0 {
		errs = append(errs, wrong(o, part(strings.TrimFunc(t.s, isSpace), from), wantBinding))
	}
	return errs
}

// placeOf reads one place in a request.
func placeOf(s string) (string, bool) {
	switch s {
	case "basic", "body", "tls":
		return s, true
	}
	name, ok := strings.CutPrefix(s, "header:")
	if !ok || !headerForm.MatchString(name) {
		return "", false
	}
	return "header:" + textproto.CanonicalMIMEHeaderKey(name), true
}

// String writes the line.
func (b Binding) String() string {
	return b.Group + "." + b.Name + " = " + b.Origin + " " + strings.Join(b.Places, ", ")
}
