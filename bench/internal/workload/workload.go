// Package workload is what every guest of the benchmarks is given to do, in
// whatever language and through whatever ABI.
//
// The input is a JSON document of some 2 KB: mode, n, size, want and a server
// as Nova describes one. The guest parses all of it, sums it up (see Sum) and
// compares the sum, less the value of want, with want; then it does what the
// mode says. It succeeds when all was right.
package workload

import (
	"encoding/json"
	"fmt"
)

// What a guest does after it has read its input.
const (
	Task    = 1 // n host calls (kv.get), each with an answer of size bytes
	JSON    = 2 // parse the input another n times, and compare the sum
	Spin    = 3 // loop for ever
	Hold    = 4 // as Task, then one host call (nova.server_get) that is answered late
	Recurse = 5 // a tree of calls, n deep, without loops
)

// The ops that guests ask for. Where the ABI hands over no input, the guest
// asks for it with OpInput.
const (
	OpInput = "task.input"
	OpGet   = "kv.get"
	OpHold  = "nova.server_get"
)

// Input is the document. Numbers are integers, text holds no surrogates.
type Input struct {
	Mode   uint32         `json:"mode"`
	N      uint32         `json:"n"`
	Size   uint32         `json:"size"`
	Want   uint32         `json:"want"`
	Server map[string]any `json:"server"`
}

// Sum sums up a document: of strings and keys the 32 bit FNV-1a hash of what
// they stand for, of numbers the value, of true 1, of everything else 0.
// Overflow is dropped.
func Sum(v any) uint32 {
	switch v := v.(type) {
	case string:
		return hash(v)
	case float64:
		return uint32(int64(v)) // #nosec G115 -- overflow is dropped
	case bool:
		if v {
			return 1
		}
	case []any:
		var sum uint32
		for _, e := range v {
			sum += Sum(e)
		}
		return sum
	case map[string]any:
		var sum uint32
		for k, e := range v {
			sum += hash(k) + Sum(e)
		}
		return sum
	}
	return 0
}

func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// Encode writes the input for a guest.
func Encode(mode, n, size int) ([]byte, error) {
	in := Input{Mode: uint32(mode), N: uint32(n), Size: uint32(size), Server: server()} // #nosec G115 -- small numbers
	doc, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return nil, err
	}
	in.Want = Sum(v)
	return json.Marshal(in)
}

// Check parses an input and compares its sum.
func Check(doc []byte) (Input, error) {
	var v map[string]any
	if err := json.Unmarshal(doc, &v); err != nil {
		return Input{}, err
	}
	field := func(name string) uint32 {
		n, _ := v[name].(float64)
		return uint32(n)
	}
	in := Input{Mode: field("mode"), N: field("n"), Size: field("size"), Want: field("want")}
	if got := Sum(v) - in.Want; got != in.Want {
		return Input{}, fmt.Errorf("sum is %d, want %d", got, in.Want)
	}
	return in, nil
}

// server is what Nova says about a server, shortened to 2 KB.
func server() map[string]any {
	return map[string]any{
		"id": "5b2a1c9e-0d3f-4a67-9d0e-7a4f3b1c2d10", "name": "web-17 \"blue\"", "status": "ACTIVE",
		"tenant_id": "6f70656e737461636b20697320667265", "user_id": "9a5d1c6f0b2e4d7f8a3b4c5d6e7f8091",
		"created": "2026-09-01T08:15:30Z", "updated": "2026-11-20T21:04:11Z", "progress": 0, "locked": false,
		"hostId": "2091634baaccdc4c5a1d57069c833e402921df696b7f970791b12ec6", "host_status": "DOWN",
		"description": "front end, zone é\u2013ä\nsecond line", "accessIPv4": "", "accessIPv6": "",
		"config_drive": "", "key_name": nil, "security_groups": []any{map[string]any{"name": "default"}, map[string]any{"name": "web"}},
		"OS-EXT-STS:task_state": nil, "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:power_state": 1,
		"OS-EXT-AZ:availability_zone": "az-2", "OS-DCF:diskConfig": "MANUAL",
		"OS-SRV-USG:launched_at": "2026-09-01T08:16:02.000000", "OS-SRV-USG:terminated_at": nil,
		"OS-EXT-SRV-ATTR:host": "compute-1", "OS-EXT-SRV-ATTR:hypervisor_hostname": "compute-1.example.com",
		"OS-EXT-SRV-ATTR:instance_name": "instance-0000002a",
		"flavor": map[string]any{
			"original_name": "m1.small", "vcpus": 2, "ram": 4096, "disk": 40, "ephemeral": 0, "swap": 0,
			"extra_specs": map[string]any{"hw:cpu_policy": "shared", "hw:mem_page_size": "small"},
		},
		"image": map[string]any{"id": "70a599e0-31e7-49b7-b260-868f441e862b"},
		"metadata": map[string]any{
			"HA_Enabled": "True", "owner": "team-web", "tier": "front", "cost_centre": "4711", "path": `C:\srv\www`,
		},
		"addresses": map[string]any{"net1": []any{
			map[string]any{"addr": "192.0.2.17", "version": 4, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:4c:2c:30"},
			map[string]any{"addr": "2001:db8::11", "version": 6, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:4c:2c:30"},
			map[string]any{"addr": "198.51.100.4", "version": 4, "OS-EXT-IPS:type": "floating", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:4c:2c:30"},
		}},
		"volumes": []any{
			map[string]any{"id": "a26887c6-c47b-4654-abb5-dfadf7d3f803", "delete_on_termination": true},
			map[string]any{"id": "c04cdd3d-6f0c-4e4b-8f5a-0f1f3e2d1c0b", "delete_on_termination": false},
		},
		"tags": []any{"prod", "web", "blue"}, "trusted_image_certificates": nil, "offset": -12,
		"links": []any{
			map[string]any{"rel": "self", "href": "https://nova.example.com/v2.1/servers/5b2a1c9e-0d3f-4a67-9d0e-7a4f3b1c2d10"},
			map[string]any{"rel": "bookmark", "href": "/servers/5b2a1c9e"},
		},
	}
}
