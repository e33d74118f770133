package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
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
	ErrBadScript  = errors.New("the custom section " + ScriptSection + " is malformed; build the module again with wasakari task build")
	ErrTwoScripts = errors.New("two scripts: the module has more than one custom section " + ScriptSection + "; build it again with wasakari task build")
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
	s, err := onlySection(wasm, EngineSection, ErrTwoEngines)
	if s == nil || err != nil {
		return nil, err
	}
	if len(s.Data) > maxEngine {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrBadEngine, len(s.Data), maxEngine)
	}
	ref := new(EngineRef)
	if ps := decode(s.Data, ref, 1); len(ps) > 0 {
		return nil, fmt.Errorf("%w: %v", ErrBadEngine, ps[0])
	}
	if err := ref.check(); err != nil {
		return nil, err
	}
	return ref, nil
}

// ReadScript reads the files of a module's script, without compiling it; nil
// when it has none. The document has one reading: no key is given twice, unknown
// or in another case. Errors are those of CustomSections, ErrBadScript or
// ErrTwoScripts.
func ReadScript(wasm []byte) ([]ScriptFile, error) {
	s, err := onlySection(wasm, ScriptSection, ErrTwoScripts)
	if s == nil || err != nil {
		return nil, err
	}
	if len(s.Data) > MaxScript {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrBadScript, len(s.Data), MaxScript)
	}
	var doc TaskScriptAnswer
	if ps := decode(s.Data, &doc, 1); len(ps) > 0 {
		return nil, fmt.Errorf("%w: %v", ErrBadScript, ps[0])
	}
	if err := checkFiles(doc.Files); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadScript, err)
	}
	return doc.Files, nil
}

// maxFileName is the length of the longest name of a file, in bytes.
const maxFileName = 1024

// checkFiles holds the files of a script against what is taken.
func checkFiles(files []ScriptFile) error {
	if len(files) > MaxScriptFiles {
		return fmt.Errorf("the script has %d files; at most %d are taken", len(files), MaxScriptFiles)
	}
	seen := map[string]bool{}
	for _, f := range files {
		switch {
		case f.Name == "" || seen[f.Name]:
			return fmt.Errorf("file name %q is empty or there twice", f.Name)
		case len(f.Name) > maxFileName:
			return fmt.Errorf("file name %.40q…: %d bytes, at most %d are taken", f.Name, len(f.Name), maxFileName)
		case strings.ContainsFunc(f.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
			return fmt.Errorf("file name %q holds characters that cannot be printed", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
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
	if err := checkFiles(files); err != nil {
		return nil, err
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
