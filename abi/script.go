package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// EngineSection names the engine of a script module: the module that
// interprets its script. Its contents are an EngineRef in JSON.
const EngineSection = "wasakari.engine"

// Describe is an optional export of an engine: describe() → i32. It is called
// when a script module is built, never for a task: it fetches the script by
// task.script and answers by task.reason with a description of its tasks in
// JSON, or returns ExitFailed with what is wrong with the script as its reason.
const Describe = "describe"

// Bounds of what a script module holds.
const (
	// MaxScript is the size of the section with the script, in bytes of JSON.
	MaxScript = 1 << 20
	// MaxScriptFiles is how many files a script may have.
	MaxScriptFiles = 1000
	maxEngine      = 64 << 10 // bytes of JSON
)

// EngineRef names the engine that runs a script module. A host takes only the
// engine that the script was built for, byte for byte.
type EngineRef struct {
	// Name is that of the language, such as python.
	Name string `json:"name"`
	// Digest is the sha256 of the engine's bytes, hex.
	Digest string `json:"digest"`
	// Reverts are the keys of those tasks that the script can revert: an engine
	// exports revert, whatever the script has.
	Reverts []string `json:"reverts,omitempty"`
}

// Reasons why a script module cannot be read.
var (
	ErrBadEngine  = errors.New("the custom section " + EngineSection + " is malformed; build the module again with wasakari task build")
	ErrTwoEngines = errors.New("two engines: the module has more than one custom section " + EngineSection + "; build it again with wasakari task build")
)

var (
	engineName   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	engineDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ReadEngine reads which engine a module needs, without compiling it; nil when
// it is none that has an engine. Errors are those of CustomSections,
// ErrBadEngine or ErrTwoEngines.
func ReadEngine(wasm []byte) (*EngineRef, error) {
	list, err := CustomSections(wasm)
	if err != nil {
		return nil, err
	}
	var ref *EngineRef
	for _, s := range list {
		if s.Name != EngineSection {
			continue
		}
		if ref != nil {
			return nil, fmt.Errorf("%w (the second at byte %d)", ErrTwoEngines, s.Offset)
		}
		ref = new(EngineRef)
		if len(s.Data) > maxEngine {
			return nil, fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrBadEngine, len(s.Data), maxEngine)
		}
		if ps := decode(s.Data, ref, 1); len(ps) > 0 {
			return nil, fmt.Errorf("%w: %v", ErrBadEngine, ps[0])
		}
		if err := ref.check(); err != nil {
			return nil, err
		}
	}
	return ref, nil
}

func (e *EngineRef) check() error {
	switch {
	case !engineName.MatchString(e.Name):
		return fmt.Errorf("%w: name: want a-z, 0-9, _ and -, at most 64", ErrBadEngine)
	case !engineDigest.MatchString(e.Digest):
		return fmt.Errorf("%w: digest: want a sha256, 64 digits of 0-9 and a-f", ErrBadEngine)
	}
	return nil
}

// ScriptModule makes a script module: no code, but a manifest, a script and the
// engine that runs it.
func ScriptModule(m *Manifest, files []ScriptFile, engine EngineRef) ([]byte, error) {
	if err := engine.check(); err != nil {
		return nil, err
	}
	if len(files) > MaxScriptFiles {
		return nil, fmt.Errorf("the script has %d files; at most %d are taken", len(files), MaxScriptFiles)
	}
	script, err := plainJSON(TaskScriptAnswer{Files: files})
	if err != nil {
		return nil, err
	}
	if len(script) > MaxScript {
		return nil, fmt.Errorf("the script has %d bytes; at most %d are taken", len(script), MaxScript)
	}
	ref, err := plainJSON(engine)
	if err != nil {
		return nil, err
	}
	wasm := []byte("\x00asm\x01\x00\x00\x00")
	wasm = appendCustom(wasm, ScriptSection, script)
	wasm = appendCustom(wasm, EngineSection, ref)
	return AppendManifest(wasm, m)
}

// ReadScript reads the files of the custom section wasakari.script, nil when
// there is none. Their bytes are any text.
func ReadScript(wasm []byte) ([]ScriptFile, error) {
	list, err := CustomSections(wasm)
	if err != nil {
		return nil, err
	}
	var data []byte
	for _, s := range list {
		if s.Name != ScriptSection {
			continue
		}
		if data != nil {
			return nil, fmt.Errorf("two custom sections %s", ScriptSection)
		}
		data = s.Data
	}
	if data == nil {
		return nil, nil
	}
	if len(data) > MaxScript {
		return nil, fmt.Errorf("custom section %s has %d bytes; at most %d are taken", ScriptSection, len(data), MaxScript)
	}
	var doc struct {
		Files []ScriptFile `json:"files"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("custom section %s: %w", ScriptSection, err)
	}
	if len(doc.Files) > MaxScriptFiles {
		return nil, fmt.Errorf("custom section %s has %d files; at most %d are taken", ScriptSection, len(doc.Files), MaxScriptFiles)
	}
	seen := map[string]bool{}
	for _, f := range doc.Files {
		if f.Name == "" || seen[f.Name] {
			return nil, fmt.Errorf("custom section %s: file name %q is empty or there twice", ScriptSection, f.Name)
		}
		seen[f.Name] = true
	}
	return doc.Files, nil
}

// plainJSON writes a document that people can read in the module.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Has reports whether the script can revert a task.
func (e *EngineRef) Has(key string) bool {
	return slices.Contains(e.Reverts, key)
}

// String gives name and digest, as in messages.
func (e *EngineRef) String() string { return strings.TrimSpace(e.Name + " sha256:" + e.Digest) }
