package generate

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The hand-written parts of the reference pages: what of an SDK is no op. A
// comment <!-- op NAME and the lines up to --> declare what does an op for which
// no method is generated, as it stands in the SDK, or say in a line that begins
// with "> " what is there instead.
//
//go:embed reference/*.md
var references embed.FS

// reference is how the page of a language names things.
type reference struct {
	language string // its folder below sdk
	fence    string // of its blocks of code

	// document names a document, of the schema or, with a suffix, of an op.
	document func(name string) string
	// half names the document of an op's request or answer.
	half func(op string, suffix string) string
	// field gives name and type of a property of n.
	field func(p named, n *node, request bool) (name, typ string, err error)
	// methods declare what does an op, with what begins it where that is another.
	methods func(o op) []string
	// code names an error.
	code func(errno string) string
	// groups says where the methods of a group are.
	groups map[string]string
	// handMade are documents of which the hand-written part tells.
	handMade []string
}

func (sc *schema) references() []reference {
	goHalf := func(op, suffix string) string { return goName(op) + suffix }
	c, as := &cSource{sc: sc}, &asSource{cSource: cSource{sc: sc}}
	asIs := func(s string) string { return s }
	return []reference{
		{
			language: "python", fence: "python", document: asIs,
			half: func(string, string) string { return "" },
			field: func(p named, _ *node, _ bool) (string, string, error) {
				typ, err := pythonType(p.node)
				return p.name, typ, err
			},
			methods: func(o op) []string {
				params := strings.Join(pythonParameters(o), ", ")
				list := []string{fmt.Sprintf("%s(%s)", o.Name, params)}
				if o.Kind != "local" {
					list = append(list, fmt.Sprintf("%s.begin.%s(%s)", o.group(), o.verb(), params))
				}
				return list
			},
			code: goName,
		},
		{
			language: "go", fence: "go", document: asIs, half: goHalf, field: goField,
			methods: func(o op) []string { return []string{goMethod(o)} },
			code:    func(errno string) string { return "Err" + goName(errno) },
			groups:  map[string]string{"nova": "t.Nova()", "ha": "t.HA()", "http": "t.HTTP()"},
		},
		{
			language: "rust", fence: "rust", document: asIs, half: goHalf, field: rustField,
			methods: func(o op) []string { return []string{rustMethod(o)} },
			code:    func(errno string) string { return "Code::" + goName(errno) },
			groups:  map[string]string{"nova": "t.nova()", "ha": "t.ha()", "http": "t.http()"},
		},
		{
			language: "c", fence: "c", document: cType,
			half: func(op, suffix string) string { return cType(op) + "_" + strings.ToLower(suffix) },
			field: func(p named, n *node, request bool) (string, string, error) {
				typ, err := c.member(p, n, request)
				return cName(p.name), typ, err
			},
			methods: func(o op) []string {
				do, begin, end := cFunctions(o)
				return slices.DeleteFunc([]string{do, begin, end}, func(s string) bool { return s == "" })
			},
			code: func(errno string) string { return "WSK_" + strings.ToUpper(errno) },
		},
		{
			language: "javascript", fence: "ts", document: asIs, half: goHalf,
			field: func(p named, n *node, request bool) (string, string, error) {
				key, typ, err := typescriptField(p, n, request)
				return strings.TrimSuffix(key, "?"), typ, err
			},
			methods: func(o op) []string { return []string{typescriptMethod(o)} },
			code:    asIs,
			groups:  map[string]string{"nova": "nova", "ha": "ha", "http": "http"},

			handMade: []string{"Secret"},
		},
		{
			language: "assemblyscript", fence: "ts", document: asIs, half: goHalf,
			field: func(p named, n *node, request bool) (string, string, error) {
				f, err := as.field(p, n, request)
				return f.name, f.typ, err
			},
			methods: func(o op) []string {
				do, begin := asMethods(o)
				return slices.DeleteFunc([]string{do, begin}, func(s string) bool { return s == "" })
			},
			code:   func(errno string) string { return "Code." + goName(errno) },
			groups: map[string]string{"nova": "t.nova", "ha": "t.ha", "http": "t.http"},
		},
	}
}

var (
	byHand = regexp.MustCompile(`(?s)<!-- op (\S+)\n(.*?)-->\n`)
	marker = regexp.MustCompile(`<!-- /?generated:\w+ -->\n`)
)

// referencePage is docs/sdk/LANGUAGE.md.
func (sc *schema) referencePage(r reference) ([]byte, error) {
	source := "reference/" + r.language + ".md"
	frame, err := references.ReadFile(source)
	if err != nil {
		return nil, err
	}
	own := map[string][]string{}
	for _, m := range byHand.FindAllSubmatch(frame, -1) {
		own[string(m[1])] = strings.FieldsFunc(string(m[2]), func(c rune) bool { return c == '\n' })
	}
	p := &page{sc: sc, reference: r}
	ops, err := p.ops(own)
	if err != nil {
		return nil, err
	}
	documents, err := p.documents()
	if err != nil {
		return nil, err
	}
	text, err := splice(string(byHand.ReplaceAll(frame, nil)), map[string]string{"errors": p.errors(), "ops": ops, "documents": documents})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	text = marker.ReplaceAllString(text, "")
	return []byte("<!-- Generated by make generate from abi/schema.json and internal/abigen/generate/" + source + "; DO NOT EDIT. -->\n<!-- doctest: skip all they are declarations, made like the SDKs themselves of the same schema -->\n\n" + text), nil
}

