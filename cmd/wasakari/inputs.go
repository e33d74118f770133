package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// inputs are what a flow is given, by name, as JSON.
type inputs = map[string]json.RawMessage

// listInputs and objectInputs hold JSON of that kind; all others are strings.
var (
	listInputs   = []string{"reserved_host_list"}
	objectInputs = []string{"payload", "segment"}
)

// mustGive lists, for each flow, the inputs that only the caller can know.
var mustGive = map[recovery.FlowKind][]string{
	recovery.HostAuto:        {"host_name"},
	recovery.HostReserved:    {"host_name", "reserved_host_list"},
	recovery.InstanceFailure: {"instance_uuid"},
	recovery.ProcessFailure:  {"process_name", "host_name"},
	recovery.HostRepair:      {"host_name"},
}

// parseInputs reads name=value pairs for the flows that will be tried.
func parseInputs(kinds []recovery.FlowKind, given []string) (inputs, error) {
	var names []string
	for _, k := range kinds {
		for _, name := range k.InputNames(recovery.Pre) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	in, err := readInputs(given, names, nil)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if err := complete(k, in); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// complete refuses inputs that lack what only the caller can know.
func complete(k recovery.FlowKind, in inputs) error {
	for _, name := range mustGive[k] {
		if _, ok := in[name]; !ok {
			return usagef("flow %s needs the input %s; add --input %s=%s", k, name, name, example(name))
		}
	}
	return nil
}

// readInputs reads name=value pairs: inputs of a flow, and, as JSON, what a task
// has from tasks before it.
func readInputs(given, ofFlow, ofTasks []string) (inputs, error) {
	in := inputs{}
	for _, pair := range given {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("--input %s: want name=value", pair)
		}
		if _, twice := in[name]; twice {
			return nil, usagef("--input %s: given twice", name)
		}
		var err error
		switch {
		case slices.Contains(ofFlow, name):
			in[name], err = inputValue(name, value)
		case slices.Contains(ofTasks, name):
			in[name], err = providedValue(name, value)
		default:
			hint := "this flow takes " + strings.Join(ofFlow, ", ")
			if len(ofTasks) > 0 {
				hint += ", and the task " + strings.Join(ofTasks, ", ")
			}
			if near, ok := config.Nearest(name, slices.Concat(ofFlow, ofTasks)); ok {
				hint = "did you mean " + near + "?"
			}
			err = usagef("--input %s: unknown input; %s", name, hint)
		}
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

// asJSON shows how a value that a task provides is given.
const asJSON = `such as '"a text"' or '{"id": 7}'`

// providedValue reads a value as a task provides it.
func providedValue(name, value string) (json.RawMessage, error) {
	if !json.Valid([]byte(value)) {
		return nil, usagef("--input %s: %q is no JSON; want a value as a task before this one provides it, %s", name, recovery.Cut(value, 80), asJSON)
	}
	return json.RawMessage(value), nil
}

func inputValue(name, value string) (json.RawMessage, error) {
	switch {
	case slices.Contains(listInputs, name):
		list := []string{}
		if strings.HasPrefix(strings.TrimSpace(value), "[") {
			if err := json.Unmarshal([]byte(value), &list); err != nil {
				return nil, usagef("--input %s: %w; want a JSON list of names, such as %s", name, err, example(name))
			}
		} else if value != "" {
			for item := range strings.SplitSeq(value, ",") {
				list = append(list, strings.TrimSpace(item))
			}
		}
		if slices.Contains(list, "") {
			return nil, usagef("--input %s: a name in the list is empty", name)
		}
		return json.Marshal(list)
	case slices.Contains(objectInputs, name):
		var object map[string]any
		if err := json.Unmarshal([]byte(value), &object); err != nil {
			return nil, usagef("--input %s: %w; want a JSON object, such as %s", name, err, example(name))
		}
		if object == nil {
			return nil, usagef("--input %s: want a JSON object, such as %s", name, example(name))
		}
		return json.RawMessage(value), nil
	case value == "":
		return nil, usagef("--input %s: the value is empty", name)
	}
	return json.Marshal(value)
}

func example(name string) string {
	switch name {
	case "host_name":
		return "compute-1"
	case "reserved_host_list":
		return `'["compute-4"]'`
	case "instance_uuid":
		return "b6f2…"
	case "process_name":
		return "nova-compute"
	}
	return `'{"event": "STOPPED"}'`
}

// seededSegment is the name of the segment of a run that was given none.
const seededSegment = "wasakari-run"

// seed adds to the inputs what the service would know from the notification.
func seed(in inputs, method recovery.RecoveryMethod, kind recovery.FlowKind, now time.Time) error {
	event := recovery.EventStopped
	switch kind {
	case recovery.InstanceFailure:
		event = "LIFECYCLE"
	case recovery.HostRepair:
		event = recovery.EventStarted
	}
	for name, value := range map[string]any{
		"notification_uuid": uuid.NewString(),
		"recovery_method":   method,
		"event":             event,
		"payload":           map[string]string{"event": event},
		"generated_time":    now.UTC().Format(time.RFC3339),
		"segment": recovery.Segment{
			UUID: uuid.NewString(), Name: seededSegment, RecoveryMethod: method, Enabled: true,
			Description: new("made for a run from the command line"),
		},
	} {
		if _, ok := in[name]; ok {
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
		in[name] = raw
	}
	return nil
}

// text gives a string input, or "".
func text(in inputs, name string) string {
	var s string
	_ = json.Unmarshal(in[name], &s) // absent or no string: empty
	return s
}

// names gives a list input.
func names(in inputs, name string) []string {
	var l []string
	_ = json.Unmarshal(in[name], &l) // absent: none
	return l
}

// segmentOf gives segment and hosts of a run, as far as the inputs tell. A host
// that is to be taken back into service is on maintenance.
func segmentOf(kind recovery.FlowKind, in inputs) (recovery.Segment, []recovery.Host) {
	var seg recovery.Segment
	_ = json.Unmarshal(in["segment"], &seg) // checked to be an object; foreign fields are left out
	var hosts []recovery.Host
	add := func(name string, reserved bool) {
		hosts = append(hosts, recovery.Host{
			UUID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(seg.UUID+name)).String(), Name: name,
			Reserved: reserved, SegmentUUID: seg.UUID, OnMaintenance: kind == recovery.HostRepair,
		})
	}
	if h := text(in, "host_name"); h != "" {
		add(h, false)
	}
	for _, h := range names(in, "reserved_host_list") {
		add(h, true)
	}
	return seg, hosts
}
