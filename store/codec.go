package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// Errors that callers tell apart.
var (
	// ErrDamaged says that a record cannot be read as what it should be.
	ErrDamaged = errors.New("damaged")
	// ErrNewer says that a newer Wasakari wrote a record.
	ErrNewer = errors.New("written by a newer wasakari")
)

// format is the version of the layout and of the records.
const format = 1

// maxHead bounds the first line of a record.
const maxHead = 256

// head is the first line of a record.
type head struct {
	Format int `json:"f"`
	// Version and Expires are of the entries of key-value stores.
	Version int64 `json:"v,omitempty"`
	Expires int64 `json:"e,omitempty"` // nanoseconds since 1970; 0: never
	// Place tells records apart that one transaction made.
	Place int64 `json:"p,omitempty"`
}

// idsPerRevision is how many records with a number one transaction can make. Only
// Restore makes more than one.
const idsPerRevision = 128

// id is the number that the API shows for a record, of the revision that made
// it and its place in that transaction.
func id(created, place int64) int64 { return created*idsPerRevision + place }

// join makes a record of its head and its body.
func join(h head, body []byte) []byte {
	h.Format = format
	line, _ := json.Marshal(h) // numbers always encode
	out := make([]byte, 0, len(line)+1+len(body))
	out = append(out, line...)
	out = append(out, '\n')
	return append(out, body...)
}

// split takes a record apart. The body is not copied.
func split(data []byte) (head, []byte, error) {
	var h head
	end := bytes.IndexByte(data[:min(len(data), maxHead)], '\n')
	if end < 0 {
		return h, nil, fmt.Errorf("%w: no first line", ErrDamaged)
	}
	line, body := data[:end], data[end+1:]
	if err := json.Unmarshal(line, &h); err != nil {
		return h, nil, fmt.Errorf("%w: first line: %w", ErrDamaged, err)
	}
	switch {
	case h.Format > format:
		return h, nil, fmt.Errorf("%w: format %d, and this one knows up to %d; go on with the newer one", ErrNewer, h.Format, format)
	case h.Format < 1, h.Version < 0, h.Place < 0, h.Place >= idsPerRevision:
		return h, nil, fmt.Errorf("%w: first line %q", ErrDamaged, line)
	}
	return h, body, nil
}

// encode makes a record. The number of one that has a stamp is derived from where
// the record lies: only its place is written.
func encode(doc any) ([]byte, error) {
	var h head
	bare := func(st *recovery.Stamp) { h.Place, st.ID = st.ID%idsPerRevision, 0 }
	switch v := doc.(type) {
	case recovery.Segment:
		bare(&v.Stamp)
		doc = v
	case recovery.Host:
		bare(&v.Stamp)
		doc = v
	case recovery.Notification:
		bare(&v.Stamp)
		doc = v
	case recovery.VMove:
		bare(&v.Stamp)
		doc = v
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %T: %w", recovery.ErrInvalid, doc, err)
	}
	return join(h, body), nil
}

func decode(data []byte, into any) error {
	_, err := decodeHead(data, into)
	return err
}

func decodeHead(data []byte, into any) (head, error) {
	h, body, err := split(data)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return h, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return h, nil
}

// decodeMade is decode for a document with a stamp, whose number tells of the
// revision that made it.
func decodeMade(data []byte, created int64, into any, st *recovery.Stamp) error {
	h, err := decodeHead(data, into)
	st.ID = id(created, h.Place)
	return err
}

func decodeSegment(data []byte, created int64) (v recovery.Segment, err error) {
	err = decodeMade(data, created, &v, &v.Stamp)
	return v, err
}

func decodeHost(data []byte, created int64) (v recovery.Host, err error) {
	err = decodeMade(data, created, &v, &v.Stamp)
	return v, err
}

func decodeNotification(data []byte, created int64) (v recovery.Notification, err error) {
	err = decodeMade(data, created, &v, &v.Stamp)
	return v, err
}

func decodeVMove(data []byte, created int64) (v recovery.VMove, err error) {
	err = decodeMade(data, created, &v, &v.Stamp)
	return v, err
}

// esc makes a part of a key of what others chose.
func esc(s string) string { return url.PathEscape(s) }

func unesc(s string) string {
	out, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return out
}

// parts takes the end of a key apart.
func parts(key, prefix string) []string {
	return strings.Split(strings.TrimPrefix(key, prefix), "/")
}

// maxText bounds what others chose and keys are made of.
const maxText = 1024

// checkNames bounds names and ids.
func checkNames(names ...string) error {
	for _, name := range names {
		if len(name) > maxText {
			return fmt.Errorf("%w: a name of %d bytes, at most %d", recovery.ErrTooLarge, len(name), maxText)
		}
	}
	return nil
}
