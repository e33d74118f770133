package generate

import (
	_ "embed" // the frame
	"fmt"
	"strconv"
	"strings"
)

//go:embed javascript_frame.d.ts
var javascriptFrame string

// camel is an op's verb as the name of a method in JavaScript.
func camel(verb string) string {
	words := strings.Split(verb, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// groups gives the names of the op groups in the order of the schema.
func (sc *schema) groups() []string {
	var list []string
	for _, o := range sc.Ops {
		if len(list) == 0 || list[len(list)-1] != o.group() {
			list = append(list, o.group())
		}
	}
	return list
}

// javascriptOps is sdk/javascript/lib/ops_gen.js: what the lib makes its
// methods from.
func (sc *schema) javascriptOps() ([]byte, error) {
	var s source
	s.f("%s// The error numbers by name.\nexport const errno = {\n", header)
	for _, e := range sc.Errnos {
		s.f("  %s: %d,\n", e.Name, e.Errno)
	}
	s.f("};\n\n// The kinds of the ops by group and verb.\nexport const groups = {\n")
	for _, g := range sc.groups() {
		s.f("  %s: {\n", g)
		for _, o := range sc.Ops {
			if o.group() == g {
				s.f("    %s: %q,\n", o.verb(), o.Kind)
			}
		}
		s.f("  },\n")
	}
	s.f("};\n")
	return []byte(s.String()), nil
}

// javascriptTypes is sdk/javascript/wasakari.d.ts: the documents and the
// methods, in the frame that is written by hand.
func (sc *schema) javascriptTypes() ([]byte, error) {
	var documents, methods source
	for _, d := range sc.Defs {
		if d.OneOf != nil || d.name == "Secret" || d.name == "ErrorDocument" {
			continue // written by hand
		}
		documents.doc("  ", d.Description)
		if err := documents.typescript(d.name, d.node, false); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	for _, o := range sc.Ops {
		name := goName(o.Name)
		documents.doc("  ", fmt.Sprintf("The request of %s.", o.Name))
		if err := documents.typescript(name+"Request", o.Request, true); err != nil {
			return nil, fmt.Errorf("%s: request: %w", o.Name, err)
		}
		documents.doc("  ", fmt.Sprintf("The answer of %s.", o.Name))
		if err := documents.typescript(name+"Answer", o.Answer, false); err != nil {
			return nil, fmt.Errorf("%s: answer: %w", o.Name, err)
		}
	}
	for _, g := range sc.groups() {
		if g == "task" || g == "kv" {
			continue
		}
		methods.doc("  ", fmt.Sprintf("The ops of group %s.", g))
		methods.f("  export interface %sOps {\n", goName(g))
		for _, o := range sc.Ops {
			if o.group() != g {
				continue
			}
			methods.doc("    ", fmt.Sprintf("%s: %s Errors: %s.", o.Name, o.Doc, strings.Join(o.Errors, ", ")))
			methods.f("    %s;\n", typescriptMethod(o))
		}
		methods.f("  }\n")
	}
	return []byte(strings.NewReplacer(
		"  // generated:documents\n", documents.String(), "  // generated:methods\n", methods.String(),
	).Replace(javascriptFrame)), nil
}

// doc writes text as a comment that editors show, wrapped.
func (s *source) doc(indent, text string) {
	if text == "" {
		return
	}
	const width = 100
	text = strings.ReplaceAll(text, "*/", "* /")
	if len(indent)+len(text)+7 <= width {
		s.f("%s/** %s */\n", indent, text)
		return
	}
	s.f("%s/**\n", indent)
	line := indent + " *"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			s.f("%s\n", line)
			line = indent + " *"
		}
		line += " " + word
	}
	s.f("%s\n%s */\n", line, indent)
}

func (s *source) typescript(name string, n *node, request bool) error {
	if n.Ref != "" {
		s.f("  export type %s = %s;\n", name, n.ref())
		return nil
	}
	if n.Type.name != "object" || n.Additional != nil {
		return fmt.Errorf("want an object with properties")
	}
	if len(n.Properties) == 0 {
		s.f("  export type %s = Record<string, never>;\n", name)
		return nil
	}
	s.f("  export interface %s {\n", name)
	for _, p := range n.Properties {
		key, typ, err := typescriptField(p, n, request)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		s.doc("    ", fieldDoc(p.node))
		s.f("    %s: %s;\n", key, typ)
	}
	s.f("  }\n")
	return nil
}

// typescriptMethod declares the method of an op.
func typescriptMethod(o op) string {
	optional, how := "", ", how?: How"
	if len(o.Request.Required) == 0 {
		optional = "?"
	}
	if o.Kind == "local" {
		how = ""
	}
	return fmt.Sprintf("%s(request%s: %sRequest%s): Promise<%[3]sAnswer>", camel(o.verb()), optional, goName(o.Name), how)
}

// typescriptField gives the key of a property of n, with a mark when it is
// optional, and its type.
func typescriptField(p named, n *node, request bool) (key, typ string, err error) {
	key = p.name
	if strings.ContainsAny(key, ":-$") {
		key = strconv.Quote(key)
	}
	if !n.needs(p.name) {
		key += "?"
	}
	typ, err = typescriptType(p.node, request)
	return key, typ, err
}

// typescriptType is the type of a value. Integers of answers are numbers, or
// bigints when a number cannot hold them.
func typescriptType(n *node, request bool) (string, error) {
	t, err := typescriptPlain(n, request)
	if n.Type.null {
		t += " | null"
	}
	return t, err
}

func typescriptPlain(n *node, request bool) (string, error) {
	if n.Ref != "" {
		return n.ref(), nil
	}
	switch n.Type.name {
	case "":
		return "any", nil
	case "string":
		if request && len(n.Enum) > 0 {
			quoted := make([]string, len(n.Enum))
			for i, e := range n.Enum {
				quoted[i] = strconv.Quote(e)
			}
			return strings.Join(quoted, " | "), nil
		}
		return "string", nil
	case "boolean":
		return "boolean", nil
	case "integer":
		return "Integer", nil
	case "array":
		t, err := typescriptType(n.Items, request)
		if strings.Contains(t, " ") {
			t = "(" + t + ")"
		}
		return t + "[]", err
	case "object":
		if n.Additional != nil {
			t, err := typescriptType(n.Additional, request)
			return "Record<string, " + t + ">", err
		}
	}
	return "", fmt.Errorf("type %q: want a scalar, an array, a map or a $ref", n.Type.name)
}
