package abi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/abigen/generate"
)

func TestGeneratedFilesAreFresh(t *testing.T) {
	files, err := generate.Files("..")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("nothing is generated")
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale; run go run ./internal/abigen", name)
		}
	}
}

func TestOps(t *testing.T) {
	var schema struct {
		Ops []struct{ Name, Kind string }
	}
	if err := json.Unmarshal(abi.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	ops := abi.Ops()
	if len(ops) != len(schema.Ops) {
		t.Fatalf("%d ops, want the schema's %d", len(ops), len(schema.Ops))
	}
	kinds := map[string]abi.Kind{"local": abi.Local, "read": abi.Read, "change": abi.Change}
	for i, want := range schema.Ops {
		got := abi.LookupOp([]byte(want.Name))
		if got == nil || got != ops[i] {
			t.Fatalf("LookupOp(%s) = %v, want %v", want.Name, got, ops[i])
		}
		if got.Name != want.Name || got.Kind != kinds[want.Kind] {
			t.Errorf("op %+v, want %+v", *got, want)
		}
		if got.Index() != i {
			t.Errorf("%s: index = %d, want %d", got.Name, got.Index(), i)
		}
		if got.Free != (got.Group() == "task") {
			t.Errorf("%s: free = %v", got.Name, got.Free)
		}
	}
	for _, name := range []string{"", "nova", "nova.", "Nova.server_get", "nova.server_get ", "mail.send"} {
		if got := abi.LookupOp([]byte(name)); got != nil {
			t.Errorf("LookupOp(%q) = %v, want nil", name, got)
		}
	}
}

func TestOpsOfOthersHaveNoIndex(t *testing.T) {
	if got := (&abi.Op{Name: abi.OpTaskInput}).Index(); got >= 0 {
		t.Errorf("index = %d, want a negative number", got)
	}
}

func TestLookupOpDoesNotAllocate(t *testing.T) {
	name := []byte(abi.OpNovaServerEvacuate)
	if got := testing.AllocsPerRun(100, func() { abi.LookupOp(name) }); got != 0 {
		t.Errorf("allocations = %v, want 0", got)
	}
}

func TestNearestOp(t *testing.T) {
	tests := []struct{ name, want string }{
		{"nova.server_lst", abi.OpNovaServerList},
		{"Nova.Server-Get", abi.OpNovaServerGet},
		{"kv.gett", abi.OpKVGet},
		{"", ""},
		{"something.else_entirely", ""},
	}
	for _, tt := range tests {
		if got := abi.NearestOp([]byte(tt.name)); got != tt.want {
			t.Errorf("NearestOp(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestErrno(t *testing.T) {
	tests := []struct {
		errno abi.Errno
		want  string
	}{
		{abi.ErrnoOK, "ok"},
		{abi.ErrnoInvalid, "invalid"},
		{abi.ErrnoNotGranted, "not_granted"},
		{abi.ErrnoQuota, "quota"},
		{abi.ErrnoQuota + 1, "errno 11"},
		{-1, "errno -1"},
	}
	for _, tt := range tests {
		if got := tt.errno.String(); got != tt.want {
			t.Errorf("Errno(%d) = %q, want %q", int32(tt.errno), got, tt.want)
		}
	}
}

func TestErrorIsAnErrorDocument(t *testing.T) {
	e := abi.Errorf(abi.ErrnoConflict, "server %s is being rebuilt", "7f3")
	if got, want := e.Error(), "conflict: server 7f3 is being rebuilt"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	e.Status, e.RequestID = 409, "req-1"
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"code":"conflict","message":"server 7f3 is being rebuilt","status":409,"request_id":"req-1"}`; string(got) != want {
		t.Errorf("document = %s, want %s", got, want)
	}
	var doc abi.ErrorDocument
	if err := json.Unmarshal(got, &doc); err != nil || doc.Code != "conflict" || doc.Status != 409 {
		t.Errorf("read back: %+v, %v", doc, err)
	}
}

func TestKindOf(t *testing.T) {
	tests := []struct {
		op, req string
		want    abi.Kind
	}{
		{abi.OpHTTPRequest, `{"method":"GET","url":"u"}`, abi.Read},
		{abi.OpHTTPRequest, `{"url":"u","method":"HEAD"}`, abi.Read},
		{abi.OpHTTPRequest, `{"method":"POST","url":"u"}`, abi.Change},
		{abi.OpHTTPRequest, `{"method":"get","url":"u"}`, abi.Change},
		{abi.OpHTTPRequest, `{"method":`, abi.Change},
		{abi.OpHTTPRequest, ``, abi.Change},
		{abi.OpNovaServerStop, `{"method":"GET"}`, abi.Change},
		{abi.OpNovaServerGet, `{}`, abi.Read},
	}
	for _, tt := range tests {
		if got := abi.LookupOp([]byte(tt.op)).KindOf([]byte(tt.req)); got != tt.want {
			t.Errorf("%s %s is %d, want %d", tt.op, tt.req, got, tt.want)
		}
	}
}
