package tasktest_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/tasktest"
)

func noFiles(string) ([]byte, error) { return nil, errors.New("no such file") }

func parse(t *testing.T, text string) *tasktest.Case {
	t.Helper()
	c, err := tasktest.Parse("tests/a.yaml", []byte(text), noFiles)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func full(t *testing.T) *tasktest.Case {
	t.Helper()
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func TestParse(t *testing.T) {
	c := full(t)
	if c.Name() != "a" || c.Task != "ticket" || c.Flow != "host-rh" || c.Phase != "post" || c.Attempt != 2 || c.Round != 3 || !c.Revert || c.Recorded() {
		t.Errorf("case %+v", c)
	}
	if n := len(c.Cloud.Scenario.Hosts); n != 2 {
		t.Errorf("%d hosts in the cloud, want 2", n)
	}
	if got := c.Position("expect.ops[1].error"); got != "tests/a.yaml:43:59" {
		t.Errorf("position of the second op's error: %s", got)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := tasktest.KV{
		Library: map[string]any{"last": "2026-03-01T11:55:00Z", "seconds": now.Unix(), "plain": []any{uint64(1), "x", nil}},
		Scratch: map[string]any{"scratch/step": uint64(2)},
	}
	if got := c.Before(now); !reflect.DeepEqual(got, want) {
		t.Errorf("before: %#v, want %#v", got, want)
	}
	short := parse(t, "inputs: {host_name: x}\n")
	if short.Flow != "host-auto" || short.Phase != "main" || short.Attempt != 1 || short.Expect.Outcome != tasktest.Succeeded || len(short.Cloud.Scenario.Hosts) != 3 {
		t.Errorf("defaults: %+v", short)
	}
}

// A mistake is told with its place in the file, that in the cloud's part too.
func TestParseMistakes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown field", "input: {}\n", `tests/a.yaml:1:1: unknown field "input"`},
		{"field twice", "task: a\ntask: b\n", `tests/a.yaml:2:1: mapping key "task" already defined at [1:1]`},
		{"anchor", "task: &a x\n", "tests/a.yaml:1:7: anchors and aliases are not allowed; write it out"},
		{"two documents", "task: a\n---\ntask: b\n", "tests/a.yaml:1:1: 2 documents, want one"},
		{"empty", "", "tests/a.yaml:1:1: nothing is in it"},
		{"outcome", "expect:\n  outcome: fine\n", `tests/a.yaml:2:12: expect.outcome: "fine" is not one of succeeded, failed, nothing, ignored`},
		{"flow", "flow: host\n", `tests/a.yaml:1:7: flow: "host" is not one of host-auto, host-rh, instance, process, host-repair`},
		{"op", "expect:\n  ops: [nova.server_lst]\n", `tests/a.yaml:2:9: expect.ops[0]: "nova.server_lst" is no op of the groups nova, ha and http; did you mean nova.server_list?`},
		{"op of another group", "expect:\n  ops: [kv.put]\n", `tests/a.yaml:2:9: expect.ops[0]: "kv.put" is no op of the groups nova, ha and http`},
		{"pattern", "expect:\n  reason: /(/\n", "tests/a.yaml:2:11: expect.reason: error parsing regexp: missing closing ): `(`"},
		{"pattern without end", "expect:\n  reason: /" + strings.Repeat("a*", 501) + "/\n", "tests/a.yaml:2:11: expect.reason: a pattern of 1002 bytes, at most 1000"},
		{"pattern without end in a value", "expect:\n  provides: {a: $match " + strings.Repeat("a*", 501) + "}\n", "tests/a.yaml:2:14: expect.provides: a pattern of 1002 bytes, at most 1000"},
		{"pattern in a value", "expect:\n  provides: {a: $match (}\n", "tests/a.yaml:2:14: expect.provides: error parsing regexp: missing closing ): `(`"},
		{"cloud", "task: a\ncloud:\n  hosts:\n    - {name: compute-1, state: gone}\n", `tests/a.yaml:4:32: hosts[0].state: "gone" is not one of up, down, hung`},
		{"cloud in a line", "cloud: {hosts: [{nam: x}]}\n", `tests/a.yaml:1:18: unknown field "nam"`},
		{"cloud in no file", "cloud: lab.yaml\n", "tests/a.yaml:1:8: cloud: no such file"},
		{"cloud and recording", "cloud: demo\nanswers: [{op: nova.server_list}]\n", "tests/a.yaml:1:8: cloud: answers that were recorded take the place of a cloud; leave it out"},
		{"requests in a recording", "answers: [{op: nova.server_list}]\nexpect: {nova: []}\n", "tests/a.yaml:2:16: expect.nova: answers that were recorded take the place of a cloud: nobody gets these requests; list them as ops"},
		{"url", "http: [{url: example.com}]\n", `tests/a.yaml:1:14: http[0].url: url: want one that begins with https:// or http://`},
		{"answer and error", "http: [{url: \"https://a.example\", status: 200, error: {code: timeout}}]\n", "tests/a.yaml:1:56: http[0].error: an answer or an error, not both"},
		{"code", "answers: [{op: nova.server_list, error: {code: bad}}]\n", `tests/a.yaml:1:48: answers[0].error.code: "bad" is no code of an error`},
		{"time", "kv:\n  library: {a: $now-5x}\n", `tests/a.yaml:2:13: kv.library: "$now-5x": time: unknown unit "x" in duration "-5x"`},
		{"scratch", "kv:\n  scratch: {a: 1}\n", `tests/a.yaml:2:13: kv.scratch: "a" does not begin with scratch/`},
		{"secret", "secrets: {token: x}\n", `tests/a.yaml:1:11: secrets: "token": want section.name`},
		{"failure without revert", "failure: x\n", "tests/a.yaml:1:10: failure: only with revert: true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tasktest.Parse("tests/a.yaml", []byte(tt.text), noFiles)
			if err == nil {
				t.Fatalf("no error, want %s", tt.want)
			}
			if err.Error() != tt.want {
				t.Errorf("error\n%s\nwant\n%s", err, tt.want)
			}
		})
	}
}

