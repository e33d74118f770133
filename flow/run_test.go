package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// world is everything that flow is given: journal, runner, reserved hosts and
// undo list. It survives the death of a process, which is a panic with errKilled.
type world struct {
	t    *testing.T
	plan map[recovery.FlowKind]*flow.Plan

	run     recovery.Run
	records map[int]string // JSON by number
	values  map[string]json.RawMessage

	// outcome scripts the tasks; nil: all succeed. Provided is filled in.
	outcome func(flow.TaskCall) recovery.Outcome
	revert  func(flow.TaskCall) recovery.Outcome
	claim   func(host string) error
	undo    func(context.Context) error
	during  func(flow.TaskCall) // called in the middle of a task

	log    []string // what was run and reverted, with what it saw
	claims []string
	undone int
	events []string
	tasks  []*recovery.TaskRecord // as they were observed

	// point counts everything that flow asks for; at the points in dieAt the
	// process dies before or after what was asked is done.
	point    int
	dieAt    map[int]bool
	dieAfter bool
	// failAt is the point at which the journal gives an error.
	failAt int
}

var (
	errKilled  = errors.New("killed")
	errJournal = errors.New("disk full")
)

func (w *world) at(do func()) {
	w.point++
	if w.dieAt[w.point] && !w.dieAfter {
		panic(errKilled)
	}
	do()
	if w.dieAt[w.point] {
		panic(errKilled)
	}
}

func (w *world) journal(ctx context.Context, do func()) error {
	if ctx.Err() != nil {
		w.t.Error("the journal was given a context that has ended")
	}
	if w.point+1 == w.failAt {
		w.point++
		return errJournal
	}
	w.at(do)
	return nil
}

func (w *world) Start(ctx context.Context, run recovery.Run) error {
	return w.journal(ctx, func() { w.run = run })
}

func (w *world) StartTask(ctx context.Context, rec recovery.TaskRecord) error {
	return w.journal(ctx, func() { w.put(rec) })
}

func (w *world) FinishTask(ctx context.Context, rec recovery.TaskRecord, provided map[string]json.RawMessage) error {
	return w.journal(ctx, func() {
		w.put(rec)
		maps.Copy(w.values, provided)
	})
}

func (w *world) SetValues(ctx context.Context, values map[string]json.RawMessage) error {
	return w.journal(ctx, func() { w.values = maps.Clone(values) })
}

func (w *world) End(ctx context.Context, run recovery.Run) error {
	return w.journal(ctx, func() { w.run = run })
}

func (w *world) put(rec recovery.TaskRecord) {
	data, err := json.Marshal(rec)
	if err != nil {
		w.t.Error(err)
	}
	w.records[rec.Seq] = string(data)
}

func (w *world) history() []recovery.TaskRecord {
	var out []recovery.TaskRecord
	for _, data := range w.records {
		var rec recovery.TaskRecord
		if err := json.Unmarshal([]byte(data), &rec); err != nil {
			w.t.Error(err)
		}
		out = append(out, rec)
	}
	return out
}

// statuses lists the records in the order of their numbers.
func (w *world) statuses() []string {
	records := w.history()
	slices.SortFunc(records, func(a, b recovery.TaskRecord) int { return a.Seq - b.Seq })
	var out []string
	for _, r := range records {
		s := fmt.Sprintf("%s/%d %s %s", r.Phase, r.Round, r.Key, r.Status)
		if r.Message != "" {
			s += ": " + r.Message
		}
		out = append(out, s)
	}
	return out
}

func (w *world) Run(ctx context.Context, c flow.TaskCall) recovery.Outcome {
	var out recovery.Outcome
	w.at(func() {
		w.log = append(w.log, "run "+saw(c))
		if w.during != nil {
			w.during(c)
		}
		if w.outcome != nil {
			out = w.outcome(c)
		}
		if out.Status == "" {
			out.Status = recovery.TaskSucceeded
		}
		if ctx.Err() != nil && out.Status == recovery.TaskSucceeded {
			out = recovery.Outcome{Status: recovery.TaskInterrupted, Message: "stopped"}
		}
		if out.Status == recovery.TaskSucceeded && out.Provided == nil {
			out.Provided = make(map[string]json.RawMessage)
			for _, name := range c.Task.Provides {
				out.Provided[name] = json.RawMessage(fmt.Sprintf("%q", fmt.Sprintf("%s-r%d", c.Key, c.Round)))
			}
		}
	})
	return out
}

func (w *world) Revert(ctx context.Context, c flow.TaskCall) recovery.Outcome {
	out := recovery.Outcome{Status: recovery.TaskSucceeded}
	w.at(func() {
		w.log = append(w.log, "revert "+saw(c)+" because "+c.Failure)
		if !c.Reverting {
			w.t.Error("Reverting is false in a revert")
		}
		if w.during != nil {
			w.during(c)
		}
		if w.revert != nil {
			out = w.revert(c)
		}
		if out.Status == "" {
			out.Status = recovery.TaskSucceeded
		}
		if ctx.Err() != nil {
			out = recovery.Outcome{Status: recovery.TaskInterrupted}
		}
	})
	return out
}

// saw describes a call without what may differ between attempts.
func saw(c flow.TaskCall) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Place(), c.Key)
	if c.ReservedHost != "" {
		b.WriteString(" on " + c.ReservedHost)
	}
	for _, name := range c.Reads {
		fmt.Fprintf(&b, " %s=%s", name, c.Values[name])
	}
	return b.String()
}

func (w *world) Claim(_ context.Context, host string) error {
	var err error
	w.at(func() {
		if w.claim != nil {
			err = w.claim(host)
		}
		if err == nil {
			w.claims = append(w.claims, "claim "+host)
		}
	})
	return err
}

func (w *world) Settle(_ context.Context, host string) error {
	w.at(func() { w.claims = append(w.claims, "settle "+host) })
	return nil
}

func (w *world) Undo(ctx context.Context) error {
	var err error
	w.at(func() {
		w.undone++
		if w.undo != nil {
			err = w.undo(ctx)
		}
	})
	return err
}

func (w *world) observe(e recovery.Event) {
	switch {
	case e.Run != nil:
		w.events = append(w.events, fmt.Sprintf("run %s finished=%t", e.Run.Status, e.Run.Finished))
	case e.Task != nil:
		w.events = append(w.events, fmt.Sprintf("%s %s", e.Task.Key, e.Task.Status))
		w.tasks = append(w.tasks, e.Task)
	}
}

func (w *world) request() flow.Request {
	return flow.Request{
		Run: w.run, Plans: w.plan, Runner: w, Journal: w, Reserved: w, Undo: w, Observe: w.observe,
		History: w.history(), Values: w.values,
	}
}

