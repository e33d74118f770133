package hostfuncs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/hostfuncs"
)

// What a task says of its progress ends in the journal, so it has a bound in
// bytes too.
func TestProgressFlood(t *testing.T) {
	task := setup(t, newNova()).task()
	for i := range 3000 {
		task.Progress(i%1000, fmt.Sprint(i, strings.Repeat("x", 4000)))
	}
	log, total := task.ProgressLog(), 0
	for _, p := range log {
		total += len(p.Message)
	}
	if total > 256<<10 || !strings.HasPrefix(log[len(log)-1].Message, "2999x") {
		t.Errorf("%d bytes are kept, the last entry %.10q; want at most 256 KiB and the newest", total, log[len(log)-1].Message)
	}
}

// Vmoves that a task makes up fill neither memory nor journal.
func TestVMoveFlood(t *testing.T) {
	b := setup(t, newNova())
	task := b.task()
	put := func(server, more string) error {
		_, err := do(t.Context(), task, abi.OpHAVMovePut, fmt.Sprintf(`{"instance_uuid":%q,"status":"ongoing"%s}`, server, more))
		return err
	}
	long := fmt.Sprintf(`,"message":%q`, strings.Repeat("x", 4096))
	n := 0
	for ; n < 10_000; n++ {
		if err := put(fmt.Sprintf("server-%06d", n), long); err != nil {
			want(t, "", err, "", "quota: ha.vmove_put: the texts of the run's vmoves would have more than 16777216 bytes")
			break
		}
	}
	if n != 16<<20/(4096+len("server-000000")+len(failedHost)) || len(b.ha.vmoves) != n {
		t.Errorf("%d vmoves were taken and %d are kept, want 16 MiB of them", n, len(b.ha.vmoves))
	}
	// One that is there may still change.
	if err := put("server-000000", `,"message":"done"`); err != nil {
		t.Error(err)
	}
}

// Names that look like paths, or like another name, are names of their own.
func TestNamesAreNotPaths(t *testing.T) {
	b := setup(t, newNova())
	task := b.task()
	other := b.task(func(c *hostfuncs.TaskCall) { c.Index = 1 })
	put := func(t *testing.T, name string) error {
		_, err := do(t.Context(), task, abi.OpKVPut, fmt.Sprintf(`{"name":%s,"value":1}`, name))
		return err
	}
	for name, want := range map[string]abi.Errno{
		`"scratch/../host_name"`: abi.ErrnoOK, // a scratch key with two dots in it
		`"scratch/"`:             abi.ErrnoOK,
		`"scratch/ａ"`:            abi.ErrnoOK,
		`"scratch\u002fb"`:       abi.ErrnoOK, // scratch/b
		`"Scratch/x"`:            abi.ErrnoNotGranted,
		`"/scratch/x"`:           abi.ErrnoNotGranted,
		`"host_name"`:            abi.ErrnoNotGranted,
		`"HOST_NAME"`:            abi.ErrnoNotGranted,
		`"answer "`:              abi.ErrnoNotGranted,
		`"ａnswer"`:               abi.ErrnoNotGranted,
		`"answer\ud800"`:         abi.ErrnoInvalid,
		`"answer\u0000"`:         abi.ErrnoInvalid,
		`"scratch/a\u0000b"`:     abi.ErrnoInvalid,
		`"scratch/\u009b2J"`:     abi.ErrnoInvalid,
		`"scratch/\u202eb"`:      abi.ErrnoInvalid,
		`"scratch/\ud800"`:       abi.ErrnoInvalid,
		`""`:                     abi.ErrnoInvalid,
		`"scratch/` + strings.Repeat("x", 248) + `"`: abi.ErrnoInvalid,
	} {
		if got := code(put(t, name)); got != want {
			t.Errorf("put %s = %v, want %v", name, got, want)
		}
	}
	got, err := do(t.Context(), other, abi.OpKVList, `{"prefix":"scratch"}`)
	want(t, got, err, `{"entries":[]}`, "")
	for _, name := range []string{`"scratch/../host_name"`, `"scratch/b"`} {
		_, err := do(t.Context(), other, abi.OpKVGet, `{"name":`+name+`}`)
		if code(err) != abi.ErrnoNotFound {
			t.Errorf("another task gets %s: %v, want not_found", name, err)
		}
	}
	if got, err := do(t.Context(), task, abi.OpKVGet, `{"name":"host_name"}`); err != nil || got != `{"value":"compute-1","version":1}` {
		t.Errorf("host_name = %s, %v", got, err)
	}
}
