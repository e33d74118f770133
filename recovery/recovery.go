// Package recovery holds the words of the trade: notifications, segments,
// flows and tasks, the cloud's servers and hosts as a recovery sees them, and
// the errors that speak about them.
//
// It describes what a recovery is, never how one is run, and imports nothing
// but the standard library.
package recovery

import "fmt"

// NotificationType is the kind of failure that a notification reports.
type NotificationType string

// The notification types, spelled as Masakari's API spells them.
const (
	ComputeHost NotificationType = "COMPUTE_HOST"
	VM          NotificationType = "VM"
	Process     NotificationType = "PROCESS"
)

// NotificationStatus is where a notification stands.
type NotificationStatus string

// The statuses of a notification, spelled as Masakari's API spells them.
const (
	StatusNew      NotificationStatus = "new"
	StatusRunning  NotificationStatus = "running"
	StatusFinished NotificationStatus = "finished"
	StatusIgnored  NotificationStatus = "ignored"
	StatusError    NotificationStatus = "error"
	StatusFailed   NotificationStatus = "failed"
)

// RecoveryMethod says how the servers of a failed host find a new one.
type RecoveryMethod string

// The recovery methods, spelled as Masakari's API spells them.
const (
	// Auto lets Nova's scheduler choose the targets.
	Auto RecoveryMethod = "auto"
	// ReservedHost evacuates to one reserved host after the other.
	ReservedHost RecoveryMethod = "reserved_host"
	// AutoPriority is Auto, then ReservedHost when that failed.
	AutoPriority RecoveryMethod = "auto_priority"
	// ReservedHostPriority is ReservedHost, then Auto when that failed.
	ReservedHostPriority RecoveryMethod = "rh_priority"
)

// Flows lists the kinds of host flow that m tries, in order. It is nil for an
// unknown method.
func (m RecoveryMethod) Flows() []FlowKind {
	switch m {
	case Auto:
		return []FlowKind{HostAuto}
	case ReservedHost:
		return []FlowKind{HostReserved}
	case AutoPriority:
		return []FlowKind{HostAuto, HostReserved}
	case ReservedHostPriority:
		return []FlowKind{HostReserved, HostAuto}
	}
	return nil
}

// Segment is a failover segment: a named group of compute hosts with one
// recovery method.
type Segment struct {
	UUID           string         `json:"uuid"`
	Name           string         `json:"name"`
	Description    *string        `json:"description,omitempty"` // nil is null in Masakari's API
	ServiceType    string         `json:"service_type,omitempty"`
	RecoveryMethod RecoveryMethod `json:"recovery_method"`
	Enabled        bool           `json:"enabled"`
	Stamp          Stamp          `json:"stamp,omitzero"`
}

// Host is a compute host as a segment knows it. Its name is the host name of
// its nova-compute service.
type Host struct {
	UUID              string `json:"uuid"`
	Name              string `json:"name"`
	Type              string `json:"type,omitempty"`
	ControlAttributes string `json:"control_attributes,omitempty"`
	Reserved          bool   `json:"reserved"`
	OnMaintenance     bool   `json:"on_maintenance"`
	SegmentUUID       string `json:"failover_segment_id,omitempty"`
	Stamp             Stamp  `json:"stamp,omitzero"`
}

// VMoveStatus is where the move of one server stands.
type VMoveStatus string

// The statuses of a vmove, spelled as Masakari's API spells them.
const (
	VMovePending   VMoveStatus = "pending"
	VMoveOngoing   VMoveStatus = "ongoing"
	VMoveSucceeded VMoveStatus = "succeeded"
	VMoveFailed    VMoveStatus = "failed"
	VMoveIgnored   VMoveStatus = "ignored"
)

// Final reports whether no further change of the vmove is to come.
func (s VMoveStatus) Final() bool {
	return s == VMoveSucceeded || s == VMoveFailed || s == VMoveIgnored
}

// VMove records the move of one server in a host recovery. There is one for
// each attempt at a server; the one with the highest Attempt counts.
type VMove struct {
	UUID             string      `json:"uuid"`
	NotificationUUID string      `json:"notification_uuid"`
	InstanceUUID     string      `json:"instance_uuid"`
	InstanceName     string      `json:"instance_name"`
	Type             string      `json:"type"` // evacuation, migration or live_migration
	Status           VMoveStatus `json:"status"`
	SourceHost       string      `json:"source_host"`
	DestHost         string      `json:"dest_host,omitempty"`
	Message          string      `json:"message,omitempty"`
	StartTime        string      `json:"start_time,omitempty"` // RFC 3339, UTC
	EndTime          string      `json:"end_time,omitempty"`   // RFC 3339, UTC
	// Attempt counts from 1 and grows each time main is repeated with another
	// reserved host, a fallback flow runs, or a run is retried.
	Attempt int `json:"attempt"`
	// Run is the run that made it; tasks are not told.
	Run   string `json:"run,omitempty"`
	Stamp Stamp  `json:"stamp,omitzero"`
}

// FlowKind names a flow as the command line does.
type FlowKind string

// The flows: Masakari's four, and that of a host that is back, which runs only
// where the operator wants it.
const (
	HostAuto        FlowKind = "host-auto"
	HostReserved    FlowKind = "host-rh"
	InstanceFailure FlowKind = "instance"
	ProcessFailure  FlowKind = "process"
	HostRepair      FlowKind = "host-repair"
)

// FlowKinds lists the flows in the order in which texts speak of them.
func FlowKinds() []FlowKind {
	return []FlowKind{HostAuto, HostReserved, InstanceFailure, ProcessFailure, HostRepair}
}

