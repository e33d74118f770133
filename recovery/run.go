package recovery

import (
	"encoding/json"
	"time"
)

// TaskStatus is where one task of a run stands.
type TaskStatus string

// The statuses of a task.
const (
	TaskPending      TaskStatus = "pending"
	TaskRunning      TaskStatus = "running"
	TaskSucceeded    TaskStatus = "succeeded"
	TaskFailed       TaskStatus = "failed"
	TaskNothingToDo  TaskStatus = "nothing_to_do" // ended the flow well
	TaskIgnored      TaskStatus = "ignored"       // the notification ends ignored
	TaskInterrupted  TaskStatus = "interrupted"   // the process died or was asked to stop
	TaskReverting    TaskStatus = "reverting"     // its revert is running, or was when the process ended
	TaskReverted     TaskStatus = "reverted"
	TaskRevertFailed TaskStatus = "revert_failed"
)

// Progress is one progress message of a task.
type Progress struct {
	Time     time.Time `json:"timestamp"`
	Permille int       `json:"permille"` // 0 to 1000
	Message  string    `json:"message"`
}

// TaskRecord is the journal's entry about one execution of one task.
type TaskRecord struct {
	// Seq counts the executions of a run, from 1.
	Seq          int        `json:"seq"`
	Flow         FlowKind   `json:"flow"`
	Key          string     `json:"key"`
	Class        string     `json:"class"`
	Phase        Phase      `json:"phase"`
	Index        int        `json:"index"`   // place in the phase, from 0
	Round        int        `json:"round"`   // which repetition of main, from 1
	Attempt      int        `json:"attempt"` // how often this place was started, from 1
	ReservedHost string     `json:"reserved_host,omitempty"`
	Status       TaskStatus `json:"status"`
	Message      string     `json:"message,omitempty"`
	Started      time.Time  `json:"started"`
	Ended        time.Time  `json:"ended,omitzero"`
	Progress     []Progress `json:"progress,omitempty"`
	// Revert says how the execution ended and how its revert stands; nil while
	// no revert was begun. Status then tells of the revert.
	Revert *RevertRecord `json:"revert,omitempty"`
}

// RevertRecord is the journal's entry about the revert of one execution.
type RevertRecord struct {
	Of      TaskStatus `json:"of"`               // how the execution itself had ended
	Reason  string     `json:"reason,omitempty"` // its own message
	Attempt int        `json:"attempt"`          // how often the revert was started, from 1
	Started time.Time  `json:"started"`
	Ended   time.Time  `json:"ended,omitzero"`
}

// Outcome is how one execution of a task ended.
type Outcome struct {
	Status   TaskStatus // succeeded, failed, nothing_to_do, ignored or interrupted
	Message  string     // the reason, for a person
	Provided map[string]json.RawMessage
	Progress []Progress
}

// Run is one execution of a flow for one notification.
type Run struct {
	ID       string                     `json:"id"`
	Flows    []FlowKind                 `json:"flows"` // in the order in which they are tried
	Inputs   map[string]json.RawMessage `json:"inputs"`
	Status   NotificationStatus         `json:"status"`
	Message  string                     `json:"message,omitempty"`
	Started  time.Time                  `json:"started"`
	Ended    time.Time                  `json:"ended,omitzero"`
	Modules  map[string]string          `json:"modules"`           // key -> digest, pinned at the start
	Plans    map[FlowKind]Flow          `json:"plans"`             // pinned at the start
	Command  json.RawMessage            `json:"command,omitempty"` // what the front end needs to go on; no secrets
	Finished bool                       `json:"finished"`
	// Admitted says when the guards against harm let the run through; zero: not
	// yet, or there was nothing to ask them.
	Admitted time.Time `json:"admitted,omitzero"`
	// Override is why a person let the run go on beyond the guards' bounds.
	Override string `json:"override,omitempty"`
	// Held is the guard that held the run before its first change.
	Held *HeldError `json:"held,omitempty"`
	// Notification is the UUID of the notification that the run answers; empty for
	// a run from the command line. Delivery counts the runs of one notification,
	// from 1.
	Notification string `json:"notification,omitempty"`
	Delivery     int    `json:"delivery,omitempty"`
	// Host is the compute host, Server the VM, that the run is about; either may
	// be empty. Segment is the uuid of the host's failover segment.
	Host    string `json:"host,omitempty"`
	Server  string `json:"server,omitempty"`
	Segment string `json:"segment,omitempty"`
	// Node is the Wasakari process that works on the run, or did last.
	Node string `json:"node,omitempty"`
	// Abort is what a person asked for while the run was going on.
	Abort *Abort `json:"abort,omitempty"`
}

