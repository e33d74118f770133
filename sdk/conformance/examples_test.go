package conformance_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/internal/safeyaml"
)

const examples = "../../tasks-examples"

// TestExamples runs the worked examples of every language against the scenarios
// that they share, as their authors do: wasakari task test.
func TestExamples(t *testing.T) {
	wasakari := filepath.Join(t.TempDir(), "wasakari")
	command(t, filepath.Join("..", ".."), nil, "go", "build", "-o", wasakari, "./cmd/wasakari")
	folders, err := filepath.Glob(filepath.Join(examples, "*", "tests"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tests := range folders {
		example := filepath.Dir(tests)
		sources, err := filepath.Glob(filepath.Join(example, "*", "task.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if len(sources) == 0 {
			t.Errorf("%s holds no task", example)
		}
		slices.Sort(sources)
		for _, manifest := range sources {
			lang := filepath.Base(filepath.Dir(manifest))
			t.Run(filepath.Base(example)+"/"+lang, func(t *testing.T) {
				sameManifest(t, manifest, filepath.Join(example, "go", "task.yaml"))
				out := command(t, ".", nil, wasakari, "task", "test", moduleOf(t, wasakari, example, lang), "--tests", tests)
				t.Logf("%s", out)
			})
		}
	}
}

// TestCommittedManifests: what is committed was packed with the task.yaml that
// lies beside its source. To know so takes no tool chain.
func TestCommittedManifests(t *testing.T) {
	modules, err := filepath.Glob(filepath.Join(examples, "*", "*", "*.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{"../../internal/standardtasks/standard.wasm": filepath.Join(examples, "standard", "task.yaml")}
	for _, module := range modules {
		sources[module] = filepath.Join(filepath.Dir(module), "task.yaml")
	}
	if len(sources) < 10 {
		t.Errorf("%d modules, want three languages' of three examples, and the standard tasks", len(sources))
	}
	for module, source := range sources {
		wasm := readFile(t, module)
		doc, err := safeyaml.JSON(source, readFile(t, source))
		if err != nil {
			t.Fatal(err)
		}
		m, err := abi.ParseManifest(doc)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		packed, err := abi.AppendManifest(wasm, m)
		if err != nil {
			t.Fatalf("%s: %v", module, err)
		}
		if !bytes.Equal(packed, wasm) {
			t.Errorf("%s has not the manifest of %s: make examples-rebuild, or make standard", module, source)
		}
	}
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// moduleOf is what is tested of an example: the module that is committed beside
// the source, the script itself, or what Go builds.
func moduleOf(t *testing.T, wasakari, example, lang string) string {
	t.Helper()
	name, dir := filepath.Base(example), filepath.Join(example, lang)
	if lang == "go" {
		raw, packed := filepath.Join(t.TempDir(), "raw.wasm"), filepath.Join(t.TempDir(), name+".wasm")
		command(t, examples, []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"},
			"go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", raw, "./"+name+"/go")
		command(t, ".", nil, wasakari, "task", "pack", filepath.Join(dir, "task.yaml"), raw, "-o", packed)
		return packed
	}
	for _, suffix := range []string{".wasm", ".py", ".js", ".ts"} {
		file := filepath.Join(dir, name+suffix)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Fatalf("%s holds neither %s.wasm nor a script", dir, name)
	return ""
}

// sameManifest: an example asks for the same in every language.
func sameManifest(t *testing.T, file, model string) {
	t.Helper()
	docs := make([]map[string]any, 2)
	for i, f := range []string{file, model} {
		if err := yaml.Unmarshal(readFile(t, f), &docs[i]); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		delete(docs[i], "summary")
	}
	if !reflect.DeepEqual(docs[0], docs[1]) {
		t.Errorf("%s asks for something else than %s: only summary may differ", file, model)
	}
}

func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOFLAGS=", "GOWORK=off"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
