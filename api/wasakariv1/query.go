package wasakariv1

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Bounds of what a request may say.
const (
	maxBody   = 64 << 10 // of a JSON document
	maxQuery  = 8 << 10
	maxValue  = 255 // of a parameter
	maxReason = 1000
	pageSize  = 100
	maxPage   = 1000
)

// parameters reads a query that holds only the names that are known, each once
// and not empty.
func parameters(r *http.Request, known ...string) (map[string]string, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, refuse(http.StatusRequestURITooLong, "", "the query has %d bytes, at most %d", len(r.URL.RawQuery), maxQuery)
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "", "the query cannot be read")
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		values := q[name]
		hint := "there are none here"
		if len(known) > 0 {
			hint = "there are " + strings.Join(known, ", ")
		}
		switch {
		case !slices.Contains(known, name):
			return nil, refuse(http.StatusBadRequest, hint, "unknown parameter %q", cut(name, 64))
		case len(values) > 1:
			return nil, refuse(http.StatusBadRequest, "give it once", "parameter %s stands %d times", name, len(values))
		case values[0] == "":
			return nil, refuse(http.StatusBadRequest, "leave it out, or give it a value", "parameter %s is empty", name)
		case len(values[0]) > maxValue:
			return nil, refuse(http.StatusBadRequest, "", "parameter %s has %d bytes, at most %d", name, len(values[0]), maxValue)
		}
		out[name] = values[0]
	}
	return out, nil
}

// runFilter says which runs to list.
type runFilter struct {
	status, host, notification string
	since                      time.Time
	limit                      int
	marker                     string
}

// runStatuses are what a run may be asked by: those of a notification, and held.
func runStatuses() []string {
	return []string{
		string(recovery.StatusRunning), string(recovery.StatusFinished), string(recovery.StatusIgnored),
		string(recovery.StatusError), string(recovery.StatusFailed), statusHeld,
	}
}

func parseRunFilter(r *http.Request, now time.Time) (runFilter, error) {
	p, err := parameters(r, "status", "host", "notification", "since", "limit", "marker")
	if err != nil {
		return runFilter{}, err
	}
	f := runFilter{status: p["status"], host: p["host"], notification: p["notification"], marker: p["marker"], limit: pageSize}
	if f.status != "" && !slices.Contains(runStatuses(), f.status) {
		return f, refuse(http.StatusBadRequest, "want one of "+strings.Join(runStatuses(), ", "), "status %q is none of a run", cut(f.status, 64))
	}
	if s := p["since"]; s != "" {
		if f.since, err = parseSince(s, now); err != nil {
			return f, err
		}
	}
	if s := p["limit"]; s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return f, refuse(http.StatusBadRequest, fmt.Sprintf("want a number from 1 to %d", maxPage), "limit %q is none", cut(s, 64))
		}
		f.limit = min(n, maxPage)
	}
	return f, nil
}

// parseSince reads a point in time, or how long ago it is.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, refuse(http.StatusBadRequest, "want a time such as 2026-11-23T00:17:29Z, or how long ago, such as 90m", "since %q is no time", cut(s, 64))
}

// decode reads the JSON document of a request; with no body it leaves doc as it
// is. Unknown names are refused.
func decode(w http.ResponseWriter, r *http.Request, doc any) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		kind, _, err := mime.ParseMediaType(ct)
		if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
			return refuse(http.StatusUnsupportedMediaType, "send application/json", "content type %q is not taken here", cut(ct, 64))
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return bodyProblem(err, maxBody)
	}
	if strings.TrimSpace(string(body)) == "" {
		return nil
	}
	return decodeJSON(body, doc)
}

func decodeJSON(body []byte, doc any) error {
	// The decoder takes any case of a name and the last of several.
	var names map[string]json.RawMessage
	if err := json.Unmarshal(body, &names); err != nil || names == nil {
		return refuse(http.StatusBadRequest, "", "the body is no JSON object")
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(doc); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return refuse(http.StatusBadRequest, "", "field %s: a %s is not taken there", t.Field, t.Value)
		}
		return refuse(http.StatusBadRequest, "", "the body: %s", cut(strings.TrimPrefix(err.Error(), "json: "), 200))
	}
	return nil
}

// bodyProblem words what went wrong with reading a body.
func bodyProblem(err error, most int64) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Refusal{
			Code: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body has more than %d bytes", most), Err: recovery.ErrTooLarge,
		}
	}
	return refuse(http.StatusBadRequest, "send it again", "the body ended too early, or took too long")
}

// cut bounds a stranger's text.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most] + "…"
}
