package masakariv1

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// The forms of times in answers, all in UTC.
const (
	microseconds = "2006-01-02T15:04:05.000000"
	wholeSeconds = "2006-01-02T15:04:05"
	blankMicros  = "2006-01-02 15:04:05.000000" // in progress details
)

// isoTime takes the forms of ISO 8601 that Masakari takes: dates with and
// without dashes, T or a blank, seconds, fraction and zone optional.
var isoTime = regexp.MustCompile(`^(\d{4})(?:(?:-(\d{1,2})|(\d{2}))(?:(?:-(\d{1,2})|(\d{2}))` +
	`(?:[ T](\d{2})(?::?(\d{2}))?(?::?(\d{1,2})(?:[.,](\d+))?)?(Z|[-+]\d{2}:?(?:\d{2})?)?)?)?)?$`)

// parseTime reads a time. Without a zone it is UTC. What is below a
// microsecond is cut off.
func parseTime(s string) (time.Time, error) {
	bad := func() (time.Time, error) {
		return time.Time{}, fmt.Errorf("time %q: %w", s, recovery.ErrInvalid)
	}
	m := isoTime.FindStringSubmatch(s)
	if m == nil {
		return bad()
	}
	monthText, dayText := m[2]+m[3], m[4]+m[5]
	if m[3] != "" && dayText == "" {
		return bad() // 202611 could be read as a day of 2020
	}
	year, month, day := atoi(m[1], 0), atoi(monthText, 1), atoi(dayText, 1)
	hour, minute, second := atoi(m[6], 0), atoi(m[7], 0), atoi(m[8], 0)
	fraction := m[9]
	if len(fraction) > 6 {
		fraction = fraction[:6]
	}
	micros := atoi(fraction+strings.Repeat("0", 6-len(fraction)), 0)
	zone := time.UTC
	if z := m[10]; z != "" && z != "Z" {
		digits := strings.ReplaceAll(z[1:], ":", "")
		offset := atoi(digits[:2], 0)*3600 + atoi(digits[2:], 0)*60
		if offset >= 24*3600 || atoi(digits[2:], 0) > 59 {
			return bad()
		}
		if z[0] == '-' {
			offset = -offset
		}
		zone = time.FixedZone("", offset)
	}
	if year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return bad()
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, micros*1000, zone)
	if t.Day() != day {
		return bad() // the month has not so many
	}
	// A zone must not carry it out of the years that answers can show.
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return bad()
	}
	return t, nil
}

func atoi(s string, byDefault int) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return byDefault // empty: the pattern lets digits through only
	}
	return n
}

// stampTime gives a record's own time: whole seconds.
func stampTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(wholeSeconds) + ".000000"
	return &s
}

// momentTime gives a time as text of RFC 3339 in the form of answers; nil for
// the empty one.
func momentTime(s string) *string {
	if s == "" {
		return nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		s = t.UTC().Format(microseconds)
	}
	return &s
}
