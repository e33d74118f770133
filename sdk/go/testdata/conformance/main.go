// Command conformance does what the cases of sdk/conformance tell it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

func main() {}

func init() {
	wasakari.Handle("case", run, run)
	wasakari.Handle("plain", run)
}

// step is one thing to do; sdk/conformance/README.md says what.
type step struct {
	Do        string          `json:"do"`
	Op        string          `json:"op"`
	Request   json.RawMessage `json:"request"`
	TimeoutMS int             `json:"timeout_ms"`
	Name      string          `json:"name"`
	Group     string          `json:"group"`
	Prefix    string          `json:"prefix"`
	Level     string          `json:"level"`
	Message   string          `json:"message"`
	Permille  int             `json:"permille"`
	MS        int             `json:"ms"`
	Branches  [][]step        `json:"branches"`
	Outcome   string          `json:"outcome"`
	Reason    string          `json:"reason"`
}

func run(t *wasakari.Task) error {
	var steps []step
	if err := t.Input("steps", &steps); err != nil {
		return err
	}
	g := &guest{Task: t}
	results, end := g.do(steps)
	if len(results) > 0 {
		if err := t.KV().Put(t.Context(), "results", results); err != nil {
			return err
		}
	}
	switch end.Outcome {
	case "fail":
		return errors.New(end.Reason)
	case "nothing":
		return wasakari.NothingToDo(end.Reason)
	case "ignore":
		return wasakari.Ignore(end.Reason)
	case "panic":
		panic(end.Reason)
	case "error":
		return g.last
	}
	return nil
}

type guest struct {
	*wasakari.Task
	last error // of the last call that was refused
}

// do gives a result for each step, and the step that ends the task.
func (g *guest) do(steps []step) (results []any, end step) {
	for _, s := range steps {
		if s.Do == "end" {
			return results, s
		}
		results = append(results, g.step(s))
	}
	return results, step{}
}

func (g *guest) step(s step) any {
	switch s.Do {
	case "who":
		return map[string]any{
			"key": g.Key(), "flow": g.Flow(), "phase": g.Phase(), "run_id": g.RunID(), "notification_uuid": g.NotificationUUID(),
			"attempt": g.Attempt(), "round": g.Round(), "idempotency_key": g.IdempotencyKey(),
			"reverting": g.Reverting(), "failure": g.Failure(), "inputs": g.Inputs(),
		}
	case "input":
		var v json.RawMessage
		err := g.Input(s.Name, &v)
		return g.result(v, err)
	case "option":
		v := json.RawMessage("null")
		err := g.Option(s.Group, s.Name, &v)
		return g.result(v, err)
	case "secret":
		secret := g.Secret(s.Group, s.Name)
		if secret.Ref() == nil {
			return g.result(nil, nil)
		}
		if s.Prefix != "" {
			secret = secret.WithPrefix(s.Prefix)
		}
		return g.result(secret, nil)
	case "call":
		ctx := g.Context()
		if s.TimeoutMS > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(s.TimeoutMS)*time.Millisecond)
			defer cancel()
		}
		return g.result(g.call(ctx, s))
	case "open":
		go func() { _, _ = g.call(g.Context(), s) }()
		_ = g.Sleep(g.Context(), time.Millisecond) // lets it begin
	case "sleep":
		_ = g.Sleep(g.Context(), time.Duration(s.MS)*time.Millisecond)
	case "log":
		log := map[string]func(string, ...any){"debug": g.Log().Debugf, "info": g.Log().Infof, "warn": g.Log().Warnf, "error": g.Log().Errorf}
		log[s.Level]("%s", s.Message)
	case "progress":
		g.Progress(s.Permille, "%s", s.Message)
	case "parallel":
		results := make([][]any, len(s.Branches))
		var wg sync.WaitGroup
		for i, b := range s.Branches {
			wg.Add(1)
			go func() {
				defer wg.Done()
				results[i], _ = g.do(b)
			}()
		}
		wg.Wait()
		return results
	case "spin":
		for i := 0; ; i++ {
			spun = i
		}
	case "allocate":
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	default:
		panic("step " + s.Do)
	}
	return nil
}

var (
	spun int
	kept [][]byte
)

// result is {"answer": …}, {"error": …} or {"gave_up": true}.
func (g *guest) result(answer any, err error) any {
	var refused *wasakari.OpError
	switch {
	case err == nil:
		return map[string]any{"answer": answer}
	case errors.As(err, &refused):
		g.last = err
		return map[string]any{"error": map[string]any{
			"code": refused.Code, "message": refused.Message, "status": refused.Status, "request_id": refused.RequestID,
		}}
	case errors.Is(err, context.DeadlineExceeded):
		return map[string]any{"gave_up": true}
	case errors.Is(err, wasakari.ErrNotFound):
		return map[string]any{"error": map[string]any{"code": "not_found"}}
	}
	return map[string]any{"error": map[string]any{"code": "other", "message": err.Error()}}
}

