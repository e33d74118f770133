package masakariv1

import (
	"slices"

	"github.com/wasakari/wasakari/recovery"
)

// The parts of which bodies are made.
var (
	nameSchema    = schema{types{kindString}, length{1, 255}, name{}}
	booleanSchema = schema{types{kindBool, kindString}, boolOrWord{}}
	proseOrNull   = schema{types{kindString, kindNull}, prose{}}
	// Masakari lets null through here, for a host's type and control attributes,
	// and fails on it.
	hostTypeSchema = schema{types{kindString}, length{0, 255}, matching(`^[a-zA-Z0-9]*$`, `^[a-zA-Z0-9]*$`)}
	proseSchema    = schema{types{kindString}, prose{}}
	methodSchema   = schema{types{kindString}, enum{
		string(recovery.Auto), string(recovery.ReservedHost), string(recovery.AutoPriority), string(recovery.ReservedHostPriority),
	}}
	eventSchema = schema{constants{recovery.EventStarted, recovery.EventStopped}, types{kindString}}
	shortSchema = schema{types{kindString}, length{1, 255}}
)

// segmentFields are the fields of a segment in a body; those at 1.2 have one
// more.
var (
	segmentFields = []field{
		{"name", nameSchema},
		{"description", proseOrNull},
		{"recovery_method", methodSchema},
		{"service_type", nameSchema},
	}
	segmentFields12 = append(slices.Clone(segmentFields), field{"enabled", booleanSchema})

	segmentMust = required{"name", "recovery_method", "service_type"}
	hostFields  = []field{
		{"name", nameSchema},
		{"type", hostTypeSchema},
		{"control_attributes", proseSchema},
		{"reserved", booleanSchema},
		{"on_maintenance", booleanSchema},
	}
)

// The bodies, by version.
var (
	segmentCreate = since12(
		envelope("segment", closed(segmentMust, segmentFields...)),
		envelope("segment", closed(segmentMust, segmentFields12...)),
	)
	segmentUpdate = since12(
		envelope("segment", closed(anyOf(segmentFields), segmentFields...)),
		envelope("segment", closed(anyOf(segmentFields12), segmentFields12...)),
	)
	hostCreate         = always(envelope("host", closed(required{"name", "type", "control_attributes"}, hostFields...)))
	hostUpdate         = always(envelope("host", closed(anyOf(hostFields), hostFields...)))
	notificationCreate = always(envelope("notification", complete(
		required{"type", "hostname", "generated_time", "payload"},
		field{"type", schema{types{kindString}, constants{string(recovery.ComputeHost), string(recovery.VM), string(recovery.Process)}}},
		field{"hostname", schema{types{kindString}, length{1, 255}, matching(`^[a-zA-Z0-9\-._]*$`, `^[a-zA-Z0-9-._]*$`)}},
		field{"generated_time", schema{types{kindString}, dateTime{}}},
		field{"payload", schema{types{kindObject}, eachKey{
			keys:   matching(`^[a-zA-Z0-9\-_:. ]{1,255}$`, `^[a-zA-Z0-9-_:. ]{1,255}$`),
			schema: schema{types{kindString}, length{0, 255}},
		}}},
	)))
)

func always(s schema) func(version) schema { return func(version) schema { return s } }

// since12 is one schema before 1.2 and another since.
func since12(before, since schema) func(version) schema {
	return func(v version) schema {
		if v.atLeast(1, 2) {
			return since
		}
		return before
	}
}

// anyOf asks for at least one of the fields.
func anyOf(f []field) rule {
	names := make(oneOrMore, len(f))
	for i := range f {
		names[i] = f[i].name
	}
	return names
}

// payloads are what the payload of each type has to satisfy, checked after the
// policy.
var payloads = map[recovery.NotificationType]schema{
	recovery.ComputeHost: complete(
		required{"event"},
		field{"host_status", schema{constants{"NORMAL", "UNKNOWN"}, types{kindString}}},
		field{"cluster_status", schema{constants{"ONLINE", "OFFLINE"}, types{kindString}}},
		field{"event", eventSchema},
	),
	recovery.Process: complete(
		required{"process_name", "event"},
		field{"process_name", schema{types{kindString}, length{1, 4096}}},
		field{"event", eventSchema},
	),
	recovery.VM: complete(
		required{"instance_uuid", "vir_domain_event", "event"},
		field{"instance_uuid", schema{types{kindString}, uuidForm{}}},
		field{"vir_domain_event", shortSchema},
		field{"event", shortSchema},
	),
}
