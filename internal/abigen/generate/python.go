package generate

import (
	"fmt"
	"slices"
	"strings"
)

// pythonOps is sdk/python/lib/wasakari/_ops.py: the error codes by number, and a
// class of methods for each group of ops.
func (sc *schema) pythonOps() ([]byte, error) {
	var s source
	s.f("# %s", strings.TrimPrefix(header, "// "))
	s.f("from wasakari._host import Group\n\n# The codes of errors, by their numbers.\nERRNOS = {\n")
	for _, e := range sc.Errnos {
		s.f("    %d: %q,\n", e.Errno, e.Name)
	}
	s.f("}\n")
	group := ""
	for _, o := range sc.Ops {
		if o.group() == "task" || o.group() == "kv" {
			continue // written by hand
		}
		if o.group() != group {
			group = o.group()
			s.f("\n\nclass %s(Group):\n    \"\"\"The ops of group %s.\"\"\"\n", goName(group), group)
		}
		s.f("\n    def %s(%s):\n", o.verb(), strings.Join(append([]string{"self"}, pythonParameters(o)...), ", "))
		s.f("        \"\"\"%s\"\"\"\n        return self._do(%q, {", strings.ReplaceAll(o.Doc, `"""`, `'''`), o.Name)
		for i, p := range pythonOrder(o) {
			if i > 0 {
				s.f(", ")
			}
			s.f("%q: %[1]s", p.name)
		}
		s.f("})\n")
	}
	return []byte(s.String()), nil
}

// pythonOrder gives the properties of an op's request as its method takes them:
// what is required comes first, and may be given by its place.
func pythonOrder(o op) []named {
	all := slices.Clone(o.Request.Properties)
	slices.SortStableFunc(all, func(a, b named) int {
		return compareBool(o.Request.needs(b.name), o.Request.needs(a.name))
	})
	return all
}

// pythonParameters are those of an op's method, without self.
func pythonParameters(o op) []string {
	var params []string
	keywords := false
	for _, p := range pythonOrder(o) {
		if o.Request.needs(p.name) {
			params = append(params, p.name)
			continue
		}
		if !keywords {
			params, keywords = append(params, "*"), true
		}
		params = append(params, p.name+"=None")
	}
	return params
}

// pythonType says what a value is; documents are dicts whose keys are
// attributes as well.
func pythonType(n *node) (string, error) {
	t, err := pythonPlain(n)
	if n.Type.null {
		t += " | None"
	}
	return t, err
}

func pythonPlain(n *node) (string, error) {
	if n.Ref != "" {
		return n.ref(), nil
	}
	switch n.Type.name {
	case "":
		return "any", nil
	case "string":
		return "str", nil
	case "boolean":
		return "bool", nil
	case "integer":
		return "int", nil
	case "array":
		t, err := pythonType(n.Items)
		return "list[" + t + "]", err
	case "object":
		if n.Additional != nil {
			t, err := pythonType(n.Additional)
			return "dict[str, " + t + "]", err
		}
	}
	return "", fmt.Errorf("type %q: want a scalar, an array, a map or a $ref", n.Type.name)
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
