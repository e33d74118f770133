package recovery

import (
	"encoding/json"
	"fmt"
	"time"
)

// Bounds of what libraries and tasks keep, in bytes, whoever keeps it.
const (
	MaxKVOwner = 512       // of the name of a library, or of a place in a run
	MaxKVName  = 255       // of a key
	MaxKVValue = 256 << 10 // of a value

	DefaultScratchBytes = 1 << 20  // of one place
	DefaultLibraryBytes = 10 << 20 // of one library
)

// kvEntryCost is what an entry costs beyond its name and value, in bytes.
const kvEntryCost = 64

// KVQuota is how many bytes an owner may keep, and the option that says so.
type KVQuota struct {
	Bytes  int64
	Option string
}

// Check refuses to keep so many bytes, with ErrQuota; name is the key that would
// be written.
func (q KVQuota) Check(name string, used int64) error {
	if used > q.Bytes {
		return fmt.Errorf("key %q: %w: %d bytes in all, at most %d (option %s)", name, ErrQuota, used, q.Bytes, q.Option)
	}
	return nil
}

// CheckKVKey refuses names of an owner and a key that cannot be kept.
func CheckKVKey(owner, name string) error {
	switch {
	case owner == "" || len(owner) > MaxKVOwner:
		return fmt.Errorf("%w: owner of %d bytes", ErrInvalid, len(owner))
	case name == "":
		return fmt.Errorf("%w: a key needs a name", ErrInvalid)
	case len(name) > MaxKVName:
		return fmt.Errorf("%w: a key of %d bytes, at most %d", ErrTooLarge, len(name), MaxKVName)
	}
	return nil
}

// CheckKVValue refuses a value that cannot be kept; name is its key.
func CheckKVValue(name string, value json.RawMessage) error {
	if len(value) > MaxKVValue {
		return fmt.Errorf("key %q: %w: a value of %d bytes, at most %d", name, ErrTooLarge, len(value), MaxKVValue)
	}
	if !json.Valid(value) {
		return fmt.Errorf("key %q: %w: the value is not JSON", name, ErrInvalid)
	}
	return nil
}

// Expired reports whether the value counts as gone.
func (v KVValue) Expired() bool { return !v.Expires.IsZero() && !time.Now().Before(v.Expires) }

// Cost is what the value costs of its owner's quota, in bytes.
func (v KVValue) Cost() int64 { return int64(kvEntryCost + len(v.Name) + len(v.Value)) }

// CompareKV holds the version of a key against the wanted one; nil wants none. old
// is what there is of it, when there is something. The error matches ErrConflict.
func CompareKV(name string, old KVValue, there bool, want *int64) error {
	var has int64
	if there && !old.Expired() {
		has = old.Version
	}
	if want != nil && *want != has {
		return fmt.Errorf("key %q: %w: it has version %d, not %d", name, ErrConflict, has, *want)
	}
	return nil
}
