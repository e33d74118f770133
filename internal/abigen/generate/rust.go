package generate

import (
	"fmt"
	"strings"
)

// rustComment writes text as a comment of what follows it.
func (s *source) rustComment(indent, text string) {
	// Brackets would be links.
	text = strings.NewReplacer("[", `\[`, "]", `\]`).Replace(text)
	const width = 98
	line := indent + "///"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && strings.TrimSpace(line) != "///" {
			s.f("%s\n", line)
			line = indent + "///"
		}
		line += " " + word
	}
	if strings.TrimSpace(line) != "///" {
		s.f("%s\n", line)
	}
}

// rustName makes a Rust name of a JSON name: what stands before the last colon
// is dropped, a keyword gets an underscore.
func rustName(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s[strings.LastIndexByte(s, ':')+1:], "-", "_"))
	switch s {
	case "$secret":
		return "name"
	case "type":
		return "type_"
	}
	return s
}

// rustType is the Rust type of a value that is there.
func rustType(n *node) (string, error) {
	if n.Ref != "" {
		return n.ref(), nil
	}
	switch n.Type.name {
	case "":
		return "Value", nil
	case "string":
		return "String", nil
	case "boolean":
		return "bool", nil
	case "integer":
		return "i64", nil
	case "array":
		t, err := rustType(n.Items)
		return "Vec<" + t + ">", err
	case "object":
		if n.Additional != nil {
			t, err := rustType(n.Additional)
			return "BTreeMap<String, " + t + ">", err
		}
	}
	return "", fmt.Errorf("type %q: want a scalar, an array, a map or a $ref", n.Type.name)
}

// rustField gives name and type of a property of n in Rust, which are the same
// in requests. What is optional and may be empty is left out when it is.
func rustField(p named, n *node, _ bool) (name, typ string, err error) {
	typ, err = rustType(p.node)
	if !n.needs(p.name) && p.Type.name != "array" && p.Type.name != "object" {
		typ = "Option<" + typ + ">"
	}
	return rustName(p.name), typ, err
}

// rustMethod declares the method of an op.
func rustMethod(o op) string {
	name, param, answer := goName(o.Name), "", "Call"
	if len(o.Request.Properties) > 0 {
		param = fmt.Sprintf(", req: &%sRequest", name)
	}
	if o.Kind == "local" {
		answer = "Result"
	}
	return fmt.Sprintf("pub fn %s(&self%s) -> %s<%sAnswer>", o.verb(), param, answer, name)
}

