package config

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// maxSeconds bounds a time given in seconds: 68 years, and far from what
// would overflow a duration.
const maxSeconds = math.MaxInt32

// convert turns the text of one value into the Go type of the option: string,
// bool, int64 (int, seconds), int64 or string (int_or_auto), float64 or
// []string (list). The value is nil when
// an empty number unsets the option. Flows and multi-valued options are read
// elsewhere.
func convert(o recovery.OptionSpec, t text) (any, *recovery.ConfigError) {
	s := strings.TrimFunc(t.s, isSpace)
	switch o.Type {
	case recovery.StringOption:
		if len(o.Choices) > 0 && !slices.Contains(o.Choices, t.s) {
			return nil, wrong(o, t, "one of "+strings.Join(o.Choices, ", "))
		}
		return t.s, nil
	case recovery.BoolOption:
		switch strings.ToLower(s) {
		case "true", "1", "on", "yes":
			return true, nil
		case "false", "0", "off", "no":
			return false, nil
		}
		return nil, wrong(o, t, "a bool (true, 1, on, yes, false, 0, off, no)")
	case recovery.IntOption, recovery.SecondsOption:
		if s == "" {
			return nil, nil
		}
		n, ok := parseInt(s)
		if !ok {
			want := "an int"
			if o.Type == recovery.SecondsOption {
				want = "an int (seconds)"
			}
			return nil, wrong(o, t, want)
		}
		if reason := checkInt(o, n); reason != "" {
			return nil, wrong(o, t, reason)
		}
		return n, nil
	case recovery.IntOrAutoOption:
		if s == "" || strings.EqualFold(s, recovery.AutoValue) {
			if s == "" {
				return nil, nil
			}
			return recovery.AutoValue, nil
		}
		if n, ok := parseInt(s); ok && checkInt(o, n) == "" {
			return n, nil
		}
		return nil, wrong(o, t, "an int"+limits(o)+" or "+recovery.AutoValue)
	case recovery.FloatOption:
		if s == "" {
			return nil, nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(s, "xX_") {
			return nil, wrong(o, t, "a float")
		}
		if o.Min != nil && f < float64(*o.Min) || o.Max != nil && f > float64(*o.Max) {
			return nil, wrong(o, t, "a float"+limits(o))
		}
		return f, nil
	case recovery.ListOption:
		return splitList(t.s), nil
	case recovery.HostOption:
		if !isHost(s) {
			return nil, wrong(o, t, "a host name or an IP address without brackets")
		}
		return s, nil
	case recovery.URIOption:
		if u, err := url.Parse(s); err != nil || u.Scheme == "" || u.Host == "" {
			return nil, wrong(o, t, "a URI with scheme and host")
		}
		return s, nil
	}
	return nil, &recovery.ConfigError{Pos: t.pos(0), Reason: fmt.Sprintf("option %s has the unknown type %q", title(o), o.Type)}
}

// title names an option as an operator would look for it.
func title(o recovery.OptionSpec) string { return "[" + o.Group + "] " + o.Name }

// wrong says that the value of o is not what is wanted, without showing a
// value that must not be shown.
func wrong(o recovery.OptionSpec, t text, want string) *recovery.ConfigError {
	e := &recovery.ConfigError{Pos: t.start(), Reason: fmt.Sprintf("option %s: want %s", title(o), want)}
	if o.Secret || t.secret || strings.Contains(t.s, "@") {
		return e
	}
	e.Reason += ", got " + quote(t.s)
	if strings.Contains(t.s, " #") || strings.Contains(t.s, " ;") {
		e.Hint = "a comment stands in a line of its own, not behind a value"
	}
	return e
}

// parseInt accepts what Python's int does: sign, leading zeros, single
// underscores between digits.
func parseInt(s string) (int64, bool) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" {
		return 0, false
	}
	for i := 0; i < len(digits); i++ {
		c := digits[i]
		if c == '_' && (i == 0 || i == len(digits)-1 || digits[i-1] == '_') || c != '_' && (c < '0' || c > '9') {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	return n, err == nil
}

// checkInt says what is wanted when n is outside the limits of o.
func checkInt(o recovery.OptionSpec, n int64) string {
	if o.Min != nil && n < *o.Min || o.Max != nil && n > *o.Max {
		return "an int" + limits(o)
	}
	if o.Type == recovery.SecondsOption && (n > maxSeconds || n < -maxSeconds) {
		return fmt.Sprintf("an int (seconds) ≤ %d", maxSeconds)
	}
	return ""
}

func limits(o recovery.OptionSpec) string {
	switch {
	case o.Min != nil && o.Max != nil:
		return fmt.Sprintf(" from %d to %d", *o.Min, *o.Max)
	case o.Min != nil:
		return fmt.Sprintf(" ≥ %d", *o.Min)
	case o.Max != nil:
		return fmt.Sprintf(" ≤ %d", *o.Max)
	}
	return ""
}

// listItems gives the items of a list and their offsets: s is split at commas;
// one comma at the end is dropped, empty items inside are kept.
func listItems(s string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		end := len(strings.TrimRightFunc(s, isSpace))
		end = len(strings.TrimSuffix(s[:end], ","))
		if strings.TrimFunc(s[:end], isSpace) == "" {
			return
		}
		for off := 0; off <= end; {
			item, _, _ := strings.Cut(s[off:end], ",")
			bare := strings.TrimLeftFunc(item, isSpace)
			if !yield(off+len(item)-len(bare), strings.TrimRightFunc(bare, isSpace)) {
				return
			}
			off += len(item) + 1
		}
	}
}

func splitList(s string) []string {
	items := []string{}
	for _, item := range listItems(s) {
		items = append(items, item)
	}
	return items
}

// isHost holds for IPv4 and IPv6 addresses and for host names.
func isHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	name := strings.TrimSuffix(s, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range []byte(l) {
			if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	// A last label of digits alone would be a mistyped address.
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// display prints a converted value as oslo.config puts it in the place of a
// reference.
func display(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case []string:
		items := make([]string, len(v))
		for i, s := range v {
			items[i] = pythonString(s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case recovery.Flow:
		return formatFlow(v)
	}
	return fmt.Sprint(v)
}

func pythonString(s string) string {
	q := strconv.Quote(s)
	body := strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	if strings.Contains(s, "'") {
		if !strings.Contains(s, `"`) {
			return `"` + body + `"`
		}
		body = strings.ReplaceAll(body, "'", `\'`)
	}
	return "'" + body + "'"
}
