package masakariv1_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/answers anew")

// TestFixtures sends each request that real clients send, and compares status,
// headers and body with what is kept of the answer.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var in struct {
				Method, Path string
				Headers      map[string]string
				Body         json.RawMessage
				Expect       int
			}
			if err := json.Unmarshal(data, &in); err != nil {
				t.Fatal(err)
			}
			s := serve(t)
			first := s.ask("POST", "/v1/segments", `{"segment": {"name": "first", "recovery_method": "auto", "service_type": "COMPUTE"}}`)
			segment := first.text("segment.uuid")
			s.segment("second")
			host := ""
			if name != "host-create" {
				host = s.host(segment, "compute-1")
			}
			path := strings.NewReplacer("{segment_uuid}", segment, "{host_uuid}", host,
				"{segment_id}", fmt.Sprint(first.at("segment.id"))).Replace(in.Path)
			var headers []string
			for k, v := range in.Headers {
				headers = append(headers, k, v)
			}
			var body any
			if string(in.Body) != "null" {
				body = string(in.Body)
			}
			got := s.ask(in.Method, path, body, headers...).wantStatus(in.Expect)
			compare(t, "testdata/answers/"+name+".txt", got)
		})
	}
}

// compare holds an answer, without ids and times, against a file.
func compare(t *testing.T, file string, a answer) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	names := []string{}
	for name := range a.header {
		if !slices.Contains([]string{"Date", "Content-Length"}, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, uuidText.ReplaceAllString(strings.Join(a.header[name], ", "), "UUID"))
	}
	fmt.Fprintf(&b, "\n%s\n", a.normal())
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("answer:\n%s\nwant:\n%s", got, want)
	}
}
