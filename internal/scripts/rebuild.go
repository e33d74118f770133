package scripts

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/runtime"
)

// Rebuild makes of a script module the same one for the engine that rt has of its
// language: script and manifest stay, but for the version, which gets a part that
// names the engine, as a version never changes. name is the module's in errors,
// which match ErrSource where the module is to blame. A module that names that
// engine already is given back as it is.
func Rebuild(ctx context.Context, rt *runtime.Runtime, name string, wasm []byte) (_ []byte, m *abi.Manifest, notes []string, err error) {
	fail := func(err error) ([]byte, *abi.Manifest, []string, error) {
		return nil, nil, nil, source("%s: %s", name, err)
	}
	ref, err := abi.ReadEngine(wasm)
	if err != nil {
		return fail(err)
	}
	if ref == nil {
		return nil, nil, nil, source("%s: it is a module already, and of no script; wasakari task pack puts a manifest in", name)
	}
	if m, err = abi.ReadManifest(wasm); err != nil {
		return fail(err)
	}
	files, err := abi.ReadScript(wasm)
	if err != nil {
		return fail(err)
	}
	next, err := own(rt, ref.Name)
	if err != nil {
		return fail(err)
	}
	if next.Digest == ref.Digest {
		return wasm, m, []string{fmt.Sprintf("it names the engine %s of this program already: nothing to do", ref.Name)}, nil
	}
	if err := stillThere(ctx, rt, name, files, next); err != nil {
		return nil, nil, nil, err
	}
	notes = append(notes, fmt.Sprintf("it named the engine %s, and names %s now", ref, &next))
	if key, err := abi.ReadSignature(wasm); err != nil || key != nil {
		notes = append(notes, "the signature is gone, as the bytes are others: have it signed again with wasakari task sign")
	}
	next.Reverts = ref.Reverts
	m.Version = versionFor(m.Version, next)
	if wasm, err = abi.ScriptModule(m, files, next); err != nil {
		return fail(err)
	}
	return wasm, m, notes, nil
}

// stillThere lets the engine say whether the script has the tasks that were found
// in it when it was built.
func stillThere(ctx context.Context, rt *runtime.Runtime, name string, files []abi.ScriptFile, ref abi.EngineRef) error {
	var doc struct {
		Tasks []place `json:"tasks"`
	}
	src := Source{Path: name}
	for _, f := range files {
		if f.Name != TasksFile {
			src.Files = append(src.Files, f)
			continue
		}
		if err := json.Unmarshal([]byte(f.Text), &doc); err != nil {
			return source("%s: %s: %s", name, TasksFile, err)
		}
	}
	d, err := describe(ctx, rt, src, ref)
	if err != nil {
		return err
	}
	for _, p := range doc.Tasks {
		if !slices.ContainsFunc(d.Tasks, func(t map[string]any) bool { return text(t["class"]) == p.Class && text(t["file"]) == p.File }) {
			return source("%s: the engine finds no %s in %s any more; build it from its source", name, p.Class, p.File)
		}
	}
	return nil
}

var engineVersion = regexp.MustCompile(`[+.]engine\.[0-9a-f]{12}$`)

// versionFor gives a version whose build metadata names the engine.
func versionFor(version string, ref abi.EngineRef) string {
	version = engineVersion.ReplaceAllString(version, "")
	sep := "+"
	if strings.Contains(version, "+") {
		sep = "."
	}
	return version + sep + "engine." + ref.Digest[:12]
}
