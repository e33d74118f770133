package generate

import (
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
		var names []string
		for _, p := range o.Request.Properties {
			names = append(names, p.name)
		}
		// What is required comes first, and may be given by its place.
		slices.SortStableFunc(names, func(a, b string) int {
			return compareBool(slices.Contains(o.Request.Required, b), slices.Contains(o.Request.Required, a))
		})
		s.f("\n    def %s(self", o.verb())
		for i, n := range names {
			optional := !slices.Contains(o.Request.Required, n)
			if optional && (i == 0 || slices.Contains(o.Request.Required, names[i-1])) {
				s.f(", *")
			}
			if s.f(", %s", n); optional {
				s.f("=None")
			}
		}
		s.f("):\n        \"\"\"%s\"\"\"\n        return self._do(%q, {", strings.ReplaceAll(o.Doc, `"""`, `'''`), o.Name)
		for i, n := range names {
			if i > 0 {
				s.f(", ")
			}
			s.f("%q: %s", n, n)
		}
		s.f("})\n")
	}
	return []byte(s.String()), nil
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