// AbortMode says what becomes of a run that a person aborts.
type AbortMode string

// The modes of an abort. Either way the undo list is worked off.
const (
	// AbortRevert fails the task at work and reverts the tasks that ran.
	AbortRevert AbortMode = "revert"
	// AbortStop stops the task at work and leaves what was done as it is.
	AbortStop AbortMode = "stop"
)

// Abort is the wish of a person, or of a run that supersedes this one, that a
// run ends. The run ends failed, or ignored when another one supersedes it.
type Abort struct {
	Mode   AbortMode `json:"mode"`
	Reason string    `json:"reason"`
	By     string    `json:"by,omitempty"` // user id, or run:ID
	// Status is how the notification is to end.
	Status NotificationStatus `json:"status"`
}

// IntentState says how a change stands.
type IntentState string

// The states of an intent.
const (
	IntentOpen    IntentState = "open"    // written before the request; no result yet
	IntentDone    IntentState = "done"    // the cloud took it
	IntentRefused IntentState = "refused" // the cloud refused it; nothing changed
	IntentLost    IntentState = "lost"    // looked for and found never to have arrived
)

// Intent is the record, written before it is sent, of one change to the cloud.
type Intent struct {
	ID      string    `json:"id"`     // unique in the run
	Op      string    `json:"op"`     // such as nova.server_evacuate
	Target  string    `json:"target"` // server uuid, host name, or aggregate/host
	Task    string    `json:"task"`
	Attempt int       `json:"attempt"`
	Started time.Time `json:"started"`
	// Known holds what identifies changes of this kind that were there before
	// the request was sent: action request ids, or migration uuids.
	Known     []string    `json:"known,omitempty"`
	State     IntentState `json:"state"`
	RequestID string      `json:"request_id,omitempty"`
	Message   string      `json:"message,omitempty"`
}

// Undo is something that must not stay when the run is over, written before it
// is done.
type Undo struct {
	Key    string   `json:"key"` // unique in the run: kind/target
	Kind   UndoKind `json:"kind"`
	Target string   `json:"target"` // server uuid, host name, or aggregate id
	Host   string   `json:"host,omitempty"`
	Reason string   `json:"reason,omitempty"` // the mark that we left
}

// UndoKind says what is to be undone.
type UndoKind string

// The kinds of undo.
const (
	UndoLock          UndoKind = "unlock_server"
	UndoServiceEnable UndoKind = "disable_service"
	UndoAggregateHost UndoKind = "remove_aggregate_host"
)

// Event tells an observer what a run is doing. Exactly one of the pointers is
// set.
type Event struct {
	Time  time.Time
	Run   *Run        // a run started or ended
	Task  *TaskRecord // a task started or ended, or made progress
	VMove *VMove      // a vmove was written
	Log   *LogLine    // a task logged a line
}

// LogLine is one line that a task logged.
type LogLine struct {
	Task    string
	Tenant  string // that brought the task; empty: the operator
	Level   string // debug, info, warn or error
	Message string
}

// ProtectedNames lists the values whose provider needs the grant
// provides:<name>: those that a standard task requires, the fence proof and
// the list of instances. A task that could set them could send a recovery to
// a healthy host.
func ProtectedNames() []string {
	return []string{
		"fence_proof", "host_name", "instance_list", "instance_uuid",
		"notification_uuid", "process_name", "reserved_host", "reserved_host_list",
	}
}

// InputNames lists what the flow seeds: the names that a task of this kind of
// flow may require in the given phase. They are read-only.
func (k FlowKind) InputNames(p Phase) []string {
	common := []string{"notification_uuid", "recovery_method", "segment", "event", "payload", "generated_time"}
	switch k {
	case HostAuto, HostRepair:
		return append(common, "host_name")
	case HostReserved:
		common = append(common, "host_name", "reserved_host_list")
		if p == Main || p == Post {
			common = append(common, "reserved_host")
		}
		return common
	case InstanceFailure:
		return append(common, "instance_uuid", "host_name")
	case ProcessFailure:
		return append(common, "process_name", "host_name")
	}
	return nil
}

// KVValue is one value of a key-value store.
type KVValue struct {
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value"`
	Version int64           `json:"version"`          // grows with every write of the key, from 1
	Expires time.Time       `json:"expires,omitzero"` // zero: never
}