func raw(m map[string]string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for k, v := range m {
		out[k] = json.RawMessage(v)
	}
	return out
}

// seenFull is what the full scenario expects.
func seenFull() tasktest.Seen {
	return tasktest.Seen{
		Outcome: tasktest.Failed, Reason: "there are 12 servers",
		Provides: raw(map[string]string{"ticket": `{"id": 7.0, "at": [1], "by": "me", "n": 1e3, "url": "https://x"}`}),
		Library:  raw(map[string]string{"last": `"2026"`}), Scratch: raw(nil),
		Ops: []tasktest.SeenOp{
			{Op: "nova.server_stop", Request: json.RawMessage(`{"id":"u-1","more":1}`), Error: "not_granted"},
			{Op: "nova.server_list", Request: json.RawMessage(`{"host":"x"}`)},
		},
		Nova:  []string{`POST /servers/web-1/action {"os-stop":null}`},
		Logs:  []tasktest.Log{{Level: "info", Message: "ticket opened"}, {Level: "info", Message: "other"}, {Level: "warn", Message: "number 7"}},
		Names: map[string]string{"u-1": "web-1"},
	}
}

func TestCompare(t *testing.T) {
	c := full(t)
	if d := c.Compare(seenFull()); len(d) != 0 {
		t.Fatalf("differences %+v, want none", d)
	}
	tests := []struct {
		name   string
		change func(*tasktest.Seen)
		want   tasktest.Difference
	}{
		{"outcome", func(s *tasktest.Seen) { s.Outcome = "succeeded" }, tasktest.Difference{Where: "expect.outcome", Want: "failed", Got: "succeeded: there are 12 servers"}},
		{"reason", func(s *tasktest.Seen) { s.Reason = "too many" }, tasktest.Difference{Where: "expect.reason", Want: `/\d+ servers/`, Got: "too many"}},
		{
			"provided more", func(s *tasktest.Seen) { s.Provides["more"] = json.RawMessage(`1`) },
			tasktest.Difference{Where: "expect.provides.more", Want: "(none)", Got: "1"},
		},
		{
			"provided less", func(s *tasktest.Seen) { delete(s.Provides, "ticket") },
			tasktest.Difference{Where: "expect.provides.ticket", Want: `{"at":"$any","by":"$string","id":7,"n":"$number","url":"$match ^https:"}`, Got: "(none)"},
		},
		{
			"other number", func(s *tasktest.Seen) {
				s.Provides = raw(map[string]string{"ticket": `{"id": 8, "at": [1], "by": "me", "n": 1, "url": "https://x"}`})
			},
			tasktest.Difference{Where: "expect.provides.ticket.id", Want: "7", Got: "8"},
		},
		{
			"no number", func(s *tasktest.Seen) {
				s.Provides = raw(map[string]string{"ticket": `{"id": 7, "at": [1], "by": "me", "n": "1", "url": "https://x"}`})
			},
			tasktest.Difference{Where: "expect.provides.ticket.n", Want: `"$number"`, Got: `"1"`},
		},
		{
			"other text", func(s *tasktest.Seen) {
				s.Provides = raw(map[string]string{"ticket": `{"id": 7, "at": [1], "by": "me", "n": 1, "url": "http://x"}`})
			},
			tasktest.Difference{Where: "expect.provides.ticket.url", Want: `"$match ^https:"`, Got: `"http://x"`},
		},
		{
			"a field more", func(s *tasktest.Seen) {
				s.Provides = raw(map[string]string{"ticket": `{"id": 7, "at": [1], "by": "me", "n": 1, "url": "https://x", "z": 0}`})
			},
			tasktest.Difference{Where: "expect.provides.ticket.z", Want: "(none)", Got: "0"},
		},
		{"kept in the library", func(s *tasktest.Seen) { s.Library = raw(nil) }, tasktest.Difference{Where: "expect.kv.library.last", Want: `"$string"`, Got: "(none)"}},
		{
			"scratch", func(s *tasktest.Seen) { s.Scratch = raw(map[string]string{"scratch/a": "1"}) },
			tasktest.Difference{Where: "expect.kv.scratch.scratch/a", Want: "(none)", Got: "1"},
		},
		{
			"an op more", func(s *tasktest.Seen) {
				s.Ops = append(s.Ops, tasktest.SeenOp{Op: "nova.server_get", Request: json.RawMessage(`{"id":"u-1"}`)})
			},
			tasktest.Difference{Where: "expect.ops", Want: "(none)", Got: `nova.server_get {"id":"web-1"}`},
		},
		{"an op less", func(s *tasktest.Seen) { s.Ops = s.Ops[:1] }, tasktest.Difference{Where: "expect.ops[0]", Want: "nova.server_list", Got: "(none)"}},
		{
			"a request", func(s *tasktest.Seen) { s.Nova = nil },
			tasktest.Difference{Where: "expect.nova[0]", Want: `POST /servers/web-1/action {"os-stop":null}`, Got: "(none)"},
		},
		{
			"lines in another order", func(s *tasktest.Seen) { s.Logs = s.Logs[2:] },
			tasktest.Difference{Where: "expect.logs[0]", Want: "opened", Got: "number 7"},
		},
		{"a problem", func(s *tasktest.Seen) { s.Problems = []string{"nobody answers"} }, tasktest.Difference{Got: "nobody answers"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := seenFull()
			tt.change(&s)
			got := c.Compare(s)
			if len(got) == 0 {
				t.Fatal("no difference")
			}
			if got[0].At == "" || !strings.HasPrefix(got[0].At, "tests/a.yaml:") {
				t.Errorf("it is at %q", got[0].At)
			}
			got[0].At = ""
			if got[0] != tt.want {
				t.Errorf("difference %+v, want %+v", got[0], tt.want)
			}
		})
	}
}

