package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// TestMain also serves the child processes of the case live, which are this
// program again.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-live") {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestCases runs every case once. It needs the guests: make bench-guests.
func TestCases(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out, log bytes.Buffer
			args := []string{"-guests", "../bin/bench", "-rounds", "1", "-sample", "1ns", "-output", "json", "-cases", c.name}
			if err := run(t.Context(), args, &out, &log); err != nil {
				t.Fatal(err)
			}
			var d document
			if err := json.Unmarshal(out.Bytes(), &d); err != nil {
				t.Fatal(err)
			}
			if len(d.Rows) == 0 {
				t.Fatal("no rows")
			}
			for _, r := range d.Rows {
				if len(r.Cells) == 0 {
					t.Errorf("%s: no peers", r.Title)
				}
				for _, cell := range r.Cells {
					if got, want := cell.Rounds > 0, cell.Reason == ""; got != want {
						t.Errorf("%s, %s: measured %t, reason %q", r.Title, cell.Peer, got, cell.Reason)
					}
				}
			}
		})
	}
}
