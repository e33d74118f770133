package masakariv1

import (
	"cmp"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// listing is how a client wants a list.
type listing struct {
	limit  int
	marker *string
	keys   []string // with created_at and id
	desc   []bool   // as keys
}

// parseListing reads limit, marker, page_size, sort_key and sort_dir.
func parseListing(q url.Values, most int) (listing, error) {
	l := listing{limit: most}
	if text, ok := last(q, "limit"); ok {
		n, err := natural("limit", text)
		if err != nil {
			return listing{}, err
		}
		l.limit = min(n, most)
	}
	if text, ok := last(q, "page_size"); ok {
		if _, err := natural("page_size", text); err != nil {
			return listing{}, err
		}
	}
	if text, ok := last(q, "marker"); ok {
		l.marker = &text
	}
	if l.limit == 0 {
		return l, nil // an empty list, whatever else was asked
	}
	return l, l.parseSort(trimmed(q["sort_key"]), trimmed(q["sort_dir"]))
}

func (l *listing) parseSort(keys, dirs []string) error {
	if len(keys) == 0 {
		keys = []string{"created_at"}
	}
	if len(dirs) == 0 {
		dirs = []string{"desc"}
	}
	for _, d := range dirs {
		if d != "asc" && d != "desc" {
			return faultf(http.StatusBadRequest, "Invalid input received: Unknown sort direction, must be 'asc' or 'desc'")
		}
	}
	if len(dirs) > len(keys) {
		return faultf(http.StatusBadRequest, "Invalid input received: Sort direction size exceeds sort key size")
	}
	for _, k := range []string{"created_at", "id"} {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for len(dirs) < len(keys) {
		dirs = append(dirs, dirs[0])
	}
	l.keys = keys
	for _, d := range dirs {
		l.desc = append(l.desc, d == "desc")
	}
	return nil
}

// newestFirst reports whether the order is that of the numbers but for what clocks
// differ.
func (l *listing) newestFirst() bool {
	return slices.Equal(l.keys, []string{"created_at", "id"}) && !slices.Contains(l.desc, false)
}

// last gives the last value of a parameter: a client that repeats one means
// that.
func last(q url.Values, name string) (string, bool) {
	v := q[name]
	if len(v) == 0 {
		return "", false
	}
	return v[len(v)-1], true
}

func trimmed(in []string) []string {
	var out []string
	for _, s := range in {
		out = append(out, strings.TrimSpace(s))
	}
	return out
}

// natural reads a number that is not negative; one that is too large for an
// int is as large as can be.
func natural(name, text string) (int, error) {
	text = strings.TrimSpace(text)
	digits := strings.TrimLeft(text, "+-")
	if digits == "" || len(text)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return 0, faultf(http.StatusBadRequest, "Invalid input received: %s must be an integer", name)
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		n = int(^uint(0) >> 1)
	}
	if text[0] == '-' && n > 0 {
		return 0, faultf(http.StatusBadRequest, "Invalid input received: %s must be >= 0", name)
	}
	return n, nil
}

// columns name what a list can be sorted by, and how.
type columns[T any] map[string]func(a, b *T) int

// stamped adds the columns that every record has.
func stamped[T any](c columns[T], stamp func(*T) *recovery.Stamp) columns[T] {
	c["id"] = func(a, b *T) int { return cmp.Compare(stamp(a).ID, stamp(b).ID) }
	c["created_at"] = func(a, b *T) int { return seconds(stamp(a).Created).Compare(seconds(stamp(b).Created)) }
	c["updated_at"] = func(a, b *T) int { return seconds(stamp(a).Updated).Compare(seconds(stamp(b).Updated)) }
	c["deleted_at"] = func(_, _ *T) int { return 0 }
	c["deleted"] = func(_, _ *T) int { return 0 }
	return c
}

// seconds is what answers show of a record's time.
func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }

// text makes a column of a string.
func text[T any](get func(T) string) func(a, b T) int {
	return func(a, b T) int { return strings.Compare(get(a), get(b)) }
}

// flag makes a column of a boolean.
func flag[T any](get func(T) bool) func(a, b T) int {
	number := func(t T) int {
		if get(t) {
			return 1
		}
		return 0
	}
	return func(a, b T) int { return number(a) - number(b) }
}

// inAnyOrder gives all of a list that is not long, as page takes it.
func inAnyOrder[T any](all []T) iter.Seq2[T, time.Time] {
	return func(yield func(T, time.Time) bool) {
		for _, t := range all {
			if !yield(t, endOfTime) {
				return
			}
		}
	}
}

// endOfTime is after all that was created.
var endOfTime = time.Unix(1<<40, 0)

// page gives the part of all that the client wants: those that it filtered, in
// its order, after its marker. The second value of all tells that none that comes
// later was created after it, and has a greater number: in the most usual order,
// newest first, few have to be looked at.
func page[T any](l listing, all iter.Seq2[T, time.Time], cols columns[T], stamp func(*T) *recovery.Stamp, keep func(*T) bool) ([]T, error) {
	if l.limit == 0 {
		return nil, nil
	}
	var t, marker T // one t for all: each has its address taken
	if l.marker != nil {
		id, err := strconv.ParseInt(strings.TrimSpace(*l.marker), 10, 64)
		there := false
		for t = range all {
			if there = err == nil && stamp(&t).ID == id; there {
				marker = t
				break
			}
		}
		if !there {
			return nil, faultf(http.StatusBadRequest, "Marker %s could not be found.", *l.marker)
		}
	}
	order := make([]func(a, b *T) int, len(l.keys))
	for i, key := range l.keys {
		if order[i] = cols[key]; order[i] == nil {
			return nil, faultf(http.StatusBadRequest, "InvalidSortKey('Sort key supplied is invalid: %s')", key)
		}
	}
	compare := func(a, b *T) int {
		for i, c := range order {
			if n := c(a, b); n != 0 {
				if l.desc[i] {
					return -n
				}
				return n
			}
		}
		return 0
	}
	sorted := func(kept []T) []T {
		sort.Slice(kept, func(i, j int) bool { return compare(&kept[i], &kept[j]) < 0 }) // copies nothing
		return kept[:min(l.limit, len(kept))]
	}
	var kept []T
	full := false // kept[:limit] is in order, and no worse than what was left out
	newest := l.newestFirst()
	var latest time.Time
	for t, latest = range all {
		if newest && full {
			worst := stamp(&kept[l.limit-1])
			if c := seconds(latest).Compare(seconds(worst.Created)); c < 0 || c == 0 && stamp(&t).ID < worst.ID {
				break
			}
		}
		if !keep(&t) || l.marker != nil && compare(&t, &marker) <= 0 || full && compare(&t, &kept[l.limit-1]) >= 0 {
			continue
		}
		kept = append(kept, t)
		if len(kept) >= 2*l.limit {
			kept, full = sorted(kept), true
		}
	}
	return sorted(kept), nil
}

// equals makes a filter of a parameter: true when it is not given, or has the
// value.
func equals(q url.Values, name string) func(have string) bool {
	want, ok := last(q, name)
	return func(have string) bool { return !ok || want == have }
}

// strictFlag reads a filter that must be a boolean word.
func strictFlag(q url.Values, name string) (want, given bool, err error) {
	s, given := last(q, name)
	if !given {
		return false, false, nil
	}
	want, ok := word(s)
	if !ok {
		return false, true, faultf(http.StatusBadRequest, "Invalid value for %s: Unrecognized value '%s', acceptable values are: "+
			"'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'", name, s)
	}
	return want, true, nil
}