// In order, each op is held against the one at its place.
func TestCompareOrder(t *testing.T) {
	const text = "expect:\n  ops:\n    - {op: nova.server_stop, request: {id: a}}\n    - {op: nova.server_stop, request: {id: b}}\n"
	seen := tasktest.Seen{Outcome: "succeeded", Ops: []tasktest.SeenOp{
		{Op: "nova.server_stop", Request: json.RawMessage(`{"id":"b"}`)}, {Op: "nova.server_stop", Request: json.RawMessage(`{"id":"a"}`)},
	}}
	if d := parse(t, text).Compare(seen); len(d) != 2 || d[0].Where != "expect.ops[0].request.id" {
		t.Errorf("in order: %+v", d)
	}
	if d := parse(t, text+"  any_order: true\n").Compare(seen); len(d) != 0 {
		t.Errorf("in any order: %+v", d)
	}
}

// What is updated expects what was seen, keeps what still fits, and leaves the
// rest of the file alone.
func TestUpdate(t *testing.T) {
	const text = `# first
summary: s   # why

expect:
  outcome: failed
  provides: {a: $any, b: 1}
  logs: [two]
  ops: [nova.server_list]

# about inputs
inputs: {host_name: compute-1}
`
	seen := tasktest.Seen{
		Outcome: "succeeded", Provides: raw(map[string]string{"a": `{"x":[1,null]}`, "b": `"yes: \"no\""`, "c d": "true"}),
		Library: raw(map[string]string{"k": "[1]"}), Scratch: raw(nil),
		Ops: []tasktest.SeenOp{
			{Op: "nova.server_list", Request: json.RawMessage(`{"host":"x"}`)},
			{Op: "nova.server_get", Request: json.RawMessage(`{"id":"u-1"}`), Error: "not_found"},
		},
		Nova: []string{`PUT /os-services/compute-1 {"status":"disabled"}`}, Logs: []tasktest.Log{{Message: "one"}, {Message: "two"}}, Names: map[string]string{"u-1": "web-1"},
	}
	const want = `# first
summary: s   # why

expect:
  outcome: succeeded
  provides:
    a: "$any"
    b: "yes: \"no\""
    c d: true
  kv:
    library:
      k: [1]
  ops:
    - nova.server_list
    - op: nova.server_get
      request: {"id": "web-1"}
      error: not_found
  nova:
    - PUT /os-services/compute-1 {"status":"disabled"}
  logs:
    - two

# about inputs
inputs: {host_name: compute-1}
`
	c := parse(t, text)
	got := string(c.Update([]byte(text), seen))
	if got != want {
		t.Errorf("updated to\n%s\nwant\n%s", got, want)
	}
	if d := parse(t, got).Compare(seen); len(d) != 0 {
		t.Errorf("what was seen differs from what was updated: %+v", d)
	}
	without := "inputs: {host_name: compute-1}"
	if d := parse(t, string(parse(t, without).Update([]byte(without), seen))).Compare(seen); len(d) != 0 {
		t.Errorf("a file without expect: %+v", d)
	}
}

