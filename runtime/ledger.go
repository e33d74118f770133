package runtime

import "sync/atomic"

// ledger adds up what a sandbox holds against the task's limit of memory: its
// linear memory and tables, answers that it has not waited for, and what its
// host keeps for it.
type ledger struct {
	limits Limits
	used   atomic.Int64 // bytes
}

// take counts n more bytes, unless that is too much together with others that
// the caller knows of. A negative n gives back.
func (l *ledger) take(n, others int64) bool {
	if l.used.Add(n)+others > l.limits.MemoryBytes && n > 0 {
		l.used.Add(-n)
		return false
	}
	return true
}

// keep counts what the host keeps.
func (l *ledger) keep(n int64) error {
	if !l.take(n, 0) {
		return l.limits.memoryError("together with what the host keeps for the task")
	}
	return nil
}

// A Keeper is a Host that keeps bytes for a task until its end, such as values
// that it put. It is given before the task starts what counts them against the
// task's memory: n more bytes, or fewer with a negative n. An error says that
// they are too many. It may be called until Do has returned.
type Keeper interface {
	Host
	Keep(take func(n int64) error)
}

// referenceBytes is the size of an entry of a table.
const referenceBytes = 8

// tableBytes is how large the tables of a module may get; those that a function
// grows are bounded together.
func (l *layout) tableBytes() int64 {
	entries := int64(0)
	for _, t := range l.tables {
		switch {
		case !t.grows:
			entries += t.least
		case t.most < 0:
			entries += maxTableEntries
		default:
			entries += t.most
		}
	}
	return referenceBytes * min(entries, maxTableEntries)
}
