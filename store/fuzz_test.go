package store_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// What is stored may have been damaged, or written by another version: it is an
// error, never a panic.
func FuzzRecord(f *testing.F) {
	const head = `{"f":1}` + "\n"
	for _, seed := range [][2]string{
		{"r/segment/u", head + `{"uuid":"u","name":"n","recovery_method":"auto","enabled":true}`},
		{"r/host/s/u", head + `{"uuid":"u","name":"n","failover_segment_id":"s"}`},
		{"r/notification/u", head + `{"uuid":"u","type":"VM","payload":{"a":"b"},"status":"new"}`},
		{"r/queue/s/h/u", head + `{"notification":"u","type":"VM","host":"h"}`},
		{"r/run/u", head + `{"id":"u","status":"running","message":"é"}`},
		{"r/task/u/0000000001", head + `{"seq":1,"key":"a"}`},
		{"r/vmove/n/u", head + `{"uuid":"u"}`},
		{"r/abort/u", head + `{"mode":"stop"}`},
		{"r/lock/host/h", head + `{"run":"u","node":"n"}`},
		{"r/node/n", head + `{"name":"n","boot":"b"}`},
		{"r/module/d/", head + `{"digest":"d","keys":["a"]}`},
		{"r/modules", head + `{"active":{"/l":{"digest":"d","keys":["a"]}}}`},
		{"r/hold/h", "u"},
		{"r/vmrun/h/u", ""},
		{"d/lib/l/e/k", `{"f":1,"v":3,"e":9}` + "\n" + `{"a": 1}`},
		{"r/segment/u", `{"f":2}` + "\n{}"},
		{"r/vmrun/", "\n"},
		{"r/queue/", head + "null"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		err := store.Take(key, value)
		if err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNewer) {
			t.Errorf("%q: %v, want damaged or newer", key, err)
		}
	})
}

func FuzzBackup(f *testing.F) {
	s, err := store.Open(context.Background(), store.Config{Dir: filepath.Join(f.TempDir(), "store"), Node: "n"})
	if err != nil {
		f.Fatal(err)
	}
	var backup bytes.Buffer
	_, err = s.CreateSegment(context.Background(), recovery.Segment{UUID: "u", Name: "n"})
	if err = errors.Join(err, s.Backup(context.Background(), &backup), s.Close()); err != nil {
		f.Fatal(err)
	}
	if n, err := store.ReadBackup(bytes.NewReader(backup.Bytes())); err != nil || n != 2 {
		f.Fatalf("%d records, %v, want 2", n, err)
	}
	f.Add(backup.Bytes())
	f.Add([]byte(`{"wasakari_backup":1}` + "\n\x00\x00\x00\x00\x00\x00\x00\x03"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := store.ReadBackup(bytes.NewReader(data))
		if err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNewer) {
			t.Errorf("%v, want damaged or newer", err)
		}
	})
}