func TestWrite(t *testing.T) {
	c := parse(t, "inputs: {host_name: compute-1}\n")
	c.Summary, c.Flow, c.Secrets = "of a: lab", "process", map[string]string{"a.b": "fake"}
	c.Options = map[string]map[string]any{"g": {"n": 1}}
	c.Answers = []tasktest.Answer{
		{Op: "nova.server_list", Request: json.RawMessage(`{"host":"x"}`), Answer: json.RawMessage(`{"servers":[{"name":"ä\u2028\"\\","n":9007199254740993}]}`)},
		{Op: "nova.server_get", Error: &tasktest.OpError{Code: "not_found", Message: "gone: away", Status: 404, RequestID: "req-1"}},
	}
	seen := tasktest.Seen{Outcome: "succeeded", Ops: []tasktest.SeenOp{{Op: "nova.server_list", Request: json.RawMessage(`{"host":"x"}`)}}}
	again := parse(t, string(c.Write(seen)))
	if again.Flow != "process" || again.Summary != c.Summary || again.Secrets["a.b"] != "fake" || len(again.Compare(seen)) != 0 {
		t.Errorf("read again: %+v", again)
	}
	r := again.Replies()
	ans, ok, err := r.Recorded("nova.server_list", []byte(`{ "host": "x" }`))
	var doc struct {
		Servers []struct {
			Name string
			N    json.Number
		}
	}
	if !ok || err != nil || json.Unmarshal(ans, &doc) != nil || doc.Servers[0].Name != "ä\u2028\"\\" || doc.Servers[0].N != "9007199254740993" {
		t.Errorf("answer %s, %t, %v", ans, ok, err)
	}
	_, ok, err = r.Recorded("nova.server_get", []byte(`{}`))
	var e *abi.Error
	if !ok || !errors.As(err, &e) || *e != (abi.Error{Code: abi.ErrnoNotFound, Message: "gone: away", Status: 404, RequestID: "req-1"}) {
		t.Errorf("error %+v, %t", err, ok)
	}
	if p := r.Problems(); len(p) != 0 {
		t.Errorf("problems %v", p)
	}
}

