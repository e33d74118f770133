package openstack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/wasakari/wasakari/recovery"
)

const (
	maxMessage   = 1000 // bytes of a message in JSON
	maxHTML      = 200  // bytes kept of a page that a proxy wrote
	maxRequestID = 128
)

// translate turns what gophercloud returned for one request into a
// *recovery.CloudError. It is the only place where that is decided:
//
//	400, 405, 406 and other 4xx  ErrInvalid
//	401  ErrUnauthorized         403  ErrForbidden
//	404  ErrNotFound             409  ErrConflict
//	413, 429  ErrQuota: refused for now; of a change, certainly not done
//	3xx  ErrUnavailable: nothing was done
//	5xx  ErrUnavailable; of a change also ErrUnknownOutcome
//	no answer  ErrUnavailable, ErrTimeout or ErrCanceled; of a change that may
//	have been sent also ErrUnknownOutcome
//
// Where the caller's context ended, its error is wrapped as well.
func translate(ctx context.Context, k kind, op string, err error) *recovery.CloudError {
	// A change that met 401 was not done, whatever became of logging in again.
	if reauth, ok := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err); ok {
		e := translate(ctx, login, op, reauth.ErrReauth)
		e.Message = "the token expired and logging in again did not work: " + e.Message
		return e
	}
	e := &recovery.CloudError{Op: op}
	if answer, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		e.Status = answer.Actual
		e.RequestID = requestID(answer.ResponseHeader)
		e.Message = message(answer.Body)
		e.Err = statusMeaning(k, answer.Actual)
		if e.Message == "" {
			e.Message = strings.ToLower(http.StatusText(answer.Actual))
		}
		return e
	}

	where := ""
	if u, ok := errors.AsType[*url.Error](err); ok {
		if parsed, perr := url.Parse(u.URL); perr == nil {
			where = parsed.Scheme + "://" + parsed.Host + ": "
		}
	}
	lost, isLost := errors.AsType[*lostError](err)
	switch {
	case ctx.Err() != nil:
		e.Message = "stopped before the answer came"
		e.Err = ctx.Err()
		if errors.Is(e.Err, context.DeadlineExceeded) {
			e.Err = fmt.Errorf("%w: %w", recovery.ErrTimeout, e.Err)
		} else {
			e.Err = fmt.Errorf("%w: %w", recovery.ErrCanceled, e.Err)
		}
	case isLost && lost.late, errors.Is(err, context.DeadlineExceeded):
		e.Message = where + "no answer in time"
		e.Err = recovery.ErrTimeout
	case errors.Is(err, recovery.ErrTooLarge):
		e.Message = where + recovery.OneLine(err.Error())
		e.Err = recovery.ErrTooLarge
	default:
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		e.Message = where + recovery.OneLine(err.Error())
		e.Err = recovery.ErrUnavailable
	}
	if k == change && (isLost && lost.sent || errors.Is(err, recovery.ErrTooLarge)) {
		e.Err = fmt.Errorf("%w: %w", recovery.ErrUnknownOutcome, e.Err)
	}
	return e
}

func statusMeaning(k kind, status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return recovery.ErrUnauthorized
	case status == http.StatusForbidden:
		return recovery.ErrForbidden
	case status == http.StatusNotFound:
		return recovery.ErrNotFound
	case status == http.StatusConflict:
		return recovery.ErrConflict
	case status == http.StatusRequestEntityTooLarge, status == http.StatusTooManyRequests:
		return recovery.ErrQuota
	case status >= 500 && k == change:
		return fmt.Errorf("%w: %w", recovery.ErrUnknownOutcome, recovery.ErrUnavailable)
	case status >= 400 && status < 500:
		return recovery.ErrInvalid
	}
	return recovery.ErrUnavailable
}

// message finds the text in the body of an error: Nova's {"badRequest":
// {"message": …}}, Keystone's {"error": {"message": …}}, a proxy's page.
func message(body []byte) string {
	body = bytes.TrimSpace(body)
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) == nil {
		for _, key := range slices.Sorted(maps.Keys(doc)) {
			var inner struct {
				Message any `json:"message"`
			}
			if json.Unmarshal(doc[key], &inner) == nil {
				if s, ok := inner.Message.(string); ok && s != "" {
					return recovery.Shorten(recovery.OneLine(s), maxMessage)
				}
			}
		}
		for _, key := range []string{"message", "error", "faultstring"} {
			var s string
			if json.Unmarshal(doc[key], &s) == nil && s != "" {
				return recovery.Shorten(recovery.OneLine(s), maxMessage)
			}
		}
		if s := detail(doc["errors"]); s != "" {
			return recovery.Shorten(recovery.OneLine(s), maxMessage)
		}
		return recovery.Shorten(recovery.OneLine(string(body)), maxHTML)
	}
	if len(body) > 64<<10 {
		body = body[:64<<10]
	}
	text := invisible.ReplaceAllString(string(body), " ")
	return recovery.Shorten(recovery.OneLine(tag.ReplaceAllString(text, " ")), maxHTML)
}

var (
	invisible = regexp.MustCompile(`(?is)<(head|style|script)\b.*?</(head|style|script)>`)
	tag       = regexp.MustCompile(`(?s)<[^>]*>`)
)

// requestID gives the id that a request's action is found under later.
func requestID(h http.Header) string {
	id := h.Get("X-Openstack-Request-Id")
	if id == "" {
		id = h.Get("X-Compute-Request-Id")
	}
	if id = recovery.OneLine(id); len(id) > maxRequestID {
		return ""
	}
	return id
}
