package recovery

import (
	"encoding/json"
	"time"
)

// Stamp is what Masakari's API tells of each record beside its content. Only
// the store sets it.
type Stamp struct {
	// ID is a number that is never given twice and grows with time.
	ID      int64     `json:"id"`
	Created time.Time `json:"created"`          // UTC
	Updated time.Time `json:"updated,omitzero"` // UTC; zero: never updated
}

// The events of a notification's payload that say whether something failed or
// came back.
const (
	EventStarted = "STARTED"
	EventStopped = "STOPPED"
)

// Notification reports a failure, or that something came back.
type Notification struct {
	UUID string           `json:"uuid"`
	Type NotificationType `json:"type"`
	// HostUUID and HostName are those of the host that it is about, SegmentUUID
	// that of the host's segment when it was accepted.
	HostUUID    string `json:"source_host_uuid"`
	HostName    string `json:"host_name"`
	SegmentUUID string `json:"failover_segment_uuid"`
	// Generated is by the sender's clock. Ages count from Stamp.Created.
	Generated time.Time `json:"generated_time"`
	// Payload is an object whose values are strings.
	Payload json.RawMessage    `json:"payload"`
	Status  NotificationStatus `json:"status"`
	Message string             `json:"message,omitempty"`
	// Runs lists the ids of its runs, oldest first.
	Runs []string `json:"runs,omitempty"`
	// RequestID is that of the request that brought it, Trace the W3C traceparent
	// of that request, empty when there was none.
	RequestID string `json:"request_id,omitempty"`
	Trace     string `json:"trace,omitempty"`
	Stamp     Stamp  `json:"stamp,omitzero"`
}

// Final reports whether a notification with the status is done with.
func (s NotificationStatus) Final() bool {
	return s == StatusFinished || s == StatusIgnored || s == StatusFailed
}

// PayloadText gives a field of the payload, empty when there is none.
func (n Notification) PayloadText(name string) string {
	var fields map[string]json.RawMessage
	var s string
	if json.Unmarshal(n.Payload, &fields) != nil || json.Unmarshal(fields[name], &s) != nil {
		return ""
	}
	return s
}

// ServerUUID gives the server that a notification of type VM is about.
func (n Notification) ServerUUID() string { return n.PayloadText("instance_uuid") }

// QueueItem is a notification that waits for a run.
type QueueItem struct {
	Notification string           `json:"notification"`
	Type         NotificationType `json:"type"`
	Host         string           `json:"host"`
	Server       string           `json:"server,omitempty"` // of type VM
	// Deliveries counts the runs that were begun for it.
	Deliveries int       `json:"deliveries"`
	Added      time.Time `json:"added"`
	// NotBefore keeps it in the queue until then; zero: it is due.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Run is the id of the run that was begun and has not ended; whoever claims
	// the item goes on with it.
	Run string `json:"run,omitempty"`
	// Override is why a person lets the next run go on beyond the guards' bounds.
	Override string `json:"override,omitempty"`
	// Supersedes is true for an item about a failed compute host, which ends the VM runs
	// of its host.
	Supersedes bool `json:"supersedes,omitempty"`
}

// Node is a Wasakari process of a cluster that is alive.
type Node struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Runs lists the ids of the runs that it works on.
	Runs []string `json:"runs"`
	// Draining is true when it takes no more runs.
	Draining bool `json:"draining,omitempty"`
	// Modules is the revision of the modules that it has compiled.
	Modules int64 `json:"modules"`
}

// ModuleVersion is one version of a module that was uploaded. It never changes.
type ModuleVersion struct {
	Digest   string    `json:"digest"` // sha256, hex
	Library  string    `json:"library"`
	Tenant   string    `json:"tenant,omitempty"` // empty: the operator
	Version  string    `json:"version"`          // of the manifest
	Keys     []string  `json:"keys"`
	Size     int64     `json:"size"` // bytes
	Uploaded time.Time `json:"uploaded"`
	By       string    `json:"by,omitempty"` // user id
	// Engine is what runs the module's script; nil: it needs none.
	Engine *ModuleEngine `json:"engine,omitempty"`
	// Active is true for the version that new runs take.
	Active bool `json:"active"`
	// Pinned is true when an operator chose it: an upload does not replace it.
	Pinned bool `json:"pinned,omitempty"`
}

// ModuleEngine names the engine that runs a script module.
type ModuleEngine struct {
	Name   string `json:"name"`   // of the language
	Digest string `json:"digest"` // sha256, hex
	// State says where it is; empty where nobody looked.
	State EngineState `json:"state,omitempty"`
}

// EngineState says where an engine is.
type EngineState string

// Where engines are.
const (
	EngineCarried EngineState = "carried" // in the program that was asked
	EngineKept    EngineState = "kept"    // it is of another release, and the store keeps it
	EngineMissing EngineState = "missing"
)
