package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
)

// testCase is one case: what a guest is told to do, what the host answers, and
// what comes of it. README.md says what the keys mean.
type testCase struct {
	Group, Name string
	Key         string
	Export      string
	Task        map[string]any
	Inputs      map[string]any
	Options     map[string]any
	Steps       []any
	Limits      caseLimits
	Exit        string
	Reason      string
	Error       string
	Logs        []string
	Progress    []string
	Times       []int
}

type caseLimits struct {
	Tickets      int   `json:"tickets"`
	RequestBytes int   `json:"request_bytes"`
	AnswerBytes  int   `json:"answer_bytes"`
	CPU          int64 `json:"cpu"`
}

var exits = map[string]abi.Exit{
	"": abi.ExitSucceeded, "failed": abi.ExitFailed, "nothing_to_do": abi.ExitNothingToDo, "ignored": abi.ExitIgnored,
}

// loadCases reads cases.json and adds the cases that follow from
// abi/schema.json: every op and every error.
func loadCases(t testing.TB) []testCase {
	t.Helper()
	raw, err := os.ReadFile("cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []testCase }
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		t.Fatalf("cases.json: %v", err)
	}
	all := schemaCases(t)
	for _, c := range file.Cases {
		if _, ok := exits[c.Exit]; !ok {
			t.Fatalf("cases.json: case %s: exit %q", c.Name, c.Exit)
		}
		times := c.Times
		if times == nil {
			times = []int{0}
		}
		for _, n := range times {
			e := c
			if c.Times != nil {
				e.Name = fmt.Sprintf("%s, %d", c.Name, n)
			}
			e.Steps = expand(c.Steps, map[string]string{"$n": strconv.Itoa(n)}).([]any)
			all = append(all, e)
		}
	}
	return all
}

// expand replaces what stands for more than itself: {"$repeat": [text, n]},
// {"$list": [n, item]}, in whose items $i is the number, and $n.
func expand(v any, vars map[string]string) any {
	switch v := v.(type) {
	case string:
		for name, value := range vars {
			v = strings.ReplaceAll(v, name, value)
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = expand(e, vars)
		}
		return out
	case map[string]any:
		if args, ok := v["$repeat"].([]any); ok {
			n, err := strconv.Atoi(fmt.Sprint(expand(args[1], vars)))
			if err != nil {
				panic(err)
			}
			return strings.Repeat(args[0].(string), n)
		}
		if args, ok := v["$list"].([]any); ok {
			n, err := strconv.Atoi(fmt.Sprint(args[0]))
			if err != nil {
				panic(err)
			}
			out := make([]any, n)
			for i := range out {
				out[i] = expand(args[1], map[string]string{"$i": strconv.Itoa(i)})
			}
			return out
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = expand(e, vars)
		}
		return out
	}
	return v
}

// schemaNode is what is read of a schema.
type schemaNode struct {
	Ref        string                 `json:"$ref"`
	Type       any                    `json:"type"`
	Properties map[string]*schemaNode `json:"properties"`
	Required   []string               `json:"required"`
	Items      *schemaNode            `json:"items"`
	Additional *schemaNode            `json:"additionalProperties"`
	Enum       []string               `json:"enum"`
	OneOf      []*schemaNode          `json:"oneOf"`
}

type schemaFile struct {
	Errnos []struct{ Name string }
	Ops    []struct {
		Name            string
		Request, Answer *schemaNode
	}
	Defs map[string]*schemaNode `json:"$defs"`
}

// schemaCases makes two cases for every op, one with every key that the
// schema knows and one with as few as may be, and two for every error, of an op
// that is answered at once and one that takes a ticket. Ops of group task are
// not called by authors: other cases need them.
func schemaCases(t testing.TB) []testCase {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "abi", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sc schemaFile
	if err := json.Unmarshal(raw, &sc); err != nil {
		t.Fatal(err)
	}
	var all []testCase
	for _, op := range sc.Ops {
		if strings.HasPrefix(op.Name, "task.") {
			continue
		}
		for _, full := range []bool{true, false} {
			name := op.Name + " with all keys"
			if !full {
				name = op.Name + " with few keys"
			}
			step := map[string]any{
				"do": "call", "op": op.Name, "request": sc.sample(op.Request, full),
				"host": map[string]any{"answer": sc.sample(op.Answer, full)},
			}
			trimKV(op.Name, full, step)
			all = append(all, testCase{Group: "ops", Name: name, Steps: []any{step}})
		}
	}
	for i, e := range sc.Errnos {
		doc := map[string]any{"code": e.Name, "message": "because " + e.Name}
		remote := map[string]any{"code": e.Name, "message": "because " + e.Name, "status": json.Number(strconv.Itoa(400 + i)), "request_id": "req-" + e.Name}
		all = append(all, testCase{Group: "errors", Name: e.Name, Steps: []any{
			map[string]any{"do": "call", "op": "kv.get", "request": map[string]any{"name": "v"}, "host": map[string]any{"error": doc}},
			map[string]any{"do": "call", "op": "nova.server_stop", "request": map[string]any{"id": "s"}, "host": map[string]any{"error": remote}},
		}})
	}
	return all
}

