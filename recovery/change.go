package recovery

// Change tells a watcher of the store that something was written. What it
// points to is shared and must not be changed.
type Change struct {
	// Revision grows with every change of the store. Changes that were made
	// together have the same.
	Revision int64
	// Lost says that changes were left out before this one: read anew what
	// matters. Nothing else is set then.
	Lost bool
	// Queue says that something may be claimed now that could not be before: an
	// item came, or is due anew, or what held it back is gone.
	Queue bool
	// Deleted says that the record is gone; of it only the uuid, name or id is
	// set.
	Deleted bool
	// At most one of the records is set.
	Notification *Notification
	Segment      *Segment
	Host         *Host
	VMove        *VMove
	Run          *Run // without inputs, plans, modules and command
	Task         *TaskRecord
	Node         *Node
	// RunID is the run of Task, and of an abort that was asked for, when nothing
	// else is set.
	RunID string
	// Modules says that a module was activated, pinned or removed.
	Modules bool
}
