package runtime_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// WASI's error numbers.
const (
	badf   = 8
	inval  = 28
	nosys  = 52
	notsup = 58
	spipe  = 70
)

// Every function of WASI that does nothing but answer.
func TestWASINothing(t *testing.T) {
	tests := map[string]struct {
		args []uint64
		want int64
	}{
		"args_get":                {args(0, 0), 0},
		"environ_get":             {args(0, 0), 0},
		"proc_raise":              {args(9), nosys},
		"fd_close":                {args(1), 0},
		"fd_fdstat_set_flags":     {args(0, 4), 0},
		"fd_fdstat_set_rights":    {args(0, 0, 0), 0},
		"fd_seek":                 {args(1, 0, 0, 0), spipe},
		"fd_tell":                 {args(1, 0), spipe},
		"fd_datasync":             {args(2), 0},
		"fd_sync":                 {args(2), 0},
		"fd_prestat_get":          {args(3, 0), badf},
		"fd_prestat_dir_name":     {args(3, 0, 0), badf},
		"fd_advise":               {args(3, 0, 0, 0), badf},
		"fd_allocate":             {args(3, 0, 0), badf},
		"fd_filestat_set_size":    {args(3, 0), badf},
		"fd_filestat_set_times":   {args(3, 0, 0, 0), badf},
		"fd_pread":                {args(3, 0, 0, 0, 0), badf},
		"fd_pwrite":               {args(3, 0, 0, 0, 0), badf},
		"fd_readdir":              {args(3, 0, 0, 0, 0), badf},
		"fd_renumber":             {args(3, 4), badf},
		"path_create_directory":   {args(3, 0, 0), badf},
		"path_filestat_get":       {args(3, 0, 0, 0, 0), badf},
		"path_filestat_set_times": {args(3, 0, 0, 0, 0, 0, 0), badf},
		"path_link":               {args(3, 0, 0, 0, 0, 0, 0), badf},
		"path_open":               {args(3, 0, 0, 0, 0, 0, 0, 0, 0), badf},
		"path_readlink":           {args(3, 0, 0, 0, 0, 0), badf},
		"path_remove_directory":   {args(3, 0, 0), badf},
		"path_rename":             {args(3, 0, 0, 0, 0, 0), badf},
		"path_symlink":            {args(0, 0, 3, 0, 0), badf},
		"path_unlink_file":        {args(3, 0, 0), badf},
		"sock_accept":             {args(3, 0, 0), notsup},
		"sock_recv":               {args(3, 0, 0, 0, 0, 0), notsup},
		"sock_send":               {args(3, 0, 0, 0, 0), notsup},
		"sock_shutdown":           {args(3, 0), notsup},
		"sched_yield":             {nil, 0},
	}
	var calls []invoke
	for name, tt := range tests {
		calls = append(calls, invoke{name, tt.args})
	}
	standard := []string{"fd_close", "fd_fdstat_set_flags", "fd_fdstat_set_rights", "fd_seek", "fd_tell", "fd_datasync", "fd_sync", "fd_fdstat_get", "fd_filestat_get"}
	for _, name := range standard { // the fourth file is not open
		calls = append(calls, invoke{name, args(3)})
	}
	got, _, err := drive(t, &host{}, runtime.Limits{}, nil, func(uint64) []invoke { return calls })
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range calls {
		want := int64(badf)
		if i < len(tests) {
			want = tests[c.name].want
		}
		if got.result(i) != want {
			t.Errorf("%s%v = %d, want %d", c.name, c.args, got.result(i), want)
		}
	}
}

