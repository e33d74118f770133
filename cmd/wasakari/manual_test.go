package main

import (
	"strings"
	"testing"
)

// The manual page has every command and flag that help shows, and no line that
// man would take for an order.
func TestManual(t *testing.T) {
	t.Parallel()
	p := newPlace(t, nil)
	r := p.run(t.Context(), t, "manual")
	if r.code != exitOK {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	for _, want := range []string{
		".TH WASAKARI 8 ", "wasakari \\- recover failed OpenStack hosts", ".SS wasakari run ", ".SS wasakari task pack ", "\\-\\-config\\-file file", "\\-\\-override",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q", want)
		}
	}
	orders := map[string]bool{".TH": true, ".SH": true, ".SS": true, ".PP": true, ".nf": true, ".fi": true, ".B": true, ".I": true, ".TP": true}
	for line := range strings.Lines(r.stdout) {
		order, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, ".") && !orders[order] || strings.HasPrefix(line, "'") || strings.Contains(line, "\x1b") {
			t.Errorf("line %q", line)
		}
	}
	if strings.Contains(r.stdout, ".SS wasakari manual") || strings.Contains(r.stdout, "completion") {
		t.Error("hidden commands are shown")
	}
}
