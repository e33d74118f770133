package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/recovery"
)

// TestParseInputs: how values of each kind are read.
func TestParseInputs(t *testing.T) {
	t.Parallel()
	host := []string{"host_name=compute-1"}
	tests := []struct {
		name  string
		kinds []recovery.FlowKind
		given []string
		input string
		want  string // JSON; empty: the input is not there
	}{
		{"text", []recovery.FlowKind{recovery.HostAuto}, host, "host_name", `"compute-1"`},
		{"text with an equals sign", []recovery.FlowKind{recovery.HostAuto}, append(host, "event=a=b"), "event", `"a=b"`},
		{"text that looks like JSON", []recovery.FlowKind{recovery.HostAuto}, append(host, `event={"a":1}`), "event", `"{\"a\":1}"`},
		{"list in JSON", []recovery.FlowKind{recovery.HostReserved}, append(host, ` reserved_host_list=["a", "b"]`[1:]), "reserved_host_list", `["a","b"]`},
		{"list with commas", []recovery.FlowKind{recovery.HostReserved}, append(host, "reserved_host_list=a, b"), "reserved_host_list", `["a","b"]`},
		{"empty list", []recovery.FlowKind{recovery.HostReserved}, append(host, "reserved_host_list="), "reserved_host_list", `[]`},
		{"object", []recovery.FlowKind{recovery.HostAuto}, append(host, `payload={"event": "STOPPED"}`), "payload", `{"event": "STOPPED"}`},
		{"nothing", []recovery.FlowKind{recovery.HostAuto}, host, "payload", ""},
	}
	for _, tt := range tests {
		in, err := parseInputs(tt.kinds, tt.given)
		if got := string(in[tt.input]); err != nil || got != tt.want {
			t.Errorf("%s: %s = %s (%v), want %s", tt.name, tt.input, got, err, tt.want)
		}
	}
}

func FuzzParseInputs(f *testing.F) {
	for _, s := range []string{
		"host_name=compute-1\nreserved_host_list=[\"a\"]", "host_name=a\nreserved_host_list=a,b", "host_name=\npayload={}",
		"host_name=a\nsegment={\"uuid\":1}", "instance_uuid=1\nevent=\xff", "process_name=nova-compute\nhost_name=c\nhost_name=d", "=", "host_name=a\npayload=null",
		"host_name=a\nreserved_host_list=[null]", "host_name=a\npayload={\"a\":1,\"a\":2}",
	} {
		for n := range recovery.FlowKinds() {
			f.Add(n, s)
		}
	}
	f.Fuzz(func(t *testing.T, n int, given string) {
		kinds := recovery.FlowKinds()
		kind := kinds[(n%len(kinds)+len(kinds))%len(kinds)]
		in, err := parseInputs([]recovery.FlowKind{kind}, strings.Split(given, "\n"))
		if err != nil {
			if _, usage := errors.AsType[*usageError](err); !usage {
				t.Errorf("%q: %v is no wrong use", given, err)
			}
			return
		}
		for _, name := range mustGive[kind] {
			if len(in[name]) == 0 {
				t.Errorf("%q: %s is missing", given, name)
			}
		}
		for name, raw := range in {
			if !slices.Contains(kind.InputNames(recovery.Pre), name) {
				t.Errorf("%q: unknown input %s", given, name)
			}
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Errorf("%q: %s = %s: %v", given, name, raw, err)
			}
			var ok bool
			switch {
			case slices.Contains(listInputs, name):
				ok = !slices.Contains(names(in, name), "") && raw[0] == '['
			case slices.Contains(objectInputs, name):
				_, ok = v.(map[string]any)
			default:
				s, _ := v.(string)
				ok = s != "" && text(in, name) == s
			}
			if !ok {
				t.Errorf("%q: %s = %s", given, name, raw)
			}
		}
		segmentOf(kind, in)
	})
}