// rustTypes is sdk/rust/src/types_gen.rs: the documents.
func (sc *schema) rustTypes() ([]byte, error) {
	var s source
	s.f("%suse std::collections::BTreeMap;\n\nuse crate::json::{FromJson, JsonError, Reader, ToJson, Value, Writer};\nuse crate::Text;\n", header)
	for _, d := range sc.Defs {
		if d.OneOf != nil {
			continue // written by hand
		}
		if err := s.rustObject(d.name, d.Description, d.node); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	for _, o := range sc.Ops {
		name := goName(o.Name)
		if err := s.rustObject(name+"Request", fmt.Sprintf("The request of %s: %s", o.Name, o.Doc), o.Request); err != nil {
			return nil, fmt.Errorf("%s: request: %w", o.Name, err)
		}
		if err := s.rustObject(name+"Answer", fmt.Sprintf("The answer of %s.", o.Name), o.Answer); err != nil {
			return nil, fmt.Errorf("%s: answer: %w", o.Name, err)
		}
	}
	return []byte(s.String()), nil
}

func (s *source) rustObject(name, doc string, n *node) error {
	s.f("\n")
	s.rustComment("", doc)
	if n.Ref != "" {
		s.f("pub type %s = %s;\n", name, n.ref())
		return nil
	}
	if n.Type.name != "object" || n.Additional != nil {
		return fmt.Errorf("want an object with properties")
	}
	s.f("#[derive(Clone, Debug, Default, PartialEq)]\npub struct %s {", name)
	if len(n.Properties) > 0 {
		s.f("\n")
	}
	var write, read strings.Builder
	for _, p := range n.Properties {
		field, typ, err := rustField(p, n, false)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		method := "field"
		if !n.needs(p.name) {
			method = "optional"
		}
		s.rustComment("    ", fieldDoc(p.node))
		s.f("    pub %s: %s,\n", field, typ)
		_, _ = fmt.Fprintf(&write, "        w.%s(%q, &self.%s);\n", method, p.name, field)
		_, _ = fmt.Fprintf(&read, "            %s: r.take(%q)?,\n", field, p.name)
	}
	s.f("}\n\nimpl ToJson for %s {\n    fn write_json(&self, out: &mut String) {\n", name)
	if len(n.Properties) == 0 {
		s.f("        Writer::new(out).end();\n    }\n}\n\nimpl FromJson for %s {\n"+
			"    fn from_json(v: Value) -> Result<Self, JsonError> {\n        Reader::new(v).map(|_| %s {})\n    }\n}\n", name, name)
		return nil
	}
	s.f("        let mut w = Writer::new(out);\n%s        w.end();\n    }\n}\n\nimpl FromJson for %s {\n"+
		"    fn from_json(v: Value) -> Result<Self, JsonError> {\n        let mut r = Reader::new(v)?;\n        Ok(%s {\n%s        })\n    }\n}\n",
		write.String(), name, name, read.String())
	return nil
}

// rustOps is sdk/rust/src/ops_gen.rs: the codes of errors, and a method for
// each op of the groups that have no hand-written face. Ops that the host
// answers at once are plain methods, the others give futures.
func (sc *schema) rustOps() ([]byte, error) {
	var s source
	s.f("%suse crate::task::{Http, Nova, HA};\nuse crate::tickets::Call;\nuse crate::types_gen::*;\nuse crate::Result;\n\n", header)
	s.f("/// What a refusal is about.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[non_exhaustive]\npub enum Code {\n")
	for _, e := range sc.Errnos {
		s.rustComment("    ", e.Doc)
		s.f("    %s,\n", goName(e.Name))
	}
	s.f("    /// A code that this version of the SDK does not know.\n    Unknown,\n}\n\nimpl Code {\n")
	s.f("    /// The code of an error document, such as not_found.\n    pub fn as_str(self) -> &'static str {\n        match self {\n")
	for _, e := range sc.Errnos {
		s.f("            Code::%s => %q,\n", goName(e.Name), e.Name)
	}
	s.f("            Code::Unknown => \"unknown\",\n        }\n    }\n\n    /// The code of a number of the ABI.\n    pub(crate) fn of(errno: i64) -> Code {\n        match errno {\n")
	for _, e := range sc.Errnos {
		s.f("            %d => Code::%s,\n", e.Errno, goName(e.Name))
	}
	s.f("            _ => Code::Unknown,\n        }\n    }\n\n    /// The number of the code.\n    #[cfg(not(target_arch = \"wasm32\"))]\n    pub(crate) fn errno(self) -> i64 {\n        match self {\n")
	for _, e := range sc.Errnos {
		s.f("            Code::%s => %d,\n", goName(e.Name), e.Errno)
	}
	s.f("            Code::Unknown => 99,\n        }\n    }\n}\n")
	rustGroups := map[string]string{"nova": "Nova", "ha": "HA", "http": "Http"}
	last := ""
	for _, o := range sc.Ops {
		group := rustGroups[o.group()]
		if group == "" {
			continue // by hand, see kv.rs and task.rs
		}
		if group != last {
			if last != "" {
				s.f("}\n")
			}
			s.f("\nimpl %s {\n", group)
		} else {
			s.f("\n")
		}
		last = group
		name := goName(o.Name)
		arg, do := "req", "begin"
		if len(o.Request.Properties) == 0 {
			arg = "&" + name + "Request {}"
		}
		if o.Kind == "local" {
			do = "do_now"
		}
		s.rustComment("    ", fmt.Sprintf("Does %s. %s Errors: %s.", o.Name, o.Doc, strings.Join(o.Errors, ", ")))
		s.f("    %s {\n        self.0.%s(%q, %s)\n    }\n", rustMethod(o), do, o.Name, arg)
	}
	if last != "" {
		s.f("}\n")
	}
	return []byte(s.String()), nil
}
