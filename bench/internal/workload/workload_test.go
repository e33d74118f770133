package workload_test

import (
	"bytes"
	"testing"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

func TestInput(t *testing.T) {
	doc, err := workload.Encode(workload.Task, 10, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if got, least, most := len(doc), 1900, 2100; got < least || got > most {
		t.Errorf("input has %d bytes, want some 2 KB", got)
	}
	in, err := workload.Check(doc)
	if err != nil {
		t.Fatal(err)
	}
	if in.Mode != workload.Task || in.N != 10 || in.Size != 2048 {
		t.Errorf("got %+v", in)
	}
	if _, err := workload.Check(bytes.Replace(doc, []byte("ACTIVE"), []byte("PAUSED"), 1)); err == nil {
		t.Error("another document has the same sum")
	}
}