// FailedHost reports whether the flow is one for a compute host that is dead.
func (k FlowKind) FailedHost() bool { return k == HostAuto || k == HostReserved }

// FlowSection is the section of the configuration that holds the flow options.
const FlowSection = "taskflow_driver_recovery_flows"

// Option returns the name of the option, in FlowSection, that holds the flow.
func (k FlowKind) Option() string {
	switch k {
	case HostAuto:
		return "host_auto_failure_recovery_tasks"
	case HostReserved:
		return "host_rh_failure_recovery_tasks"
	case InstanceFailure:
		return "instance_failure_recovery_tasks"
	case ProcessFailure:
		return "process_failure_recovery_tasks"
	case HostRepair:
		return "host_repair_tasks"
	}
	return ""
}

// Notification returns the type of notification that the flow answers.
func (k FlowKind) Notification() NotificationType {
	switch k {
	case HostAuto, HostReserved, HostRepair:
		return ComputeHost
	case InstanceFailure:
		return VM
	case ProcessFailure:
		return Process
	}
	return ""
}

// ParseFlowKind accepts a flow's name or that of its option.
func ParseFlowKind(s string) (FlowKind, error) {
	for _, k := range FlowKinds() {
		if s == string(k) || s == k.Option() {
			return k, nil
		}
	}
	return "", fmt.Errorf("flow %q: %w: want host-auto, host-rh, instance, process, host-repair or the name of the flow's option", s, ErrInvalid)
}

// Phase is a part of a flow.
type Phase string

// The phases, in the order in which they run.
const (
	Pre  Phase = "pre"
	Main Phase = "main"
	Post Phase = "post"
)

// Phases lists the phases in the order in which they run.
func Phases() []Phase { return []Phase{Pre, Main, Post} }

// Position is a place in a configuration file. Line and Col count from 1; the
// zero value means a default or a place outside any file, named by File alone
// (such as "environment OS_DEFAULT__DEBUG").
type Position struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"` // in bytes
}

// String gives file:line:col, as compilers do.
func (p Position) String() string {
	switch {
	case p.File == "":
		return "default"
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// TaskRef is one place in a flow: the entry-point key of the task that runs
// there, and where the operator wrote it.
type TaskRef struct {
	Key string   `json:"key"`
	Pos Position `json:"pos,omitzero"`
}

// Flow is the plan for one kind of failure.
type Flow struct {
	Kind FlowKind  `json:"kind"`
	Pre  []TaskRef `json:"pre"`
	Main []TaskRef `json:"main"`
	Post []TaskRef `json:"post"`
	Pos  Position  `json:"pos,omitzero"`
}

// Tasks returns the tasks of one phase.
func (f Flow) Tasks(p Phase) []TaskRef {
	switch p {
	case Pre:
		return f.Pre
	case Main:
		return f.Main
	case Post:
		return f.Post
	}
	return nil
}

// Task is what the manifest of an admitted module says about one task.
type Task struct {
	Key     string
	Class   string // shown to clients; the key when the manifest names none
	Summary string
	Library string
	// Tenant is the project that brought the module; empty: the operator.
	Tenant      string
	Version     string
	Digest      string // sha256 of the module, hex
	Source      string // the file it came from, or "built in"
	Requires    []string
	Optional    []string
	Provides    []string
	Uses        []string // ops or group.*
	HTTP        []string // what http.request is for: "METHOD URL"
	Options     []OptionSpec
	OnInterrupt OnInterrupt
	// Standard is true for the standard tasks, which may require
	// protected names and read Masakari's own options.
	Standard bool
	// HasRevert is true when the module exports revert.
	HasRevert bool
}

// OnInterrupt says what to do when the process died while a task ran.
type OnInterrupt string

// The choices of on_interrupt.
const (
	Rerun           OnInterrupt = "rerun"
	FailOnInterrupt OnInterrupt = "fail"
)

// OptionType is the type of an option, named as oslo.config names it.
type OptionType string

// The option types.
const (
	StringOption  OptionType = "string"
	BoolOption    OptionType = "bool"
	IntOption     OptionType = "int"
	FloatOption   OptionType = "float"
	ListOption    OptionType = "list"
	HostOption    OptionType = "host"
	URIOption     OptionType = "uri"
	FlowOption    OptionType = "flow"    // dictionary of lists; Wasakari's and Masakari's own only
	MultiOption   OptionType = "multi"   // one value per line; Wasakari's and Masakari's own only
	SecondsOption OptionType = "seconds" // an int that is a time in seconds
	// IntOrAutoOption is an int, or the word auto, which leaves the number to
	// the task; it delivers an int64 or the string AutoValue.
	IntOrAutoOption OptionType = "int_or_auto"
)

// AutoValue is the word that an option of type IntOrAutoOption may have as its
// value.
const AutoValue = "auto"

// OptionSpec describes one option of a configuration file.
type OptionSpec struct {
	Group   string     `json:"group"`
	Name    string     `json:"name"`
	Type    OptionType `json:"type"`
	Default any        `json:"default,omitempty"` // of the Go type that the option delivers; nil: unset
	Help    string     `json:"help,omitempty"`
	Choices []string   `json:"choices,omitempty"`
	Min     *int64     `json:"min,omitempty"`
	Max     *int64     `json:"max,omitempty"`
	// Required is true when the operator must set it.
	Required bool `json:"required,omitempty"`
	// Secret is true when the value must not be shown.
	Secret bool `json:"secret,omitempty"`
	// Shared is true for an option of Masakari itself that any task may read,
	// without a grant.
	Shared bool `json:"shared,omitempty"`
}