// newWorld makes a run of the given flows. Each text is as parse takes it.
func newWorld(t *testing.T, c catalog, inputs map[string]string, flows ...string) *world {
	t.Helper()
	w := &world{t: t, plan: make(map[recovery.FlowKind]*flow.Plan), records: make(map[int]string), values: make(map[string]json.RawMessage)}
	w.run = recovery.Run{ID: "r1", Inputs: make(map[string]json.RawMessage), Status: recovery.StatusNew}
	for name, v := range inputs {
		w.run.Inputs[name] = json.RawMessage(v)
	}
	for _, f := range flows {
		name, text, _ := strings.Cut(f, ": ")
		kind := recovery.FlowKind(name)
		p, err := flow.Check(parse(kind, text), c, flow.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.run.Flows = append(w.run.Flows, kind)
		w.plan[kind] = p
	}
	return w
}

// fails makes an outcome function of lines "key round reason"; round 0 stands
// for any. A reason that begins with a status and a colon ends so instead.
func fails(lines ...string) func(flow.TaskCall) recovery.Outcome {
	return func(c flow.TaskCall) recovery.Outcome {
		for _, line := range lines {
			f := strings.SplitN(line, " ", 3)
			if f[0] != c.Key || f[1] != "0" && f[1] != fmt.Sprint(c.Round) {
				continue
			}
			status, reason := recovery.TaskFailed, f[2]
			if s, rest, ok := strings.Cut(f[2], ": "); ok {
				status, reason = recovery.TaskStatus(s), rest
			}
			return recovery.Outcome{Status: status, Message: reason}
		}
		return recovery.Outcome{}
	}
}

var standard = tasks(
	recovery.Task{Key: "a", HasRevert: true, Requires: []string{"host_name"}, Provides: []string{"x"}},
	recovery.Task{Key: "b", Optional: []string{"x", "y", "reserved_host"}},
	recovery.Task{Key: "c", HasRevert: true, Requires: []string{"x"}, Provides: []string{"y"}, Optional: []string{"y"}, Class: "TaskC"},
	recovery.Task{Key: "d", HasRevert: true, Optional: []string{"x", "y", "z"}, Provides: []string{"z"}},
	recovery.Task{Key: "e", HasRevert: true, Optional: []string{"reserved_host"}},
	recovery.Task{Key: "once", HasRevert: true, OnInterrupt: recovery.FailOnInterrupt},
)

var oneHost = map[string]string{"host_name": `"h1"`, "reserved_host_list": `["r1","r2","r2","r3"]`}

func TestRun(t *testing.T) {
	tests := []struct {
		name    string
		flows   []string
		inputs  map[string]string
		outcome func(flow.TaskCall) recovery.Outcome
		revert  func(flow.TaskCall) recovery.Outcome
		claim   func(string) error
		undo    error

		status  recovery.NotificationStatus
		message string
		log     []string
		tasks   []string
		claims  []string
		values  string
	}{
		{
			name: "phases in order, values passed on", flows: []string{"host-auto: a b|c|b d"},
			status: recovery.StatusFinished,
			log: []string{
				`run host-auto/pre/0/1 a host_name="h1"`,
				`run host-auto/pre/1/1 b x="a-r1"`,
				`run host-auto/main/0/1 c x="a-r1"`,
				`run host-auto/post/0/1 b x="a-r1" y="c-r1"`,
				`run host-auto/post/1/1 d x="a-r1" y="c-r1"`,
			},
			tasks:  []string{"pre/1 a succeeded", "pre/1 b succeeded", "main/1 c succeeded", "post/1 b succeeded", "post/1 d succeeded"},
			values: `{"x":"a-r1","y":"c-r1","z":"d-r1"}`,
		},
		{
			name: "empty flow", flows: []string{"host-auto: ||"}, status: recovery.StatusFinished, values: `{}`,
		},
		{
			name: "nothing to do ends the flow well", flows: []string{"host-auto: a|b|c"}, outcome: fails("b 0 nothing_to_do: no servers"),
			status: recovery.StatusFinished, message: "task b: no servers",
			log:    []string{`run host-auto/pre/0/1 a host_name="h1"`, `run host-auto/main/0/1 b x="a-r1"`},
			tasks:  []string{"pre/1 a succeeded", "main/1 b nothing_to_do: no servers"},
			values: `{"x":"a-r1"}`,
		},
		{
			name: "ignored", flows: []string{"host-auto: a|b|c"}, outcome: fails("a 0 ignored: not ours"),
			status: recovery.StatusIgnored, message: "task a: not ours",
			log:   []string{`run host-auto/pre/0/1 a host_name="h1"`},
			tasks: []string{"pre/1 a ignored: not ours"}, values: `{}`,
		},
		{
			name: "failure reverts from the failed one back, what has a revert", flows: []string{"host-auto: a b|c|d e"}, outcome: fails("d 0 boom"),
			status: recovery.StatusFailed, message: "flow host-auto: task d: boom",
			log: []string{
				`run host-auto/pre/0/1 a host_name="h1"`,
				`run host-auto/pre/1/1 b x="a-r1"`,
				`run host-auto/main/0/1 c x="a-r1"`,
				`run host-auto/post/0/1 d x="a-r1" y="c-r1"`,
				`revert host-auto/post/0/1 d x="a-r1" y="c-r1" because flow host-auto: task d: boom`,
				`revert host-auto/main/0/1 c x="a-r1" y="c-r1" because flow host-auto: task d: boom`,
				`revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: task d: boom`,
			},
			tasks:  []string{"pre/1 a reverted", "pre/1 b succeeded", "main/1 c reverted", "post/1 d reverted: boom"},
			values: `{"x":"a-r1","y":"c-r1"}`,
		},
		{
			name: "a revert that fails does not stop the others", flows: []string{"host-auto: a|c|e"}, outcome: fails("e 0 boom"), revert: fails("c 0 no way"),
			status: recovery.StatusFailed, message: "flow host-auto: task e: boom",
			log: []string{
				`run host-auto/pre/0/1 a host_name="h1"`, `run host-auto/main/0/1 c x="a-r1"`, `run host-auto/post/0/1 e`,
				`revert host-auto/post/0/1 e because flow host-auto: task e: boom`,
				`revert host-auto/main/0/1 c x="a-r1" y="c-r1" because flow host-auto: task e: boom`,
				`revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: task e: boom`,
			},
			tasks:  []string{"pre/1 a reverted", "main/1 c revert_failed: revert failed: no way", "post/1 e reverted: boom"},
			values: `{"x":"a-r1","y":"c-r1"}`,
		},
		{
			name: "a revert that finds nothing to undo leaves the status", flows: []string{"host-auto: a|c|"}, outcome: fails("c 0 boom"), revert: fails("c 0 nothing_to_do: "),
			status: recovery.StatusFailed, message: "flow host-auto: task c: boom",
			log: []string{
				`run host-auto/pre/0/1 a host_name="h1"`, `run host-auto/main/0/1 c x="a-r1"`,
				`revert host-auto/main/0/1 c x="a-r1" because flow host-auto: task c: boom`,
				`revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: task c: boom`,
			},
			tasks:  []string{"pre/1 a reverted", "main/1 c failed: boom"},
			values: `{"x":"a-r1"}`,
		},
		{
			name: "a task without revert keeps its status", flows: []string{"host-auto: b||"}, outcome: fails("b 0 boom"),
			status: recovery.StatusFailed, message: "flow host-auto: task b: boom",
			log: []string{`run host-auto/pre/0/1 b`}, tasks: []string{"pre/1 b failed: boom"}, values: `{}`,
		},
		{
			name: "a promised value missing", flows: []string{"host-auto: d||"},
			outcome: func(flow.TaskCall) recovery.Outcome {
				return recovery.Outcome{Status: recovery.TaskSucceeded, Provided: map[string]json.RawMessage{}}
			},
			status: recovery.StatusFailed, message: "flow host-auto: task d: it did not put z, which its manifest provides",
			log:    []string{`run host-auto/pre/0/1 d`, `revert host-auto/pre/0/1 d because flow host-auto: task d: it did not put z, which its manifest provides`},
			tasks:  []string{"pre/1 d reverted: it did not put z, which its manifest provides"},
			values: `{}`,
		},
		{
			name: "a value not promised", flows: []string{"host-auto: b||"},
			outcome: func(flow.TaskCall) recovery.Outcome {
				return recovery.Outcome{Status: recovery.TaskSucceeded, Provided: map[string]json.RawMessage{"host_name": nil}}
			},
			status: recovery.StatusFailed, message: "flow host-auto: task b: it put host_name, which its manifest does not provide",
			log:    []string{`run host-auto/pre/0/1 b`},
			tasks:  []string{"pre/1 b failed: it put host_name, which its manifest does not provide"},
			values: `{}`,
		},
		{
			name: "a status that no runner may give", flows: []string{"host-auto: b||"}, outcome: fails("b 0 reverted: x"),
			status: recovery.StatusFailed, message: `flow host-auto: task b: its runner gave the status "reverted"`,
			log:    []string{`run host-auto/pre/0/1 b`},
			tasks:  []string{`pre/1 b failed: its runner gave the status "reverted"`},
			values: `{}`,
		},
		{
			name: "inputs of another kind of flow are not seeded", flows: []string{"host-auto: b||b"},
			inputs: map[string]string{"x": `"input"`, "reserved_host": `"r9"`},
			status: recovery.StatusFinished, values: `{}`,
			log:   []string{`run host-auto/pre/0/1 b`, `run host-auto/post/0/1 b`},
			tasks: []string{"pre/1 b succeeded", "post/1 b succeeded"},
		},
		{
			name: "undo fails", flows: []string{"host-auto: b||"}, undo: errors.New("server 7f3: still locked"),
			status: recovery.StatusFinished, message: "left to undo: server 7f3: still locked",
			log: []string{`run host-auto/pre/0/1 b`}, tasks: []string{"pre/1 b succeeded"}, values: `{}`,
		},
		{
			name: "reserved hosts: first one works", flows: []string{"host-rh: a b|b e|e"}, status: recovery.StatusFinished,
			log: []string{
				`run host-rh/pre/0/1 a host_name="h1"`,
				`run host-rh/pre/1/1 b x="a-r1"`,
				`run host-rh/main/0/1 b on r1 reserved_host="r1" x="a-r1"`,
				`run host-rh/main/1/1 e on r1 reserved_host="r1"`,
				`run host-rh/post/0/1 e on r1 reserved_host="r1"`,
			},
			tasks:  []string{"pre/1 a succeeded", "pre/1 b succeeded", "main/1 b succeeded", "main/1 e succeeded", "post/1 e succeeded"},
			claims: []string{"claim r1", "settle r1"}, values: `{"x":"a-r1"}`,
		},
		{
			name: "reserved hosts: next one after a revert of main, values as after pre", flows: []string{"host-rh: a|c b e|d"}, outcome: fails("e 1 full"),
			status: recovery.StatusFinished,
			log: []string{
				`run host-rh/pre/0/1 a host_name="h1"`,
				`run host-rh/main/0/1 c on r1 x="a-r1"`,
				`run host-rh/main/1/1 b on r1 reserved_host="r1" x="a-r1" y="c-r1"`,
				`run host-rh/main/2/1 e on r1 reserved_host="r1"`,
				`revert host-rh/main/2/1 e on r1 reserved_host="r1" because flow host-rh: task e: full (reserved host r1)`,
				`revert host-rh/main/0/1 c on r1 x="a-r1" y="c-r1" because flow host-rh: task e: full (reserved host r1)`,
				`run host-rh/main/0/2 c on r2 x="a-r1"`,
				`run host-rh/main/1/2 b on r2 reserved_host="r2" x="a-r1" y="c-r2"`,
				`run host-rh/main/2/2 e on r2 reserved_host="r2"`,
				`run host-rh/post/0/2 d on r2 x="a-r1" y="c-r2"`,
			},
			tasks: []string{
				"pre/1 a succeeded", "main/1 c reverted", "main/1 b succeeded", "main/1 e reverted: full",
				"main/2 c succeeded", "main/2 b succeeded", "main/2 e succeeded", "post/2 d succeeded",
			},
			claims: []string{"claim r1", "settle r1", "claim r2", "settle r2"}, values: `{"x":"a-r1","y":"c-r2","z":"d-r2"}`,
		},
		{
			name: "reserved hosts: all used up, each once, pre is reverted", flows: []string{"host-rh: a|b|"}, outcome: fails("b 1 full", "b 2 also full", "b 3 full too"),
			status: recovery.StatusFailed, message: "flow host-rh: task b: full too (reserved host r3)",
			log: []string{
				`run host-rh/pre/0/1 a host_name="h1"`,
				`run host-rh/main/0/1 b on r1 reserved_host="r1" x="a-r1"`,
				`run host-rh/main/0/2 b on r2 reserved_host="r2" x="a-r1"`,
				`run host-rh/main/0/3 b on r3 reserved_host="r3" x="a-r1"`,
				`revert host-rh/pre/0/1 a host_name="h1" x="a-r1" because flow host-rh: task b: full too (reserved host r3)`,
			},
			tasks:  []string{"pre/1 a reverted", "main/1 b failed: full", "main/2 b failed: also full", "main/3 b failed: full too"},
			claims: []string{"claim r1", "settle r1", "claim r2", "settle r2", "claim r3", "settle r3"}, values: `{"x":"a-r1"}`,
		},
		{
			name: "reserved hosts: a claim that fails takes the next and says so", flows: []string{"host-rh: |e|"},
			claim:  func(host string) error { return map[string]error{"r1": errors.New("in use by run 9")}[host] },
			status: recovery.StatusFinished, message: "reserved host r1 was passed over: in use by run 9",
			log:    []string{`run host-rh/main/0/1 e on r2 reserved_host="r2"`},
			tasks:  []string{"main/1 e succeeded"},
			claims: []string{"claim r2", "settle r2"}, values: `{}`,
		},
		{
			name: "reserved hosts: none can be claimed", flows: []string{"host-rh: a|e|"},
			claim:  func(string) error { return errors.New("taken") },
			status: recovery.StatusFailed,
			message: "reserved host r1 was passed over: taken; reserved host r2 was passed over: taken; reserved host r3 was passed over: taken; " +
				"flow host-rh: no reserved host could be claimed",
			log: []string{
				`run host-rh/pre/0/1 a host_name="h1"`,
				`revert host-rh/pre/0/1 a host_name="h1" x="a-r1" because flow host-rh: no reserved host could be claimed`,
			},
			tasks: []string{"pre/1 a reverted"}, values: `{"x":"a-r1"}`,
		},
		{
			name: "reserved hosts: none at all", flows: []string{"host-rh: a|e|"}, inputs: map[string]string{"host_name": `"h1"`, "reserved_host_list": `[]`},
			status: recovery.StatusFailed, message: "flow host-rh: no reserved hosts available for evacuation", values: `{}`,
		},
		{
			name: "reserved hosts: a failure in post takes no other host", flows: []string{"host-rh: a|c|e"}, outcome: fails("e 0 boom"),
			status: recovery.StatusFailed, message: "flow host-rh: task e: boom",
			log: []string{
				`run host-rh/pre/0/1 a host_name="h1"`, `run host-rh/main/0/1 c on r1 x="a-r1"`, `run host-rh/post/0/1 e on r1 reserved_host="r1"`,
				`revert host-rh/post/0/1 e on r1 reserved_host="r1" because flow host-rh: task e: boom`,
				`revert host-rh/main/0/1 c on r1 x="a-r1" y="c-r1" because flow host-rh: task e: boom`,
				`revert host-rh/pre/0/1 a host_name="h1" x="a-r1" because flow host-rh: task e: boom`,
			},
			tasks:  []string{"pre/1 a reverted", "main/1 c reverted", "post/1 e reverted: boom"},
			claims: []string{"claim r1", "settle r1"}, values: `{"x":"a-r1","y":"c-r1"}`,
		},
		{
			name: "reserved hosts: nothing to do in main", flows: []string{"host-rh: |b e|e"}, outcome: fails("b 0 nothing_to_do: empty"),
			status: recovery.StatusFinished, message: "task b: empty",
			log:    []string{`run host-rh/main/0/1 b on r1 reserved_host="r1"`},
			tasks:  []string{"main/1 b nothing_to_do: empty"},
			claims: []string{"claim r1", "settle r1"}, values: `{}`,
		},
		{
			name: "fallback starts afresh and counts rounds on", flows: []string{"host-auto: a|c|e", "host-rh: a|c b|"}, outcome: fails("e 1 boom", "b 2 full"),
			status: recovery.StatusFinished, message: "flow host-auto: task e: boom; flow host-rh finished",
			log: []string{
				`run host-auto/pre/0/1 a host_name="h1"`, `run host-auto/main/0/1 c x="a-r1"`, `run host-auto/post/0/1 e`,
				`revert host-auto/post/0/1 e because flow host-auto: task e: boom`,
				`revert host-auto/main/0/1 c x="a-r1" y="c-r1" because flow host-auto: task e: boom`,
				`revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: task e: boom`,
				`run host-rh/pre/0/2 a host_name="h1"`, `run host-rh/main/0/2 c on r1 x="a-r2"`, `run host-rh/main/1/2 b on r1 reserved_host="r1" x="a-r2" y="c-r2"`,
				`revert host-rh/main/0/2 c on r1 x="a-r2" y="c-r2" because flow host-rh: task b: full (reserved host r1)`,
				`run host-rh/main/0/3 c on r2 x="a-r2"`, `run host-rh/main/1/3 b on r2 reserved_host="r2" x="a-r2" y="c-r3"`,
			},
			tasks: []string{
				"pre/1 a reverted", "main/1 c reverted", "post/1 e reverted: boom", "pre/2 a succeeded", "main/2 c reverted", "main/2 b failed: full",
				"main/3 c succeeded", "main/3 b succeeded",
			},
			claims: []string{"claim r1", "settle r1", "claim r2", "settle r2"}, values: `{"x":"a-r2","y":"c-r3"}`,
		},
		{
			name: "fallback when there are no reserved hosts", flows: []string{"host-rh: a||", "host-auto: b||"}, inputs: map[string]string{"host_name": `"h1"`},
			status: recovery.StatusFinished, message: "flow host-rh: no reserved hosts available for evacuation; flow host-auto finished",
			log: []string{`run host-auto/pre/0/2 b`}, tasks: []string{"pre/2 b succeeded"}, values: `{}`,
		},
		{
			name: "both flows fail", flows: []string{"host-rh: |b|", "host-auto: b||"},
			inputs:  map[string]string{"reserved_host_list": `["r1"]`},
			outcome: fails("b 1 one", "b 2 two"),
			status:  recovery.StatusFailed, message: "flow host-rh: task b: one (reserved host r1); flow host-auto: task b: two",
			log:    []string{`run host-rh/main/0/1 b on r1 reserved_host="r1"`, `run host-auto/pre/0/2 b`},
			tasks:  []string{"main/1 b failed: one", "pre/2 b failed: two"},
			claims: []string{"claim r1", "settle r1"}, values: `{}`,
		},
		{
			name: "values of a failed round are gone", flows: []string{"host-rh: |d e|"}, outcome: fails("e 1 full", "d 2 full too"),
			inputs: map[string]string{"reserved_host_list": `["r1","r2"]`},
			status: recovery.StatusFailed, message: "flow host-rh: task d: full too (reserved host r2)",
			log: []string{
				`run host-rh/main/0/1 d on r1`, `run host-rh/main/1/1 e on r1 reserved_host="r1"`,
				`revert host-rh/main/1/1 e on r1 reserved_host="r1" because flow host-rh: task e: full (reserved host r1)`,
				`revert host-rh/main/0/1 d on r1 z="d-r1" because flow host-rh: task e: full (reserved host r1)`,
				`run host-rh/main/0/2 d on r2`,
				`revert host-rh/main/0/2 d on r2 because flow host-rh: task d: full too (reserved host r2)`,
			},
			tasks:  []string{"main/1 d reverted", "main/1 e reverted: full", "main/2 d reverted: full too"},
			claims: []string{"claim r1", "settle r1", "claim r2", "settle r2"}, values: `{}`,
		},
		{
			name: "values of a failed flow are gone", flows: []string{"host-auto: a b||", "host-rh: b||"}, outcome: fails("b 1 boom"),
			status: recovery.StatusFinished, message: "flow host-auto: task b: boom; flow host-rh finished",
			log: []string{
				`run host-auto/pre/0/1 a host_name="h1"`, `run host-auto/pre/1/1 b x="a-r1"`,
				`revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: task b: boom`,
				`run host-rh/pre/0/2 b`,
			},
			tasks:  []string{"pre/1 a reverted", "pre/1 b failed: boom", "pre/2 b succeeded"},
			claims: []string{"claim r1", "settle r1"}, values: `{}`,
		},
		{
			name: "no fallback after nothing to do", flows: []string{"host-auto: b||", "host-rh: b||"}, outcome: fails("b 0 nothing_to_do: empty"),
			status: recovery.StatusFinished, message: "task b: empty",
			log: []string{`run host-auto/pre/0/1 b`}, tasks: []string{"pre/1 b nothing_to_do: empty"}, values: `{}`,
		},
		{
			name: "no fallback after ignored", flows: []string{"host-auto: b||", "host-rh: b||"}, outcome: fails("b 0 ignored: no"),
			status: recovery.StatusIgnored, message: "task b: no",
			log: []string{`run host-auto/pre/0/1 b`}, tasks: []string{"pre/1 b ignored: no"}, values: `{}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.inputs == nil {
				tt.inputs = oneHost
			}
			w := newWorld(t, standard, tt.inputs, tt.flows...)
			w.outcome, w.revert, w.claim = tt.outcome, tt.revert, tt.claim
			w.undo = func(context.Context) error { return tt.undo }
			run, err := flow.Run(t.Context(), w.request())
			if err != nil {
				t.Fatal(err)
			}
			if run.Status != tt.status || run.Message != tt.message {
				t.Errorf("run = %s %q, want %s %q", run.Status, run.Message, tt.status, tt.message)
			}
			if !run.Finished || run.Ended.IsZero() || w.undone != 1 {
				t.Errorf("finished %t at %v, undo called %d times", run.Finished, run.Ended, w.undone)
			}
			if got, want := asJSON(t, w.run), asJSON(t, run); got != want {
				t.Errorf("run in the journal = %s, want %s", got, want)
			}
			equal(t, "log", w.log, tt.log)
			equal(t, "tasks", w.statuses(), tt.tasks)
			equal(t, "claims", w.claims, tt.claims)
			if got := asJSON(t, w.values); got != tt.values {
				t.Errorf("values = %s, want %s", got, tt.values)
			}
		})
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n\t%s\nwant:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRunTellsTheRunnerAndTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standard, oneHost, "host-rh: a|c|")
		var calls []flow.TaskCall
		w.during = func(c flow.TaskCall) {
			calls = append(calls, c)
			time.Sleep(3 * time.Second)
		}
		w.outcome = func(c flow.TaskCall) recovery.Outcome {
			if c.Key == "c" && c.Round == 1 {
				return recovery.Outcome{Status: recovery.TaskFailed, Message: "no", Progress: []recovery.Progress{{Permille: 500, Message: "half"}}}
			}
			return recovery.Outcome{}
		}
		start := time.Now().UTC()
		run, err := flow.Run(t.Context(), w.request())
		if err != nil {
			t.Fatal(err)
		}
		if !run.Started.Equal(start) || run.Ended.Sub(start) != 12*time.Second {
			t.Errorf("run from %v to %v, want from %v for 12 s", run.Started, run.Ended, start)
		}
		var got []string
		for _, c := range calls {
			got = append(got, fmt.Sprintf("%s attempt=%d seq=%d reverting=%t %s %s", c.RunID, c.Attempt, c.Seq, c.Reverting, c.Task.Key, c.IdempotencyKey))
		}
		equal(t, "calls", got, []string{
			"r1 attempt=1 seq=1 reverting=false a r1/host-rh/pre/0/1",
			"r1 attempt=1 seq=2 reverting=false c r1/host-rh/main/0/1",
			"r1 attempt=1 seq=2 reverting=true c r1/host-rh/main/0/1/revert",
			"r1 attempt=1 seq=3 reverting=false c r1/host-rh/main/0/2",
		})
		equal(t, "events", w.events, []string{
			"run running finished=false", "a running", "a succeeded", "c running", "c failed", "c reverting", "c reverted",
			"c running", "c succeeded", "run finished finished=true",
		})
		if got := w.tasks[4]; got.Status != recovery.TaskReverting || !got.Revert.Ended.IsZero() {
			t.Errorf("what was observed when the revert began is now %s, ended %v", got.Status, got.Revert.Ended)
		}
		var failed recovery.TaskRecord
		for _, rec := range w.history() {
			if rec.Seq == 2 {
				failed = rec
			}
		}
		want := recovery.TaskRecord{
			Seq: 2, Flow: recovery.HostReserved, Key: "c", Class: "TaskC", Phase: recovery.Main, Round: 1, Attempt: 1, ReservedHost: "r1",
			Status: recovery.TaskReverted, Message: "no", Started: start.Add(3 * time.Second), Ended: start.Add(6 * time.Second),
			Progress: []recovery.Progress{{Permille: 500, Message: "half"}},
			Revert: &recovery.RevertRecord{
				Of: recovery.TaskFailed, Reason: "no", Attempt: 1, Started: start.Add(6 * time.Second), Ended: start.Add(9 * time.Second),
			},
		}
		if got, want := asJSON(t, failed), asJSON(t, want); got != want {
			t.Errorf("record = %s, want %s", got, want)
		}
	})
}

func TestRunRefusesRequests(t *testing.T) {
	tests := []struct {
		name   string
		change func(*flow.Request)
		want   string
	}{
		{"no id", func(r *flow.Request) { r.Run.ID = "" }, "run : invalid: a run needs an id, a runner and a journal"},
		{"no runner", func(r *flow.Request) { r.Runner = nil }, "run r1: invalid: a run needs an id, a runner and a journal"},
		{"no flow", func(r *flow.Request) { r.Run.Flows = nil }, "run r1: invalid: no flow to run"},
		{"no plan", func(r *flow.Request) { r.Plans = nil }, "run r1: invalid: flow host-rh has no plan"},
		{"flow twice", func(r *flow.Request) { r.Run.Flows = append(r.Run.Flows, "host-rh") }, "run r1: invalid: flow host-rh is listed twice"},
		{
			"reserved hosts", func(r *flow.Request) { r.Run.Inputs["reserved_host_list"] = json.RawMessage(`"r1"`) },
			"run r1: invalid: input reserved_host_list: want a list of host names",
		},
		{"history without pins", func(r *flow.Request) {
			r.History = []recovery.TaskRecord{{Seq: 1}}
		}, "run r1: invalid: it has a history and no pinned plans"},
		{"another module", func(r *flow.Request) {
			flow.Pin(&r.Run, r.Plans)
			r.Run.Modules["a"] = "0123"
			delete(r.Run.Modules, "e")
		}, `run r1: invalid: task "a": its module is sha-a, and the run began with 0123; resume it with that module` + "\n" +
			`invalid: task "e": its module is sha-e, and the run began with none; resume it with that module`},
		{"another plan", func(r *flow.Request) {
			flow.Pin(&r.Run, r.Plans)
			f := r.Run.Plans["host-rh"]
			f.Main = nil
			r.Run.Plans["host-rh"] = f
		}, `run r1: invalid: flow host-rh: main is not what the run began with; resume it with the plan that it pinned`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, standard, oneHost, "host-rh: a|e e|")
			req := w.request()
			tt.change(&req)
			_, err := flow.Run(t.Context(), req)
			if got := text(err); got != tt.want {
				t.Errorf("error = %q, want %q", got, tt.want)
			}
			if !errors.Is(err, recovery.ErrInvalid) {
				t.Error("the error does not match ErrInvalid")
			}
			if w.point != 0 {
				t.Errorf("%d things were asked for, want none", w.point)
			}
		})
	}
}

// TestRunIsInterrupted stops the run in the middle of each task and revert and
// before each, and resumes it.
func TestRunIsInterrupted(t *testing.T) {
	for _, tt := range scenarios {
		t.Run(tt.name, func(t *testing.T) {
			calm := tt.world(t)
			want, err := flow.Run(t.Context(), calm.request())
			if err != nil {
				t.Fatal(err)
			}
			for n := range calm.log {
				w := tt.world(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				seen := 0
				w.during = func(flow.TaskCall) {
					if seen++; seen == n+1 {
						cancel()
					}
				}
				var undoCtx error
				w.undo = func(ctx context.Context) error { undoCtx = ctx.Err(); return nil }
				run, err := flow.Run(ctx, w.request())
				if n == len(calm.log)-1 && err == nil {
					continue // its failure was the last thing
				}
				if !errors.Is(err, recovery.ErrInterrupted) || run.Finished || run.Status != recovery.StatusRunning {
					t.Fatalf("stopped in %d: run %s finished %t, error %v", n, run.Status, run.Finished, err)
				}
				if w.undone != 1 || undoCtx != nil {
					t.Errorf("stopped in %d: undo called %d times, its context %v", n, w.undone, undoCtx)
				}
				if len(w.log) != n+1 {
					t.Errorf("stopped in %d: %d things were run", n, len(w.log))
				}
				w.during = nil
				got, err := flow.Run(t.Context(), w.request())
				if err != nil {
					t.Fatalf("resumed after %d: %v", n, err)
				}
				if tt.claim != nil {
					got.Message = want.Message
				}
				same(t, fmt.Sprintf("stopped in %d", n), w, calm, got, want)
			}
		})
	}
}

// same compares a run that was disturbed with one that was not.
func same(t *testing.T, when string, w, calm *world, got, want recovery.Run) {
	t.Helper()
	if got.Status != want.Status || got.Message != want.Message {
		t.Errorf("%s: run = %s %q, want %s %q", when, got.Status, got.Message, want.Status, want.Message)
	}
	log := slices.Compact(slices.Clone(w.log))
	if !slices.Equal(log, calm.log) {
		t.Errorf("%s: run:\n\t%s\nwant, with one task repeated:\n\t%s", when, strings.Join(w.log, "\n\t"), strings.Join(calm.log, "\n\t"))
	}
	if got, want := asJSON(t, w.values), asJSON(t, calm.values); got != want {
		t.Errorf("%s: values = %s, want %s", when, got, want)
	}
	// Claims and settlements may be repeated, and none may be missing.
	if got := slices.Compact(slices.Clone(w.claims)); lastSettled(got) != lastSettled(calm.claims) {
		t.Errorf("%s: claims = %v, want %v", when, w.claims, calm.claims)
	}
	// Apart from attempts that were interrupted, the journal tells the same.
	whole := slices.DeleteFunc(w.statuses(), func(s string) bool { return strings.Contains(s, " interrupted") })
	if !slices.Equal(whole, calm.statuses()) {
		t.Errorf("%s: tasks:\n\t%s\nwant:\n\t%s", when, strings.Join(w.statuses(), "\n\t"), strings.Join(calm.statuses(), "\n\t"))
	}
}

// lastSettled gives, for each host, the order of the last settlement after its
// last claim; a host that stays claimed shows as such.
func lastSettled(claims []string) string {
	open := make(map[string]string)
	for _, c := range claims {
		what, host, _ := strings.Cut(c, " ")
		open[host] = what
	}
	return fmt.Sprint(open)
}

type scenario struct {
	name    string
	flows   []string
	outcome func(flow.TaskCall) recovery.Outcome
	revert  func(flow.TaskCall) recovery.Outcome
	// claim gives refusals, which only the message of the process that met them
	// tells of.
	claim func(string) error
}

func (s scenario) world(t *testing.T) *world {
	w := newWorld(t, standard, oneHost, s.flows...)
	w.outcome, w.revert, w.claim = s.outcome, s.revert, s.claim
	return w
}

var scenarios = []scenario{
	{name: "success", flows: []string{"host-auto: a b|c|d"}},
	{name: "nothing to do", flows: []string{"host-auto: a b|c|d"}, outcome: fails("c 0 nothing_to_do: no")},
	{name: "ignored", flows: []string{"host-auto: a b|c|d"}, outcome: fails("b 0 ignored: no")},
	{name: "failure", flows: []string{"host-auto: a b|c|d e"}, outcome: fails("d 0 boom"), revert: fails("c 0 no way")},
	{name: "reserved", flows: []string{"host-rh: a b|c e|d"}},
	{name: "reserved, second works", flows: []string{"host-rh: a b|c b e|d"}, outcome: fails("e 1 full")},
	{name: "reserved, used up", flows: []string{"host-rh: a b|c e|d"}, outcome: fails("e 0 full")},
	{name: "reserved, post fails", flows: []string{"host-rh: a|c e|d"}, outcome: fails("e 1 full", "d 0 boom")},
	{name: "reserved, main empty", flows: []string{"host-rh: a||e d"}, outcome: fails("d 0 boom")},
	{
		name: "reserved, one cannot be claimed", flows: []string{"host-rh: a|c e|d"}, outcome: fails("e 1 full"),
		claim: func(host string) error { return map[string]error{"r2": errors.New("taken")}[host] },
	},
	{name: "auto priority", flows: []string{"host-auto: a|c e|d", "host-rh: a b|c e|d"}, outcome: fails("d 1 boom", "e 2 full")},
	{name: "reserved priority", flows: []string{"host-rh: a|c|d e", "host-auto: b a|c e|d"}, outcome: fails("c 0 full", "e 5 boom")},
}

// TestRunGoesOnAfterDeath kills the process before and after each thing that
// flow asks for, and again during the resumption.
func TestRunGoesOnAfterDeath(t *testing.T) {
	for _, tt := range scenarios {
		t.Run(tt.name, func(t *testing.T) {
			calm := tt.world(t)
			want, err := flow.Run(t.Context(), calm.request())
			if err != nil {
				t.Fatal(err)
			}
			points := calm.point
			for first := 1; first <= points; first++ {
				for _, second := range []int{0, 1, 4} {
					for _, after := range []bool{false, true} {
						w := tt.world(t)
						w.dieAfter = after
						w.dieAt = map[int]bool{first: true}
						if second > 0 {
							w.dieAt[first+second] = true
						}
						got := live(t, w)
						when := fmt.Sprintf("killed at %d and %d, after=%t", first, first+second, after)
						if second == 0 && len(w.log) > len(calm.log)+1 {
							t.Errorf("%s: %d things were run, want at most %d", when, len(w.log), len(calm.log)+1)
						}
						if tt.claim != nil {
							got.Message = want.Message
						}
						same(t, when, w, calm, got, want)
						if w.undone == 0 {
							t.Errorf("%s: the undo list was not worked off", when)
						}
					}
				}
			}
		})
	}
}

// live runs until the run has ended, resuming it each time it is killed.
func live(t *testing.T, w *world) recovery.Run {
	t.Helper()
	for range 10 {
		run, alive := once(t, w)
		if alive {
			return run
		}
		if w.run.Finished {
			return w.run
		}
	}
	t.Fatal("the run does not end")
	return recovery.Run{}
}

func once(t *testing.T, w *world) (run recovery.Run, alive bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil && p != any(errKilled) {
			panic(p)
		}
	}()
	run, err := flow.Run(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	return run, true
}

func TestRunStopsWhenTheJournalFails(t *testing.T) {
	for _, tt := range scenarios {
		t.Run(tt.name, func(t *testing.T) {
			calm := tt.world(t)
			want, err := flow.Run(t.Context(), calm.request())
			if err != nil {
				t.Fatal(err)
			}
			failures := 0
			for n := 1; n <= calm.point; n++ {
				w := tt.world(t)
				w.failAt = n
				run, err := flow.Run(t.Context(), w.request())
				if err == nil {
					continue // no journal write
				}
				failures++
				if !errors.Is(err, errJournal) || run.Finished {
					t.Fatalf("failed at %d: finished %t, error %v", n, run.Finished, err)
				}
				if n > 1 && w.undone != 1 {
					t.Errorf("failed at %d: undo called %d times, want 1", n, w.undone)
				}
				w.failAt = 0
				got, err := flow.Run(t.Context(), w.request())
				if err != nil {
					t.Fatalf("resumed after %d: %v", n, err)
				}
				if tt.claim != nil {
					got.Message = want.Message
				}
				same(t, fmt.Sprintf("failed at %d", n), w, calm, got, want)
			}
			if failures < 4 {
				t.Errorf("%d writes failed, want more", failures)
			}
		})
	}
}

func TestRunAfterDeathInATaskThatMustNotRunAgain(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: a|once|b")
	w.dieAt = map[int]bool{6: true} // in the run of once
	w.dieAfter = true
	if _, alive := once(t, w); alive {
		t.Fatal("the process was not killed")
	}
	run, _ := once(t, w)
	const reason = "flow host-auto: task once: the process ended while it ran and on_interrupt is fail"
	if run.Status != recovery.StatusFailed || run.Message != reason {
		t.Errorf("run = %s %q, want failed %q", run.Status, run.Message, reason)
	}
	equal(t, "log", w.log, []string{
		`run host-auto/pre/0/1 a host_name="h1"`, `run host-auto/main/0/1 once`,
		`revert host-auto/main/0/1 once because ` + reason,
		`revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because ` + reason,
	})
	equal(t, "tasks", w.statuses(), []string{
		"pre/1 a reverted", "main/1 once reverted: the process ended while it ran and on_interrupt is fail",
	})
}

func TestRunKeepsAttempts(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: a||")
	var attempts []int
	w.during = func(c flow.TaskCall) { attempts = append(attempts, c.Attempt) }
	w.dieAfter = true
	for point := range 3 {
		w.point, w.dieAt = 0, map[int]bool{3 + min(point, 1): true}
		if _, alive := once(t, w); alive {
			t.Fatal("the process was not killed")
		}
	}
	w.dieAt = nil
	if run, _ := once(t, w); run.Status != recovery.StatusFinished {
		t.Errorf("run = %s, want finished", run.Status)
	}
	if want := []int{1, 2, 3, 4}; !slices.Equal(attempts, want) {
		t.Errorf("attempts = %v, want %v", attempts, want)
	}
	equal(t, "tasks", w.statuses(), []string{
		"pre/1 a interrupted: the process ended while it ran", "pre/1 a interrupted: the process ended while it ran",
		"pre/1 a interrupted: the process ended while it ran", "pre/1 a succeeded",
	})
}

func TestRunIsStoppedBeforeItBegins(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: a||")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run, err := flow.Run(ctx, w.request())
	if !errors.Is(err, recovery.ErrInterrupted) || run.Finished {
		t.Errorf("finished %t, error %v, want interrupted", run.Finished, err)
	}
	if got, want := run.Message, "interrupted before task a"; got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	if len(w.log) != 0 || w.undone != 1 {
		t.Errorf("%d tasks ran, undo called %d times", len(w.log), w.undone)
	}
}

// A task that answers a stop with a failure is not held to have failed.
func TestRunFailureOfAStoppedTaskIsAnInterruption(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: e||")
	ctx, cancel := context.WithCancel(t.Context())
	w.during = func(flow.TaskCall) { cancel() }
	w.outcome = fails("e 0 context canceled")
	_, err := flow.Run(ctx, w.request())
	if !errors.Is(err, recovery.ErrInterrupted) {
		t.Errorf("error = %v, want interrupted", err)
	}
	equal(t, "tasks", w.statuses(), []string{"pre/1 e interrupted: context canceled"})

	w.during, w.outcome = nil, nil
	if _, err := flow.Run(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	equal(t, "tasks after the resumption", w.statuses(), []string{"pre/1 e interrupted: context canceled", "pre/1 e succeeded"})
}

func TestRunFailureOfAStoppedRevertIsAnInterruption(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: e||")
	ctx, cancel := context.WithCancel(t.Context())
	w.outcome = fails("e 0 boom")
	runner := stopped{w, cancel}
	req := w.request()
	req.Runner = runner
	_, err := flow.Run(ctx, req)
	if want := "run r1: interrupted while task e was reverted"; !errors.Is(err, recovery.ErrInterrupted) || text(err) != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	equal(t, "tasks", w.statuses(), []string{"pre/1 e reverting: boom"})
	if _, err := flow.Run(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	equal(t, "tasks after the resumption", w.statuses(), []string{"pre/1 e reverted: boom"})
}

// stopped is a runner whose reverts are stopped and answer with a failure.
type stopped struct {
	*world
	cancel func()
}

func (s stopped) Revert(context.Context, flow.TaskCall) recovery.Outcome {
	s.cancel()
	return recovery.Outcome{Status: recovery.TaskFailed, Message: "context canceled"}
}

// TestRunTakesNothingBack lets claims succeed in the second life that failed in
// the first one, after the flow had given up because of it.
func TestRunTakesNothingBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flows []string
		point int // of the first life's end
		claim string
	}{
		{"pre was being reverted", []string{"host-rh: a e|b|"}, 12, ""},
		{"the next flow had begun", []string{"host-rh: b|b|", "host-auto: a|b|"}, 10, ""},
		{"the second host could not be claimed", []string{"host-rh: |e|", "host-auto: a|b|"}, 14, "claim r1 settle r1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := func() *world {
				w := newWorld(t, standard, oneHost, tt.flows...)
				w.outcome = fails("e 1 nothing")
				w.claim = func(host string) error {
					if host == "r1" && tt.claim != "" {
						return nil
					}
					return errors.New("taken")
				}
				if tt.claim == "" {
					w.outcome = nil
				}
				return w
			}
			calm := world()
			want, err := flow.Run(t.Context(), calm.request())
			if err != nil {
				t.Fatal(err)
			}
			w := world()
			w.dieAfter, w.dieAt = true, map[int]bool{tt.point: true}
			if _, alive := once(t, w); alive {
				t.Fatal("the process was not killed")
			}
			records := len(w.records)
			w.claim = nil
			got, err := flow.Run(t.Context(), w.request())
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != want.Status || len(w.records) > records+2 {
				t.Errorf("run = %s, want %s; %d records were added", got.Status, want.Status, len(w.records)-records)
			}
			if log := slices.Compact(w.log); !slices.Equal(log, calm.log) {
				t.Errorf("run:\n\t%s\nwant:\n\t%s", strings.Join(log, "\n\t"), strings.Join(calm.log, "\n\t"))
			}
			if got := strings.Join(w.claims, " "); got != tt.claim {
				t.Errorf("claims = %s, want %s", got, tt.claim)
			}
		})
	}
}

func TestRunKeepsMessagesShort(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: b||")
	w.outcome = fails("b 0 " + strings.Repeat("€", 100_000))
	run, err := flow.Run(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	if want := "flow host-auto: task b: " + strings.Repeat("€", 1365) + "…"; run.Message != want {
		t.Errorf("message of %d bytes, want %d", len(run.Message), len(want))
	}
}

func TestRunClaimsAgainOrStops(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-rh: |e|")
	w.dieAfter, w.dieAt = true, map[int]bool{4: true} // in the run of e
	if _, alive := once(t, w); alive {
		t.Fatal("the process was not killed")
	}
	w.claim = func(string) error { return recovery.ErrUnavailable }
	run, err := flow.Run(t.Context(), w.request())
	if want := "run r1: reserved host r1 was this run's and cannot be claimed again: unavailable"; text(err) != want || run.Finished {
		t.Errorf("finished %t, error %q, want %q", run.Finished, text(err), want)
	}
	w.claim = nil
	if run, err = flow.Run(t.Context(), w.request()); err != nil || run.Status != recovery.StatusFinished {
		t.Errorf("run = %s, error %v, want finished", run.Status, err)
	}
}

func TestUndoIsBoundedAndDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, standard, oneHost, "host-auto: b||")
		w.undo = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		start := time.Now()
		run, err := flow.Run(t.Context(), w.request())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(start), 2*time.Minute; got != want {
			t.Errorf("undo took %v, want %v", got, want)
		}
		if got, want := run.Message, "left to undo: context deadline exceeded"; got != want || !run.Finished {
			t.Errorf("message = %q finished %t, want %q", got, run.Finished, want)
		}

		w.undo = func(context.Context) error { return recovery.ErrUnavailable }
		if _, err := flow.Run(t.Context(), w.request()); text(err) != "run r1: left to undo: unavailable" {
			t.Errorf("error = %v", err)
		}
		w.undo = nil
		run, err = flow.Run(t.Context(), w.request())
		if err != nil || run.Message != "" || w.run.Message != "" {
			t.Errorf("message = %q, in the journal %q, error %v, want none", run.Message, w.run.Message, err)
		}
		if len(w.log) != 1 {
			t.Errorf("%d tasks ran, want 1", len(w.log))
		}
	})
}

// The runner may keep and change what it is given.
func TestRunSharesNoMaps(t *testing.T) {
	w := newWorld(t, standard, oneHost, "host-auto: a b|c|")
	w.outcome = func(c flow.TaskCall) recovery.Outcome {
		delete(c.Values, "host_name")
		c.Values["x"] = json.RawMessage(`"forged"`)
		return fails("c 0 boom")(c)
	}
	if _, err := flow.Run(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, w.values), `{"x":"a-r1"}`; got != want {
		t.Errorf("values = %s, want %s", got, want)
	}
	if got, want := w.log[len(w.log)-1], `revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: task c: boom`; got != want {
		t.Errorf("last = %s, want %s", got, want)
	}
}

// TestRunAccept: tasks that went well are not all that makes a flow good.
func TestRunAccept(t *testing.T) {
	w := newWorld(t, standard, map[string]string{"host_name": `"h1"`}, "host-auto: a|b|")
	req := w.request()
	req.Accept = func(context.Context) error { return errors.New("2 servers were left behind") }
	run, err := flow.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if want := "flow host-auto: 2 servers were left behind"; run.Status != recovery.StatusFailed || run.Message != want {
		t.Errorf("ended %s, %q, want failed, %q", run.Status, run.Message, want)
	}
	if got, want := w.log[len(w.log)-1], `revert host-auto/pre/0/1 a host_name="h1" x="a-r1" because flow host-auto: 2 servers were left behind`; got != want {
		t.Errorf("last = %s, want %s", got, want)
	}
}