// trimKV makes a request of group kv one that the SDKs send: the keys of scope
// library stay out of scope run, whose answers tell no version.
func trimKV(op string, full bool, step map[string]any) {
	if !strings.HasPrefix(op, "kv.") {
		return
	}
	req := step["request"].(map[string]any)
	if full {
		req["scope"] = "library"
		return
	}
	answer := step["host"].(map[string]any)["answer"].(map[string]any)
	switch op {
	case abi.OpKVGet:
		step["result"] = map[string]any{"answer": map[string]any{"value": answer["value"]}}
	case abi.OpKVPut:
		step["result"] = map[string]any{"answer": map[string]any{}}
	}
}

// sample is a document as the schema has it, with all keys or with those that
// must be there.
func (sc *schemaFile) sample(n *schemaNode, full bool) any {
	switch {
	case n.Ref != "":
		return sc.sample(sc.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")], full)
	case n.OneOf != nil:
		return sc.sample(n.OneOf[0], full)
	case len(n.Enum) > 0:
		return n.Enum[len(n.Enum)-1]
	}
	kind, _ := n.Type.(string)
	if both, ok := n.Type.([]any); ok {
		kind = both[0].(string)
	}
	switch kind {
	case "string":
		return "some text"
	case "integer":
		return json.Number("1234567")
	case "boolean":
		return true
	case "array":
		return []any{sc.sample(n.Items, full), sc.sample(n.Items, false)}
	case "object":
		doc := map[string]any{}
		if n.Additional != nil {
			doc["one key"], doc["other"] = sc.sample(n.Additional, full), sc.sample(n.Additional, full)
			return doc
		}
		if full {
			for name, p := range n.Properties {
				doc[name] = sc.sample(p, full)
			}
		}
		for _, name := range n.Required {
			doc[name] = sc.sample(n.Properties[name], full)
		}
		return doc
	}
	return map[string]any{"any": []any{"thing", true, nil}} // any value at all
}

// covers reports where got lacks something of want, "" when it has all. Got may
// have more keys; null in want may be missing or empty in got; numbers are
// compared exactly.
func covers(path string, got, want any) string {
	differs := func() string { return fmt.Sprintf("%s: got %s, want %s", path, short(got), short(want)) }
	switch want := want.(type) {
	case nil:
		if got != nil && got != "" {
			return differs()
		}
		return ""
	case map[string]any:
		if either, ok := want["$either"].([]any); ok {
			for _, w := range either {
				if covers(path, got, w) == "" {
					return ""
				}
			}
			return differs()
		}
		g, ok := got.(map[string]any)
		if !ok {
			return differs()
		}
		for k, w := range want {
			if isEmpty(w) && isEmpty(g[k]) {
				continue // a typed language leaves it out
			}
			if _, there := g[k]; !there {
				return differs()
			}
			if d := covers(path+"."+k, g[k], w); d != "" {
				return d
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return differs()
		}
		for i, w := range want {
			if d := covers(fmt.Sprintf("%s[%d]", path, i), g[i], w); d != "" {
				return d
			}
		}
		return ""
	case json.Number:
		g, ok := got.(json.Number)
		if !ok || !sameNumber(g, want) {
			return differs()
		}
		return ""
	}
	if got != want {
		return differs()
	}
	return ""
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case json.Number:
		return v == "0"
	}
	return false
}

// sameNumber compares exactly; of fractions only what a float64 keeps.
func sameNumber(a, b json.Number) bool {
	x, ok1 := new(big.Rat).SetString(a.String())
	y, ok2 := new(big.Rat).SetString(b.String())
	if !ok1 || !ok2 {
		return false
	}
	if x.Cmp(y) == 0 {
		return true
	}
	if x.IsInt() && y.IsInt() && x.Num().IsInt64() && y.Num().IsInt64() {
		return false
	}
	fx, _ := x.Float64()
	fy, _ := y.Float64()
	return fx == fy
}

// same compares requests: all keys of both.
func same(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !same(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		return ok && sameNumber(a, b)
	}
	return a == b
}

func short(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	const most = 300
	if len(b) > most {
		return fmt.Sprintf("%s… (%d bytes)", b[:most], len(b))
	}
	return string(b)
}

func decodeJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
