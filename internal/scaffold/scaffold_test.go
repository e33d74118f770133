package scaffold_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/scaffold"
)

func nothingReserved(string) bool { return false }

func TestNames(t *testing.T) {
	taken := func(group string) bool { return group == "nova" }
	tests := []struct {
		key  string
		want scaffold.Names
	}{
		{"my_task", scaffold.Names{Key: "my_task", Ident: "my_task", Class: "MyTask", Library: "my-task", Group: "my_task"}},
		{"Fence.rack-2", scaffold.Names{Key: "Fence.rack-2", Ident: "fence_rack_2", Class: "FenceRack2", Library: "fence-rack-2", Group: "fence_rack_2"}},
		{"_9", scaffold.Names{Key: "_9", Ident: "_9", Class: "Task9", Library: "9", Group: "_9"}},
		{"_", scaffold.Names{Key: "_", Ident: "_", Class: "Task", Library: "task", Group: "_"}},
		{"nova", scaffold.Names{Key: "nova", Ident: "nova", Class: "Nova", Library: "nova", Group: "nova_task"}},
		{"class", scaffold.Names{Key: "class", Ident: "class", Class: "Class", Library: "class", Group: "class_task"}},
		{"true", scaffold.Names{Key: "true", Ident: "true", Class: "TrueTask", Library: "true", Group: "true"}},
	}
	for _, tt := range tests {
		got, err := scaffold.NamesOf(tt.key, taken)
		if err != nil || got != tt.want {
			t.Errorf("names of %s: %+v, %v, want %+v", tt.key, got, err, tt.want)
		}
	}
	for _, key := range []string{"", "9lives", "my task", "../x", "a/b", strings.Repeat("k", scaffold.MaxKey+1), "é"} {
		if got, err := scaffold.NamesOf(key, taken); err == nil {
			t.Errorf("names of %q: %+v, want an error", key, got)
		}
	}
}

// Each language's project has what the others have, and its manifest is one.
func TestFiles(t *testing.T) {
	for _, lang := range scaffold.Languages() {
		t.Run(lang, func(t *testing.T) {
			key := "Fence.rack-2"
			if lang == "python" {
				key = "Fence-rack-2"
			}
			names, err := scaffold.NamesOf(key, nothingReserved)
			if err != nil {
				t.Fatal(err)
			}
			files, err := scaffold.Files(lang, names)
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, f := range files {
				paths = append(paths, f.Path)
				own := !strings.HasPrefix(f.Path, "sdk/")
				if own && (strings.Contains(string(f.Data), "my_task") || strings.Contains(string(f.Data), "{{") && lang != "c" && lang != "rust") {
					t.Errorf("%s holds what a template should have replaced:\n%s", f.Path, f.Data)
				}
				if own && !strings.HasSuffix(string(f.Data), "\n") {
					t.Errorf("%s does not end in a line feed", f.Path)
				}
			}
			for _, want := range []string{"README.md", "tests/counts.yaml", "tests/too_many.yaml"} {
				if !slices.Contains(paths, want) {
					t.Errorf("files %v, want %s too", paths, want)
				}
			}
			for _, p := range paths {
				if !fs.ValidPath(p) || strings.HasSuffix(p, ".tmpl") || strings.Contains(p, "__KEY__") {
					t.Errorf("file %q", p)
				}
			}
			if got := slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, "sdk/") }); got != scaffold.CarriesSDK(lang) {
				t.Errorf("there is a copy of the SDK: %t, want %t", got, scaffold.CarriesSDK(lang))
			}
		})
	}
	if _, err := scaffold.Files("cobol", scaffold.Names{}); err == nil {
		t.Error("files for a language without templates")
	}
}

// A script is called like its task, so it has to be a name that can be built.
func TestScriptNames(t *testing.T) {
	for _, tt := range []struct {
		lang, key string
		ok        bool
	}{
		{"python", "_a", false},
		{"python", "a.b", false},
		{"python", "a-b", true},
		{"javascript", "_a", false},
		{"javascript", "a.b", true},
		{"go", "_a", true},
	} {
		names, err := scaffold.NamesOf(tt.key, nothingReserved)
		if err != nil {
			t.Fatal(err)
		}
		if files, err := scaffold.Files(tt.lang, names); (err == nil) != tt.ok || tt.ok == (len(files) == 0) {
			t.Errorf("%s in %s: %d files, %v", tt.key, tt.lang, len(files), err)
		}
	}
}

// The copies that projects carry are those of this tree.
func TestArchives(t *testing.T) {
	archives, err := filepath.Glob("sdk/*.zip")
	if err != nil {
		t.Fatal(err)
	}
	var carried []string
	for _, lang := range scaffold.Languages() {
		if !scaffold.CarriesSDK(lang) {
			continue
		}
		carried = append(carried, filepath.FromSlash(scaffold.ArchiveOf(lang)))
		want, err := scaffold.Pack(lang, os.DirFS(filepath.Join("..", "..", "sdk", lang)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(scaffold.ArchiveOf(lang))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("the archive of sdk/%s is not what lies there (%v); run make generate", lang, err)
		}
	}
	slices.Sort(carried)
	if !slices.Equal(archives, carried) {
		t.Errorf("archives %v, want %v", archives, carried)
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	files := []scaffold.File{{Path: "x/y.txt", Data: []byte("1")}, {Path: "z", Data: []byte("2")}}
	if err := scaffold.Write(dir, files); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if got, err := os.ReadFile(filepath.Join(dir, f.Path)); err != nil || string(got) != string(f.Data) {
			t.Errorf("%s: %q, %v, want %q", f.Path, got, err, f.Data)
		}
	}
	if err := scaffold.Write(dir, files); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over what was there: %v, want %v", err, fs.ErrExist)
	}
}

func TestUnpackDamaged(t *testing.T) {
	good, err := os.ReadFile(scaffold.ArchiveOf("go"))
	if err != nil {
		t.Fatal(err)
	}
	if files, err := scaffold.Unpack(good); err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	damaged := slices.Clone(good)
	damaged[100] ^= 0xff
	for name, archive := range map[string][]byte{"short": good[:len(good)/2], "damaged": damaged, "empty": nil} {
		if _, err := scaffold.Unpack(archive); err == nil {
			t.Errorf("%s archive: no error", name)
		}
	}
}

// A project in Go passes its own unit tests with nothing but what it carries.
func TestGoProject(t *testing.T) {
	names, err := scaffold.NamesOf("my_task", nothingReserved)
	if err != nil {
		t.Fatal(err)
	}
	files, err := scaffold.Files("go", names)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := scaffold.Write(dir, files); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go test: %v\n%s", err, out)
	}
}

// What is a key here is one in a manifest too.
func TestKeysAreThoseOfManifests(t *testing.T) {
	for _, key := range []string{"a", "_", "a.b-c_9", "9a", "-a", "a b", "é"} {
		doc := `{"abi":1,"library":"l","version":"1.0.0","tasks":[{"key":"` + key + `"}]}`
		_, err := abi.ParseManifest([]byte(doc))
		if got := abi.TaskKey(key); got != (err == nil) {
			t.Errorf("key %q: %t, and the manifest says %v", key, got, err)
		}
	}
}