// page collects the generated parts of a page.
type page struct {
	source
	sc *schema
	reference
}

// take gives what was written and begins anew.
func (p *page) take() string {
	defer p.Reset()
	return p.String()
}

func (p *page) errors() string {
	p.f("| Code | Here | Means |\n| --- | --- | --- |\n")
	for _, e := range p.sc.Errnos {
		p.f("| `%s` | `%s` | %s |\n", e.Name, p.code(e.Name), cell(e.Doc))
	}
	return p.take()
}

const opsIntro = `
An op must stand in the manifest's ` + "`uses`" + ` and be granted by the operator, but for those of group ` + "`task`" + `. Of its three kinds, ops that
are *local* are answered at once; a *read* may take long and changes nothing; a *change* acts on the cloud or on others, and once it is begun the host
follows it to its outcome, whatever becomes of the task. ` + "`fields`" + ` of a request names the keys to keep of each document in the answer, as Nova has them:
the host trims before it copies, which is cheaper for everyone.
`

func (p *page) ops(own map[string][]string) (string, error) {
	p.f("%s", opsIntro)
	group := ""
	for _, o := range p.sc.Ops {
		generated := o.group() != "task" && o.group() != "kv"
		if o.group() != group {
			group = o.group()
			p.f("\n### Group `%s`\n", group)
			if where := p.groups[group]; where != "" {
				p.f("\nMethods of `%s`.\n", where)
			}
		}
		p.f("\n#### `%s` (%s)\n\n%s\n\n", o.Name, o.Kind, o.Doc)
		methods := own[o.Name]
		switch {
		case generated && methods != nil:
			return "", fmt.Errorf("%s: it has a method that is generated", o.Name)
		case generated:
			methods = p.methods(o)
		case len(methods) == 0:
			return "", fmt.Errorf("%s: the page does not say what does it", o.Name)
		}
		text := strings.Join(methods, "\n")
		if instead, is := strings.CutPrefix(text, "> "); is {
			p.f("%s\n\n", instead)
		} else {
			p.f("```%s\n%s\n```\n\n", p.fence, text)
		}
		if err := p.table("Request", o, o.Request); err != nil {
			return "", err
		}
		if err := p.table("Answer", o, o.Answer); err != nil {
			return "", err
		}
		codes := make([]string, len(o.Errors))
		for i, e := range o.Errors {
			codes[i] = "`" + p.code(e) + "`"
		}
		if len(codes) == 0 {
			codes = []string{"none of its own"}
		}
		p.f("Errors: %s.\n", strings.Join(codes, ", "))
	}
	p.f("\n")
	return p.take(), nil
}

// table is one half of an op.
func (p *page) table(half string, o op, n *node) error {
	name := p.half(o.Name, half)
	if name != "" {
		name = ", `" + name + "`"
	}
	switch {
	case n.Ref != "":
		p.f("%s%s: [`%s`](#%s).\n\n", half, name, p.document(n.ref()), anchor(p.document(n.ref())))
	case len(n.Properties) == 0:
		p.f("%s: none.\n\n", half)
	default:
		p.f("%s%s:\n\n", half, name)
		if err := p.fields(n, half == "Request"); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	return nil
}

func (p *page) fields(n *node, request bool) error {
	p.f("| Field | Type | |\n| --- | --- | --- |\n")
	for _, f := range n.Properties {
		name, typ, err := p.field(f, n, request)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		typ = "`" + typ + "`"
		if r := refs(f.node); len(r) > 0 {
			typ = fmt.Sprintf("[%s](#%s)", typ, anchor(p.document(r[0])))
		}
		if !n.needs(f.name) {
			typ += ", optional"
		}
		doc := fieldDoc(f.node)
		if f.Minimum != nil {
			doc += fmt.Sprintf(" At least %d.", *f.Minimum)
		}
		p.f("| `%s` | %s | %s |\n", name, cell(typ), cell(doc))
	}
	p.f("\n")
	return nil
}

// documents are those that requests and answers are made of.
func (p *page) documents() (string, error) {
	both := func(o op) *node { return &node{Items: o.Request, Additional: o.Answer} }
	used := p.sc.used(both)
	p.f("\n")
	for _, d := range p.sc.Defs {
		if !slices.Contains(used, d.name) {
			continue
		}
		p.f("### `%s`\n\n%s\n\n", p.document(d.name), d.Description)
		if d.OneOf != nil || slices.Contains(p.handMade, d.name) {
			continue
		}
		if err := p.fields(d.node, false); err != nil {
			return "", fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return p.take(), nil
}

// cell is text in a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// anchor is where a heading of one name is.
func anchor(name string) string { return strings.ToLower(name) }
