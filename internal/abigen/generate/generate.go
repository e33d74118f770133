package generate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files gives the generated files by their paths from root, with slashes, as
// they should be for the abi/schema.json and sdk/ABI.md below root.
func Files(root string) (map[string][]byte, error) {
	raw, err := os.ReadFile(filepath.Join(root, "abi", "schema.json")) //nolint:gosec // a fixed file below root
	if err != nil {
		return nil, err
	}
	var sc schema
	if err := json.Unmarshal(raw, &sc); err != nil {
		return nil, fmt.Errorf("abi/schema.json: %w", err)
	}
	if err := sc.check(); err != nil {
		return nil, fmt.Errorf("abi/schema.json: %w", err)
	}
	files := map[string][]byte{}
	for name, write := range map[string]func() ([]byte, error){
		"abi/ops_gen.go":      sc.abiOps,
		"abi/types_gen.go":    func() ([]byte, error) { return sc.types("abi", true) },
		"sdk/go/ops_gen.go":   sc.sdkOps,
		"sdk/go/types_gen.go": func() ([]byte, error) { return sc.types("wasakari", false) },

		"sdk/javascript/lib/ops_gen.js": sc.javascriptOps,
		"sdk/javascript/wasakari.d.ts":  sc.javascriptTypes,

		"sdk/conformance/c/ops_gen.h": sc.cConformance,

		"sdk/rust/src/ops_gen.rs":   sc.rustOps,
		"sdk/rust/src/types_gen.rs": sc.rustTypes,

		"sdk/python/lib/wasakari/_ops.py": sc.pythonOps,

		"sdk/assemblyscript/assembly/ops_gen.ts":             sc.asOps,
		"sdk/assemblyscript/assembly/types_gen.ts":           sc.asTypes,
		"sdk/conformance/assemblyscript/assembly/ops_gen.ts": sc.asConformance,
	} {
		if files[name], err = write(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, r := range sc.references() {
		name := "docs/sdk/" + r.language + ".md"
		if files[name], err = sc.referencePage(r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "sdk", "ABI.md")) //nolint:gosec // a fixed file below root
	if err != nil {
		return nil, err
	}
	out, err := splice(string(page), map[string]string{
		"errnos": sc.errnoTable(), "ops": sc.opTables(), "documents": sc.documentTables(),
	})
	if err != nil {
		return nil, fmt.Errorf("sdk/ABI.md: %w", err)
	}
	files["sdk/ABI.md"] = []byte(out)
	if files["sdk/c/wasakari.h"], err = sc.spliceC(root); err != nil {
		return nil, fmt.Errorf("sdk/c/wasakari.h: %w", err)
	}
	return files, nil
}

// check finds references to what is not there.
func (sc *schema) check() error {
	known := map[string]bool{}
	for _, d := range sc.Defs {
		known["#/$defs/"+d.name] = true
	}
	codes := map[string]bool{}
	for _, e := range sc.Errnos {
		codes[e.Name] = true
	}
	var walk func(where string, n *node) error
	walk = func(where string, n *node) error {
		if n == nil {
			return nil
		}
		if n.Ref != "" && !known[n.Ref] {
			return fmt.Errorf("%s: %s is not there", where, n.Ref)
		}
		have := map[string]bool{}
		for _, p := range n.Properties {
			have[p.name] = true
			if err := walk(where+"."+p.name, p.node); err != nil {
				return err
			}
		}
		for _, r := range n.Required {
			if !have[r] {
				return fmt.Errorf("%s: %s is required and no property", where, r)
			}
		}
		if err := walk(where+"[]", n.Items); err != nil {
			return err
		}
		return walk(where+"{}", n.Additional)
	}
	for _, d := range sc.Defs {
		if err := walk(d.name, d.node); err != nil {
			return err
		}
	}
	for _, o := range sc.Ops {
		switch o.Kind {
		case "local", "read", "change":
		default:
			return fmt.Errorf("%s: kind %q: want local, read or change", o.Name, o.Kind)
		}
		if o.Request == nil || o.Answer == nil {
			return fmt.Errorf("%s: request or answer is missing", o.Name)
		}
		for _, e := range o.Errors {
			if !codes[e] {
				return fmt.Errorf("%s: error %q is not there", o.Name, e)
			}
		}
		if err := walk(o.Name+" request", o.Request); err != nil {
			return err
		}
		if err := walk(o.Name+" answer", o.Answer); err != nil {
			return err
		}
	}
	return nil
}

// splice puts each text between its markers, <!-- generated:NAME --> and
// <!-- /generated:NAME -->.
func splice(page string, texts map[string]string) (string, error) {
	return spliceBetween(page, "<!-- generated:%s -->\n", "<!-- /generated:%s -->", texts)
}

// spliceBetween puts each text between the markers that these formats make of
// its name.
func spliceBetween(page, beginFormat, endFormat string, texts map[string]string) (string, error) {
	for name, text := range texts {
		begin, end := fmt.Sprintf(beginFormat, name), fmt.Sprintf(endFormat, name)
		i := strings.Index(page, begin)
		j := strings.Index(page, end)
		if i < 0 || j < i {
			return "", fmt.Errorf("the markers %q and %q are not there in this order", strings.TrimSpace(begin), end)
		}
		page = page[:i+len(begin)] + text + page[j:]
	}
	return page, nil
}
