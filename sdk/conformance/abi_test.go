package conformance_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// testdata reads a file of sdk/testdata.
func testdata(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGuestOfABI runs the guest that was written from ABI.md alone.
func TestGuestOfABI(t *testing.T) {
	ctx := t.Context()
	rt := wazero.NewRuntime(ctx)
	defer func() { _ = rt.Close(context.WithoutCancel(ctx)) }()
	if err := hostModule(ctx, rt); err != nil {
		t.Fatal(err)
	}
	m, err := abi.ParseManifest(testdata(t, "from_abi.json"))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := abi.AppendManifest(testdata(t, "from_abi.wasm"), m)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := rt.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}

	r, err := runtime.New(runtime.Config{Compiler: compiler})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(context.WithoutCancel(ctx)) }()
	product, err := r.Admit(ctx, "from_abi.wasm", wasm)
	if err != nil {
		t.Fatal(err)
	}

	servers := func(n int) answer {
		return func(_ context.Context, req []byte) (any, *abi.Error) {
			var r abi.NovaServerListRequest
			if err := abi.DecodeRequest(abi.OpNovaServerList, req, &r); err != nil {
				return nil, err
			}
			if want := []string{"id"}; !slices.Equal(r.Fields, want) {
				return nil, abi.Errorf(abi.ErrnoInvalid, "fields = %v, want %v", r.Fields, want)
			}
			return abi.NovaServerListAnswer{Servers: slices.Repeat([]abi.Server{{ID: "7f3"}}, n)}, nil
		}
	}
	refuse := func(context.Context, []byte) (any, *abi.Error) {
		return nil, abi.Errorf(abi.ErrnoUnavailable, "the cloud is away")
	}
	services := func(_ context.Context, req []byte) (any, *abi.Error) {
		var r abi.NovaServiceListRequest
		if err := abi.DecodeRequest(abi.OpNovaServiceList, req, &r); err != nil {
			return nil, err
		}
		return abi.NovaServiceListAnswer{Services: []abi.ComputeService{{ID: "s", Binary: r.Binary}}}, nil
	}
	const document = `{"code":"unavailable","message":"the cloud is away"}`
	tests := []struct {
		name              string
		servers, services answer
		exit              abi.Exit
		value             string
		logs              []string
	}{
		{name: "fits the buffer", servers: servers(1), services: services, value: "26"},
		{name: "is taken", servers: servers(9000), services: services, value: "117013"},
		{name: "call refused", servers: refuse, services: services, exit: abi.ExitFailed, logs: []string{"error " + document}},
		{name: "ticket refused", servers: servers(1), services: refuse, exit: abi.ExitFailed, logs: []string{"error " + document}},
	}
	hosts := []struct {
		name string
		run  func(*testing.T, *host) abi.Exit
	}{
		{"alone", func(t *testing.T, h *host) abi.Exit {
			exit := h.run(t, rt, guest, abi.Run)
			if got := h.openTickets(); exit == abi.ExitSucceeded && got != 0 {
				t.Errorf("open tickets at the end = %d, want 0", got)
			}
			return exit
		}},
		{"on runtime", func(t *testing.T, h *host) abi.Exit {
			res, err := product.Run(t.Context(), runtime.Call{Key: "from_abi", Host: (*served)(h)})
			if err != nil {
				t.Error(err)
			}
			h.reason = res.Reason
			return res.Exit
		}},
	}
	for i := range len(tests) * len(hosts) {
		tt, on := tests[i/len(hosts)], hosts[i%len(hosts)]
		t.Run(tt.name+" "+on.name, func(t *testing.T) {
			h := newHost("from_abi")
			h.ops[abi.OpNovaServerList] = tt.servers
			h.ops[abi.OpNovaServiceList] = tt.services
			var value string
			h.ops[abi.OpKVPut] = func(_ context.Context, req []byte) (any, *abi.Error) {
				var r abi.KVPutRequest
				if err := abi.DecodeRequest(abi.OpKVPut, req, &r); err != nil {
					return nil, err
				}
				if !slices.Contains(m.Tasks[0].Provides, r.Name) {
					return nil, abi.Errorf(abi.ErrnoNotGranted, "%s is not provided", r.Name)
				}
				value = string(r.Value)
				return abi.KVPutAnswer{Version: 1}, nil
			}
			if got := on.run(t, h); got != tt.exit {
				t.Errorf("exit = %d, want %d", got, tt.exit)
			}
			if value != tt.value {
				t.Errorf("server_list_bytes = %s, want %s", value, tt.value)
			}
			if !slices.Equal(h.logs, tt.logs) {
				t.Errorf("logs = %q, want %q", h.logs, tt.logs)
			}
			if failed := h.reason != ""; failed != (tt.exit == abi.ExitFailed) {
				t.Errorf("reason = %q", h.reason)
			}
		})
	}
}

// TestABIShowsTheGuest: the page holds the guest as it is tested, and the
// manifest too.
func TestABIShowsTheGuest(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "ABI.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"from_abi.wat", "from_abi.json"} {
		if !strings.Contains(string(page), string(testdata(t, name))) {
			t.Errorf("sdk/ABI.md does not show sdk/testdata/%s as it is", name)
		}
	}
	for _, block := range strings.Split(string(page), "```json\n")[1:] {
		doc, _, _ := strings.Cut(block, "```")
		if !json.Valid([]byte(doc)) {
			t.Errorf("sdk/ABI.md: not JSON:\n%s", doc)
		}
	}
}