func (g *guest) call(ctx context.Context, s step) (any, error) {
	nova, ha := g.Nova(), g.HA()
	calls := map[string]func(context.Context, json.RawMessage) (any, error){
		"kv.get":                     with(g.kvGet),
		"kv.put":                     with(g.kvPut),
		"kv.delete":                  with(g.kvDelete),
		"kv.list":                    with(g.kvList),
		"nova.server_get":            with(nova.ServerGet),
		"nova.server_list":           with(nova.ServerList),
		"nova.server_evacuate":       with(nova.ServerEvacuate),
		"nova.server_stop":           with(nova.ServerStop),
		"nova.server_start":          with(nova.ServerStart),
		"nova.server_reboot":         with(nova.ServerReboot),
		"nova.server_lock":           with(nova.ServerLock),
		"nova.server_unlock":         with(nova.ServerUnlock),
		"nova.server_reset_state":    with(nova.ServerResetState),
		"nova.server_migrate":        with(nova.ServerMigrate),
		"nova.server_live_migrate":   with(nova.ServerLiveMigrate),
		"nova.server_wait":           with(nova.ServerWait),
		"nova.service_list":          with(nova.ServiceList),
		"nova.service_disable":       with(nova.ServiceDisable),
		"nova.service_enable":        with(nova.ServiceEnable),
		"nova.service_force_down":    with(nova.ServiceForceDown),
		"nova.service_wait":          with(nova.ServiceWait),
		"nova.aggregate_list":        with(nova.AggregateList),
		"nova.aggregate_add_host":    with(nova.AggregateAddHost),
		"nova.aggregate_remove_host": with(nova.AggregateRemoveHost),
		"nova.hypervisor_list":       with(nova.HypervisorList),
		"nova.migration_list":        with(nova.MigrationList),
		"ha.segment_get":             func(ctx context.Context, _ json.RawMessage) (any, error) { return ha.SegmentGet(ctx) },
		"ha.host_list":               with(ha.HostList),
		"ha.host_update":             with(ha.HostUpdate),
		"ha.vmove_list":              with(ha.VMoveList),
		"ha.vmove_put":               with(ha.VMovePut),
		"http.request":               with(g.HTTP().Request),
	}
	call := calls[s.Op]
	if call == nil {
		return nil, fmt.Errorf("op %s is new to this guest", s.Op)
	}
	return call(ctx, s.Request)
}

// with reads the request of a method.
func with[Req, Ans any](method func(context.Context, Req) (Ans, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var req Req
		if err := json.Unmarshal(raw, &req); err != nil {
			return nil, err
		}
		return method(ctx, req)
	}
}

type none struct{}

func (g *guest) kvGet(ctx context.Context, r wasakari.KVGetRequest) (any, error) {
	var v json.RawMessage
	if r.Scope == "library" {
		version, err := g.KV().Library().Get(ctx, r.Name, &v)
		return wasakari.KVGetAnswer{Value: v, Version: version}, err
	}
	err := g.KV().Get(ctx, r.Name, &v)
	return map[string]any{"value": v}, err
}

func (g *guest) kvPut(ctx context.Context, r wasakari.KVPutRequest) (any, error) {
	if r.Scope != "library" {
		return none{}, g.KV().Put(ctx, r.Name, r.Value)
	}
	var opts []wasakari.PutOption
	if r.IfVersion != nil {
		opts = append(opts, wasakari.IfVersion(*r.IfVersion))
	}
	if r.TTLSeconds > 0 {
		opts = append(opts, wasakari.ForgetAfter(time.Duration(r.TTLSeconds)*time.Second))
	}
	version, err := g.KV().Library().Put(ctx, r.Name, r.Value, opts...)
	return wasakari.KVPutAnswer{Version: version}, err
}

func (g *guest) kvDelete(ctx context.Context, r wasakari.KVDeleteRequest) (any, error) {
	switch {
	case r.Scope != "library":
		return none{}, g.KV().Delete(ctx, r.Name)
	case r.IfVersion != nil:
		return none{}, g.KV().Library().DeleteVersion(ctx, r.Name, *r.IfVersion)
	}
	return none{}, g.KV().Library().Delete(ctx, r.Name)
}

func (g *guest) kvList(ctx context.Context, r wasakari.KVListRequest) (any, error) {
	list := g.KV().List
	if r.Scope == "library" {
		list = g.KV().Library().List
	}
	entries, err := list(ctx, r.Prefix)
	return wasakari.KVListAnswer{Entries: entries}, err
}
