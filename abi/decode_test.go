package abi_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

func TestDecodeRequest(t *testing.T) {
	version := int64(0)
	tests := []struct {
		name string
		op   string
		req  string
		into any
		want any
		err  string // exact
	}{
		{
			name: "all fields", op: abi.OpNovaServerList, req: ` {"host":"c1", "fields":["id","na\u006de"]} `,
			into: &abi.NovaServerListRequest{}, want: &abi.NovaServerListRequest{Host: "c1", Fields: []string{"id", "name"}},
		},
		{name: "no bytes", op: abi.OpTaskInput, into: &abi.TaskInputRequest{}, want: &abi.TaskInputRequest{}},
		{
			name: "zero is not absent", op: abi.OpKVPut, req: `{"name":"a","value":{"b":[1,null]},"if_version":0}`,
			into: &abi.KVPutRequest{}, want: &abi.KVPutRequest{Name: "a", Value: json.RawMessage(`{"b":[1,null]}`), IfVersion: &version},
		},
		{
			name: "value null", op: abi.OpKVPut, req: `{"name":"a","value":null}`,
			into: &abi.KVPutRequest{}, want: &abi.KVPutRequest{Name: "a", Value: json.RawMessage(`null`)},
		},
		{
			name: "escaped key", op: abi.OpNovaServerGet, req: `{"\u0069d":"x"}`,
			into: &abi.NovaServerGetRequest{}, want: &abi.NovaServerGetRequest{ID: "x"},
		},
		{
			name: "enumeration", op: abi.OpNovaServerReboot, req: `{"id":"x","type":"H\u0041RD"}`,
			into: &abi.NovaServerRebootRequest{}, want: &abi.NovaServerRebootRequest{ID: "x", Type: "HARD"},
		},
		{
			name: "string or secret", op: abi.OpHTTPRequest,
			req:  `{"method":"GET","url":"u","headers":{"a":"b","c":{"$secret":"x.y","prefix":"P "}},"basic":{"user":"u","password":{"$secret":"x.z"}},"tls":{"ca":{"$secret":"x.ca"}}}`,
			into: &abi.HTTPRequestRequest{}, want: &abi.HTTPRequestRequest{
				Method: "GET", URL: "u",
				Headers: map[string]abi.Text{"a": {Plain: "b"}, "c": {Secret: &abi.Secret{Name: "x.y", Prefix: "P "}}},
				Basic:   &abi.HTTPBasic{User: abi.Text{Plain: "u"}, Password: abi.Text{Secret: &abi.Secret{Name: "x.z"}}},
				TLS:     &abi.HTTPTLS{CA: &abi.Secret{Name: "x.ca"}},
			},
		},
		{
			name: "no secret and no string", op: abi.OpHTTPRequest, req: `{"method":"GET","url":"u","headers":{"a":1}}`,
			into: &abi.HTTPRequestRequest{}, err: "invalid: http.request: headers.a: want an object, not a number",
		},
		{
			name: "more than a secret", op: abi.OpHTTPRequest, req: `{"method":"GET","url":"u","headers":{"a":{"$secret":"x.y","value":"z"}}}`,
			into: &abi.HTTPRequestRequest{}, err: "invalid: http.request: headers.a.value: unknown key",
		},
		{
			name: "a string is no secret", op: abi.OpHTTPRequest, req: `{"method":"GET","url":"u","tls":{"ca":"pem"}}`,
			into: &abi.HTTPRequestRequest{}, err: "invalid: http.request: tls.ca: want an object, not a string",
		},

		{
			name: "unknown key", op: abi.OpNovaServerList, req: `{"hots":"c1"}`, into: &abi.NovaServerListRequest{},
			err: "invalid: nova.server_list: hots: unknown key; did you mean host?",
		},
		{
			name: "unknown key, nothing near", op: abi.OpNovaServerList, req: `{"colour of the sky":1}`, into: &abi.NovaServerListRequest{},
			err: `invalid: nova.server_list: "colour of the sky": unknown key`,
		},
		{
			name: "case variant", op: abi.OpNovaServerGet, req: `{"ID":"x"}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: ID: unknown key; did you mean id?",
		},
		{
			name: "twice", op: abi.OpNovaServerGet, req: `{"id":"x","i\u0064":"y"}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: id: the key is given twice",
		},
		{
			name: "twice inside a value", op: abi.OpKVPut, req: `{"name":"a","value":[{"b":1,"b":2}]}`, into: &abi.KVPutRequest{},
			err: "invalid: kv.put: value[0].b: the key is given twice",
		},
		{
			name: "missing", op: abi.OpNovaServerGet, req: `{}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: id: the key is missing",
		},
		{
			name: "null", op: abi.OpNovaServerEvacuate, req: `{"id":"x","host":null}`, into: &abi.NovaServerEvacuateRequest{},
			err: "invalid: nova.server_evacuate: host: want a string, not null; leave the key out",
		},
		{
			name: "wrong type", op: abi.OpNovaServerGet, req: `{"id":7}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: id: want a string, not a number",
		},
		{
			name: "wrong type in a list", op: abi.OpNovaServerGet, req: `{"id":"x","fields":["id",["a"]]}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: fields[1]: want a string, not an array",
		},
		{
			name: "object for a list", op: abi.OpNovaServerGet, req: `{"id":"x","fields":{}}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: fields: want an array, not an object",
		},
		{
			name: "string for a truth", op: abi.OpHAHostList, req: `{"reserved":"true"}`, into: &abi.HAHostListRequest{},
			err: "invalid: ha.host_list: reserved: want true or false, not a string",
		},
		{
			name: "truth for a number", op: abi.OpTaskSleep, req: `{"ms":true}`, into: &abi.TaskSleepRequest{},
			err: "invalid: task.sleep: ms: want an integer, not true or false",
		},
		{
			name: "fraction", op: abi.OpTaskSleep, req: `{"ms":1.5}`, into: &abi.TaskSleepRequest{},
			err: "invalid: task.sleep: ms: want an integer of 64 bits, without fraction and exponent",
		},
		{
			name: "more than 64 bits", op: abi.OpTaskSleep, req: `{"ms":9223372036854775808}`, into: &abi.TaskSleepRequest{},
			err: "invalid: task.sleep: ms: want an integer of 64 bits, without fraction and exponent",
		},
		{
			name: "below the minimum", op: abi.OpTaskSleep, req: `{"ms":-1}`, into: &abi.TaskSleepRequest{},
			err: "invalid: task.sleep: ms: want at least 0",
		},
		{
			name: "outside the enumeration", op: abi.OpNovaServerResetState, req: `{"id":"x","state":"actve"}`, into: &abi.NovaServerResetStateRequest{},
			err: "invalid: nova.server_reset_state: state: want one of error, active; did you mean active?",
		},
		{
			name: "array", op: abi.OpNovaServerGet, req: `[]`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: want an object, not an array",
		},
		{
			name: "not JSON", op: abi.OpNovaServerGet, req: `{"id":'x'}`, into: &abi.NovaServerGetRequest{},
			err: `invalid: nova.server_get: the document is not JSON: invalid character '\'' looking for beginning of value, at byte 7`,
		},
		{
			name: "cut off", op: abi.OpNovaServerGet, req: `{"id":"x"`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: the document is not JSON: unexpected end of JSON input, at byte 9",
		},
		{
			name: "trailing data", op: abi.OpNovaServerGet, req: `{"id":"x"} {}`, into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: the document is not JSON: invalid character '{' after top-level value, at byte 12",
		},
		{
			name: "not UTF-8", op: abi.OpNovaServerGet, req: "{\"id\":\"\xff\"}", into: &abi.NovaServerGetRequest{},
			err: "invalid: nova.server_get: the document is not UTF-8",
		},
		{
			name: "half of a pair", op: abi.OpKVPut, req: `{"name":"a","value":["\ud83d\ude00","\\ud83d","\ud83d"]}`, into: &abi.KVPutRequest{},
			err: "invalid: kv.put: value[2]: half of a surrogate pair stands for no character",
		},
		{
			name: "the other half", op: abi.OpKVPut, req: `{"name":"\ude00\ud83d","value":1}`, into: &abi.KVPutRequest{},
			err: "invalid: kv.put: name: half of a surrogate pair stands for no character",
		},
		{
			name: "half of a pair in a key", op: abi.OpKVPut, req: `{"name":"a","value":{"\ud83dx":1}}`, into: &abi.KVPutRequest{},
			err: "invalid: kv.put: value: half of a surrogate pair stands for no character",
		},
		{
			name: "too deep", op: abi.OpKVPut, req: `{"name":"a","value":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}", into: &abi.KVPutRequest{},
			err: "invalid: kv.put: value" + strings.Repeat("[0]", 63) + ": nested deeper than 64",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fresh := reflect.New(reflect.TypeOf(tt.into).Elem()).Interface()
			err := abi.DecodeRequest(tt.op, []byte(tt.req), tt.into)
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(tt.into, tt.want) {
					t.Errorf("got %+v, want %+v", tt.into, tt.want)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error, want %q", tt.err)
			}
			if got := err.Error(); got != tt.err {
				t.Errorf("error\n got %s\nwant %s", got, tt.err)
			}
			if !reflect.DeepEqual(tt.into, fresh) {
				t.Errorf("the target was changed: %+v", tt.into)
			}
		})
	}
}

func TestDecodeRequestBounds(t *testing.T) {
	deepest := `{"name":"a","value":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + "}"
	if err := abi.DecodeRequest(abi.OpKVPut, []byte(deepest), &abi.KVPutRequest{}); err != nil {
		t.Errorf("nested 64 deep: %v", err)
	}
	large := make([]byte, abi.MaxDocument+1)
	if err := abi.DecodeRequest(abi.OpKVPut, large, &abi.KVPutRequest{}); err == nil || err.Code != abi.ErrnoTooLarge {
		t.Errorf("too large: %v, want code too_large", err)
	}
	// Many keys must not cost their square, nor hide one given twice.
	var b strings.Builder
	b.WriteString(`{"name":"a","value":{`)
	for i := range 100_000 {
		b.WriteString(`"k` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + "_" + strings.TrimSpace(string(rune(0x4e00+i/26))) + `":0,`)
	}
	b.WriteString(`"last":0,"last":1}}`)
	err := abi.DecodeRequest(abi.OpKVPut, []byte(b.String()), &abi.KVPutRequest{})
	if err == nil || !strings.HasSuffix(err.Message, "the key is given twice") {
		t.Errorf("key given twice among many: %v", err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","value":{"b":[1,-2.5e3,true,null,"\u00e9\n"]},"if_version":0,"ttl_s":5,"scope":"run"}`,
		`{"name":"a","name":"b","value":0}`, `{"NAME":1}`, `[[[[]]]]`, `{"value":"\ud800"}`, ` `, `{"":{"":{}}}`, `null`, `{"ttl_s":-0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got abi.KVPutRequest
		if err := abi.DecodeRequest(abi.OpKVPut, data, &got); err != nil {
			if !reflect.DeepEqual(got, abi.KVPutRequest{}) {
				t.Fatalf("refused, yet the target changed: %+v", got)
			}
			return
		}
		// What was taken is what encoding/json reads, and is taken again.
		again, merr := json.Marshal(got)
		if merr != nil {
			t.Fatalf("taken and not to be encoded: %v", merr)
		}
		var second abi.KVPutRequest
		if err := abi.DecodeRequest(abi.OpKVPut, again, &second); err != nil {
			t.Fatalf("%s: taken, encoded as %s, refused: %v", data, again, err)
		}
	})
}