// Of several answers to a request each is given once, and the last one again.
func TestReplies(t *testing.T) {
	r := parse(t, `
answers:
  - {op: nova.server_get, request: {id: a}, answer: {n: 1}}
  - {op: nova.server_get, request: {id: b}, answer: {n: 9}}
  - {op: nova.server_get, request: {id: a}, answer: {n: 2}}
`).Replies()
	for _, want := range []string{`{"n":1}`, `{"n":2}`, `{"n":2}`} {
		if got, ok, err := r.Recorded("nova.server_get", []byte(`{"id":"a"}`)); string(got) != want || !ok || err != nil {
			t.Errorf("answer %s, %t, %v, want %s", got, ok, err, want)
		}
	}
	if _, ok, err := r.Recorded("kv.get", []byte(`{"name":"a"}`)); ok || err != nil {
		t.Errorf("an op of another group is answered: %t, %v", ok, err)
	}
	if _, ok, err := r.Recorded("nova.server_get", []byte(`{"id":"c"}`)); !ok || err == nil {
		t.Errorf("a request that was not recorded is answered: %t, %v", ok, err)
	}
	want := `no answer was recorded for nova.server_get {"id":"c"}; record the scenario again`
	if p := r.Problems(); len(p) != 1 || p[0] != want {
		t.Errorf("problems %q, want %q", p, want)
	}
}

func TestHTTPReplies(t *testing.T) {
	r := parse(t, `
http:
  - {method: POST, url: "https://t.example/api", request: {title: a}, status: 503, answer: later}
  - {method: POST, url: "https://t.example/api", request: {title: a}, status: 201, headers: {location: /7, x-request-ID: r}, answer: {id: 7}}
  - {url: "https://t.example/slow", error: {code: timeout, message: too slow}}
`).Replies()
	ask := func(method, url, body string) (abi.HTTPRequestAnswer, error) {
		return r.HTTP(abi.HTTPRequestRequest{Method: method, URL: url, BodyJSON: json.RawMessage(body)})
	}
	first, err := ask("POST", "https://t.example/api", `{"title":"a","more":1}`)
	if err != nil || first.Status != 503 || first.Body != "later" {
		t.Errorf("first %+v, %v", first, err)
	}
	for range 2 {
		second, err := ask("POST", "https://t.example/api", `{"title":"a"}`)
		want := map[string]string{"Location": "/7", "X-Request-Id": "r", "Content-Type": "application/json"}
		if err != nil || second.Status != 201 || second.Body != `{"id":7}` || !reflect.DeepEqual(second.Headers, want) {
			t.Errorf("then %+v, %v", second, err)
		}
	}
	var e *abi.Error
	if _, err := ask("GET", "https://t.example/slow", ``); !errors.As(err, &e) || e.Code != abi.ErrnoTimeout {
		t.Errorf("slow: %v", err)
	}
	if _, err := ask("POST", "https://t.example/api", `{"title":"b"}`); err == nil {
		t.Error("another body is answered")
	}
	want := `nothing below http: answers POST https://t.example/api {"title":"b"}`
	if p := r.Problems(); len(p) != 1 || p[0] != want {
		t.Errorf("problems %q, want %q", p, want)
	}
}

// Whatever is read, nothing panics, and what an update writes is read again and
// expects what was seen.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, "reason", `{"a":[1,"b"]}`)
	f.Add([]byte("expect: {}\ncloud: {hosts: [{name: a}]}\n"), "a: b #c", `"$any"`)
	f.Add([]byte("answers: [{op: nova.server_get}]\nexpect:\n  logs: [x]\n"), "- x", `null`)
	f.Add([]byte("\"expect\": {outcome: failed}\n"), "true", `1e400`)
	f.Fuzz(func(t *testing.T, text []byte, reason, value string) {
		c, err := tasktest.Parse("a.yaml", text, noFiles)
		if err != nil {
			return
		}
		c.Before(time.Unix(0, 0))
		seen := tasktest.Seen{Outcome: tasktest.Failed, Reason: strings.ToValidUTF8(reason, "?"), Ops: []tasktest.SeenOp{}}
		if json.Valid([]byte(value)) && value != "null" {
			seen.Ops = append(seen.Ops, tasktest.SeenOp{Op: "nova.server_get", Request: json.RawMessage(value)})
		}
		c.Compare(seen)
		again, err := tasktest.Parse("a.yaml", c.Update(text, seen), noFiles)
		if err != nil {
			return // such as a file whose outermost mapping is no block
		}
		_ = again.Compare(seen)
	})
}
