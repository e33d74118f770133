package evacuate

import "strings"

// State is what of a server's state decides how it is recovered.
type State struct {
	VM   string // vm_state
	Task string // task_state, empty when Nova does nothing with the server
	Off  bool   // power_state is 4, shut down
}

// Action is what is to be done first with a server of a failed host.
type Action int

// The actions.
const (
	// Move it.
	Move Action = iota
	// Await what Nova is doing with it; a second request would ruin it.
	Await
	// Leave it where it is.
	Leave
)

// Plan says how one server is recovered.
type Plan struct {
	Action Action
	// Reset is true when Nova moves the server only in vm_state error.
	Reset bool
	// End is the vm_state wanted at the end: active, stopped, or error, which
	// is powered off and in error as upstream leaves it.
	End string
	// Reason says why a server is left.
	Reason string
}

// PlanFor is the table of states. With skipOthers a server that would have to
// be reset first is left.
func PlanFor(s State, skipOthers bool) Plan {
	switch {
	case s.VM == "building" || s.VM == "deleted" || s.VM == "soft-delete":
		return Plan{Action: Leave, Reason: "it is in vm_state " + s.VM}
	case s.Task == "deleting" || s.Task == "soft-deleting":
		return Plan{Action: Leave, Reason: "it is in task_state " + s.Task}
	case s.VM == "shelved_offloaded":
		return Plan{Action: Leave, Reason: "it is shelved and on no host"}
	}
	p := Plan{End: s.VM}
	switch s.VM {
	case "active", "stopped", "error":
		// Nova does not look at task_state.
	case "resized":
		p.Reset, p.End = true, "active"
		if s.Off {
			p.End = "stopped"
		}
	default:
		p.Reset, p.End = true, "stopped"
	}
	switch {
	case p.Reset && skipOthers:
		return Plan{Action: Leave, Reason: "it is in vm_state " + s.VM + " and [host_failure] other_states is skip"}
	case strings.HasPrefix(s.Task, "rebuild"):
		p.Action = Await
	}
	return p
}

// What a vmove's message begins with: the state in which the server was
// found. The record outlives attempts and rounds, vm_state does not: resetting
// a server, or an evacuation that fails, leaves it in error.
const (
	notePrefix = "was "
	noteOff    = " and off"
	noteSep    = "; "
)

// Note gives the beginning of a vmove's message.
func (s State) Note() string {
	if s.VM == "resized" && s.Off {
		return notePrefix + s.VM + noteOff
	}
	return notePrefix + s.VM
}

// Noted reads the state from a vmove's message.
func Noted(message string) (State, bool) {
	rest, ok := strings.CutPrefix(message, notePrefix)
	if !ok {
		return State{}, false
	}
	rest, _, _ = strings.Cut(rest, noteSep)
	vm, off := strings.CutSuffix(rest, noteOff)
	if vm == "" || strings.Contains(vm, " ") {
		return State{}, false
	}
	return State{VM: vm, Off: off}, true
}
