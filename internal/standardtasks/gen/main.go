// Command gen builds tasks-examples/standard and writes it, with its manifest,
// to internal/standardtasks/standard.wasm. With -check it writes nothing and
// fails when the file is not what it would write.
//
// Run it at the root of the tree or in internal/standardtasks.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/wasakari/wasakari/abi"
)

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	wasm, err := build(filepath.Join(root, "tasks-examples"))
	if err != nil {
		return err
	}
	target := filepath.Join(root, "internal", "standardtasks", "standard.wasm")
	if check {
		have, err := os.ReadFile(target)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, wasm) {
			return fmt.Errorf("%s is not what tasks-examples/standard builds: run go generate ./internal/standardtasks", target)
		}
		return nil
	}
	if err := os.WriteFile(target, wasm, 0o644); err != nil { //nolint:gosec // a source file
		return err
	}
	fmt.Printf("%s: %d bytes\n", target, len(wasm))
	return nil
}

// findRoot goes up to the folder that holds tasks-examples.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "tasks-examples", "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not below the root of the tree")
		}
		dir = up
	}
}

// build compiles the tasks of a folder with its subfolder standard and appends
// the manifest.
func build(examples string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "standardtasks")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	out := filepath.Join(tmp, "mod.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, "./standard") //nolint:noctx // ends with the build
	cmd.Dir = examples
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w", err)
	}
	wasm, err := os.ReadFile(out) //nolint:gosec // our own file
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(examples, "standard", "task.yaml")) //nolint:gosec // our own file
	if err != nil {
		return nil, err
	}
	doc, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("task.yaml: %w", err)
	}
	m, err := abi.ParseManifest(doc)
	if err != nil {
		return nil, fmt.Errorf("task.yaml: %w", err)
	}
	return abi.AppendManifest(wasm, m)
}