func TestWASIAnswers(t *testing.T) {
	full := bytes.Repeat([]byte{0xff}, 4096)
	before := time.Now()
	var base uint64
	got, _, err := drive(t, &host{}, runtime.Limits{}, full, func(at uint64) []invoke {
		base = at
		return []invoke{
			{"args_sizes_get", args(int(at), int(at+4))},
			{"environ_sizes_get", args(int(at+8), int(at+12))},
			{"clock_res_get", args(1, int(at+16))},
			{"clock_res_get", args(2, int(at+24))},
			{"clock_time_get", args(0, 0, int(at+32))},
			{"clock_time_get", args(1, 0, int(at+40))},
			{"clock_time_get", args(2, 0, int(at+48))},
			{"fd_fdstat_get", args(1, int(at+56))},
			{"fd_fdstat_get", args(0, int(at+80))},
			{"fd_filestat_get", args(2, int(at+104))},
			{"fd_read", args(0, 0, 0, int(at+168))},
			{"fd_read", args(1, 0, 0, int(at+172))},
			{"random_get", args(int(at+512), 1024)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{0, 0, 0, inval, 0, 0, inval, 0, 0, 0, 0, badf, 0} {
		if got.result(i) != want {
			t.Errorf("result %d = %d, want %d", i, got.result(i), want)
		}
	}
	u64 := func(offset uint64) uint64 { return binary.LittleEndian.Uint64(got.at(base+offset, 8)) }
	if u64(0) != 0 || u64(8) != 0 {
		t.Error("there are arguments or environment variables")
	}
	if u64(16) != 1 || u64(24) != 1<<64-1 {
		t.Errorf("resolution = %d, %#x; want 1 and untouched", u64(16), u64(24))
	}
	if now := time.Unix(0, int64(u64(32))); now.Before(before) || now.After(time.Now()) {
		t.Errorf("realtime = %v, want one since %v", now, before)
	}
	if u64(40) < uint64(time.Second) || u64(40) > uint64(time.Minute) {
		t.Errorf("monotonic = %d, want some more than a second", u64(40))
	}
	if got.at(base+56, 1)[0] != 2 || u64(64) != 1<<6 || u64(88) != 1<<1 || got.at(base+104+16, 1)[0] != 2 {
		t.Error("the standard streams are no character devices with the right rights")
	}
	if r := got.at(base+168, 8); !bytes.Equal(r, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("read = %v, want nothing read, and untouched for a file that cannot be read", r)
	}
	if random := got.at(base+512, 1024); bytes.Count(random, []byte{0xff}) > 100 || bytes.Count(random, []byte{0}) > 100 {
		t.Error("the random bytes are not")
	}
}

func TestWASIWrite(t *testing.T) {
	vectors := func(at uint64, pieces ...string) []byte {
		var heads, tails []byte
		for _, p := range pieces {
			heads = binary.LittleEndian.AppendUint32(heads, uint32(at)+uint32(8*len(pieces)+len(tails)))
			heads = binary.LittleEndian.AppendUint32(heads, uint32(len(p)))
			tails = append(tails, p...)
		}
		return append(heads, tails...)
	}
	long := strings.Repeat("x", 8<<10)
	tests := []struct {
		name    string
		fd      int
		pieces  []string
		want    int64
		written uint32
		logs    []string
	}{
		{"lines", 1, []string{"one\ntwo\r\n", "th", "ree"}, 0, 14, []string{"info one", "info two", "info three"}},
		{"error", 2, []string{"\x1b[31mred\n"}, 0, 9, []string{"warn \uFFFD[31mred"}},
		{"long line", 1, []string{long, "y\n"}, 0, 8<<10 + 2, []string{"info " + long, "info y"}},
		{"nothing", 1, []string{""}, 0, 0, nil},
		{"many pieces", 1, slices.Repeat([]string{"a"}, 65), 0, 64, []string{"info " + strings.Repeat("a", 64)}},
		{"other file", 3, []string{"x"}, badf, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{}
			at := uint64(programAt + 2*recordSize)
			got, _, err := drive(t, h, runtime.Limits{}, vectors(at, tt.pieces...), func(at uint64) []invoke {
				return []invoke{{"fd_write", args(tt.fd, int(at), len(tt.pieces), buffer)}}
			})
			if err != nil {
				t.Fatal(err)
			}
			if written := binary.LittleEndian.Uint32(got.at(buffer, 4)); got.result(0) != tt.want || written != tt.written {
				t.Errorf("fd_write = %d, %d written; want %d, %d", got.result(0), written, tt.want, tt.written)
			}
			if !slices.Equal(h.logs, tt.logs) {
				t.Errorf("logs = %q, want %q", h.logs, tt.logs)
			}
		})
	}
}

// subscription is one of poll_oneoff, of a clock or a file.
func subscription(user uint64, kind byte, id uint32, timeout time.Duration, flags uint16) []byte {
	b := make([]byte, 48)
	binary.LittleEndian.PutUint64(b, user)
	b[8] = kind
	binary.LittleEndian.PutUint32(b[16:], id)
	binary.LittleEndian.PutUint64(b[24:], uint64(timeout))
	binary.LittleEndian.PutUint16(b[40:], flags)
	return b
}

func TestWASIPoll(t *testing.T) {
	type event struct {
		user  uint64
		errno uint16
		kind  byte
	}
	tests := []struct {
		name   string
		subs   [][]byte
		count  int // of subscriptions, when it is not theirs
		want   int64
		events []event
	}{
		{"one clock", [][]byte{subscription(7, 0, 1, time.Millisecond, 0)}, 0, 0, []event{{7, 0, 0}}},
		{"past", [][]byte{subscription(7, 0, 0, 0, 1)}, 0, 0, []event{{7, 0, 0}}},
		{"the earlier clock", [][]byte{subscription(7, 0, 1, time.Hour, 0), subscription(8, 0, 0, time.Millisecond, 0)}, 0, 0, []event{{8, 0, 0}}},
		{"no such clock", [][]byte{subscription(7, 0, 1, time.Hour, 0), subscription(8, 0, 9, 0, 0)}, 0, 0, []event{{8, inval, 0}}},
		{"output is ready", [][]byte{subscription(7, 0, 1, time.Hour, 0), subscription(8, 2, 1, 0, 0)}, 0, 0, []event{{8, 0, 2}}},
		{"no such file", [][]byte{subscription(8, 1, 3, 0, 0)}, 0, 0, []event{{8, badf, 1}}},
		{"no such kind", [][]byte{subscription(8, 3, 3, 0, 0)}, 0, 0, []event{{8, inval, 3}}},
		{"none", nil, 0, inval, nil},
		{"too many", nil, 1025, inval, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			count := max(tt.count, len(tt.subs))
			got, _, err := drive(t, &host{}, runtime.Limits{}, slices.Concat(tt.subs...), func(at uint64) []invoke {
				return []invoke{{"poll_oneoff", args(int(at), buffer, count, buffer-8)}}
			})
			if err != nil {
				t.Fatal(err)
			}
			if got.result(0) != tt.want {
				t.Errorf("poll_oneoff = %d, want %d", got.result(0), tt.want)
			}
			n := int(binary.LittleEndian.Uint32(got.at(buffer-8, 4)))
			var events []event
			for i := range n {
				e := got.at(uint64(buffer+32*i), 32)
				events = append(events, event{binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint16(e[8:]), e[10]})
			}
			if !slices.Equal(events, tt.events) {
				t.Errorf("events = %v, want %v", events, tt.events)
			}
		})
	}
}

// A sleeper wakes when a ticket is done, once for each time it looks, and at
// the end of its task.
func TestWASIPollWakes(t *testing.T) {
	data := text{string(subscription(7, 0, 1, time.Hour, 0)), abi.OpNovaServerGet}
	sleep := func(at uint64) invoke { return invoke{"poll_oneoff", args(int(at), buffer, 1, buffer-8)} }
	h := &host{}
	got, _, err := drive(t, h, runtime.Limits{}, data.bytes(), func(at uint64) []invoke {
		return []invoke{
			{abi.Submit, args(data.ref(at, 1), 0, 0)},
			sleep(at),
			{abi.Wait, args(-1, 0, 0)},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.result(1) != 0 || got.at(buffer, 1)[0] != 7 || got.result(2)>>32 != 1 {
		t.Errorf("poll = %d, wait = %#x; want the event of the clock and ticket 1", got.result(1), got.result(2))
	}

	// News that wait has delivered wakes nobody.
	_, _, err = drive(t, &host{}, runtime.Limits{Timeout: 30 * time.Millisecond}, data.bytes(), func(at uint64) []invoke {
		return []invoke{{abi.Submit, args(data.ref(at, 1), 0, 0)}, {abi.Wait, args(-1, 0, 0)}, sleep(at)}
	})
	if !isDeadline(err) {
		t.Errorf("error = %v, want DeadlineExceeded", err)
	}

	// Nor does the same ticket twice.
	_, _, err = drive(t, &host{}, runtime.Limits{Timeout: 30 * time.Millisecond}, data.bytes(), func(at uint64) []invoke {
		return []invoke{{abi.Submit, args(data.ref(at, 1), 0, 0)}, sleep(at), sleep(at)}
	})
	if !isDeadline(err) {
		t.Errorf("error = %v, want DeadlineExceeded", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	prog := program(data.bytes(), 0, 8, func(at uint64) []invoke { return []invoke{sleep(at)} })
	h = &host{do: func(context.Context, *abi.Op, []byte) ([]byte, error) {
		cancel()
		return prog, nil
	}}
	m := admit(t, newRuntime(t, runtime.Config{}), "drive")
	if _, err := m.Run(ctx, runtime.Call{Key: "task", Host: h}); err == nil || err.Error() != "task task: context canceled" {
		t.Errorf("error = %v, want context canceled", err)
	}
}
