package generate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cSource collects C source.
type cSource struct {
	strings.Builder
	sc *schema
}

func (s *cSource) f(format string, args ...any) {
	_, _ = fmt.Fprintf(s, format, args...) // a Builder takes everything
}

// comment writes text as a comment, wrapped.
func (s *cSource) comment(text string) {
	if text == "" {
		return
	}
	const width = 138
	line := "/*"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			s.f("%s\n", line)
			line = " *"
		}
		line += " " + word
	}
	s.f("%s */\n", line)
}

// cWords are names of documents whose parts capital letters do not tell.
var cWords = strings.NewReplacer("VMove", "Vmove", "HTTPTLS", "HttpTls", "HTTP", "Http", "KV", "Kv")

// cName makes a C name of an op's, a key's or a document's name.
func cName(name string) string {
	name = cWords.Replace(name[strings.LastIndexByte(name, ':')+1:])
	if name == "$secret" {
		return "name"
	}
	var b strings.Builder
	for i, r := range name {
		switch {
		case r >= 'A' && r <= 'Z':
			if i > 0 {
				b.WriteByte('_')
			}
			b.WriteRune(r + 'a' - 'A')
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

func cType(name string) string { return "wsk_" + cName(name) }

// spliceC writes the generated parts into sdk/c/wasakari.h, where authors find
// the whole SDK in one file.
func (sc *schema) spliceC(root string) ([]byte, error) {
	page, err := os.ReadFile(filepath.Join(root, "sdk", "c", "wasakari.h")) //nolint:gosec // a fixed file below root
	if err != nil {
		return nil, err
	}
	parts, err := sc.cHeader()
	if err != nil {
		return nil, err
	}
	out, err := spliceBetween(string(page), "/* generated:%s */\n", "/* /generated:%s */", parts)
	return []byte(out), err
}

// cHeader gives the generated parts of sdk/c/wasakari.h by their markers.
func (sc *schema) cHeader() (map[string]string, error) {
	parts := map[string]string{}
	for name, write := range map[string]func(*cSource) error{
		"types": (*cSource).types, "codecs": (*cSource).codecs, "ops": (*cSource).ops,
	} {
		s := &cSource{sc: sc}
		if err := write(s); err != nil {
			return nil, err
		}
		parts[name] = s.String()
	}
	return parts, nil
}

// types writes the error numbers and the types of all documents.
func (s *cSource) types() error {
	s.f("\n/* What an op was refused for, as ABI v1 numbers it, and what the SDK itself cannot do. */\ntypedef enum wsk_code {\n    WSK_OK = 0,\n")
	for _, e := range s.sc.Errnos {
		s.f("    WSK_%s = %d, /* %s */\n", strings.ToUpper(e.Name), e.Errno, e.Doc)
	}
	s.f("    WSK_BAD_ANSWER = 100, /* The host's answer has another form. */\n")
	s.f("    WSK_NO_MEMORY = 101   /* The task's memory is full. */\n} wsk_code;\n\n")
	s.f("/* The name of a code, such as not_found. */\nstatic inline const char *wsk_code_name(wsk_code code) {\n    switch ((int)code) {\n    case 0: return \"ok\";\n")
	for _, e := range s.sc.Errnos {
		s.f("    case %d: return %q;\n", e.Errno, e.Name)
	}
	s.f("    case 100: return \"bad_answer\";\n    case 101: return \"no_memory\";\n    default: return \"unknown\";\n    }\n}\n\n")

	written := map[string]bool{}
	var def func(name string) error
	def = func(name string) error {
		if written[name] {
			return nil
		}
		written[name] = true
		d := s.sc.def(name)
		for _, ref := range refs(d) {
			if err := def(ref); err != nil {
				return err
			}
		}
		s.comment(name + ": " + d.Description)
		if d.OneOf != nil {
			s.oneOf(name, d)
			return nil
		}
		return s.object(cType(name), d, false)
	}
	for _, d := range s.sc.Defs {
		if err := def(d.name); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	for _, o := range s.sc.Ops {
		for _, half := range []struct {
			suffix string
			n      *node
		}{{"_request", o.Request}, {"_answer", o.Answer}} {
			if half.n.Ref == "" && len(half.n.Properties) == 0 {
				continue
			}
			s.f("/* The %s of %s. */\n", half.suffix[1:], o.Name)
			if err := s.object(cType(o.Name)+half.suffix, half.n, half.suffix == "_request"); err != nil {
				return fmt.Errorf("%s: %w", o.Name, err)
			}
		}
	}
	return nil
}

func (sc *schema) def(name string) *node {
	for _, d := range sc.Defs {
		if d.name == name {
			return d.node
		}
	}
	return nil // check saw to it
}

// refs are the documents that n mentions.
func refs(n *node) []string {
	if n == nil {
		return nil
	}
	var all []string
	if n.Ref != "" {
		all = append(all, n.ref())
	}
	for _, p := range n.Properties {
		all = append(all, refs(p.node)...)
	}
	for _, o := range n.OneOf {
		all = append(all, refs(o)...)
	}
	return append(append(all, refs(n.Items)...), refs(n.Additional)...)
}

// oneOf is a string or another document, and pairs of a name and one.
func (s *cSource) oneOf(name string, n *node) {
	s.f("typedef struct %s {\n    wsk_str str;\n", cType(name))
	for _, o := range n.OneOf {
		if o.Ref != "" {
			s.f("    %s %s;\n", cType(o.ref()), cName(o.ref()))
		}
	}
	s.f("} %s;\n\n", cType(name))
	s.f("typedef struct wsk_named_%s {\n    wsk_str name;\n    %s %s;\n} wsk_named_%s;\n\n", cName(name), cType(name), cName(name), cName(name))
}

func (s *cSource) object(name string, n *node, request bool) error {
	if n.Ref != "" {
		s.f("typedef %s %s;\n\n", cType(n.ref()), name)
		return nil
	}
	s.f("typedef struct %s {\n", name)
	for _, p := range n.Properties {
		typ, err := s.member(p, n, request)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		blank := " "
		if strings.HasSuffix(typ, "*") {
			blank = ""
		}
		s.f("    %s%s%s;", typ, blank, cName(p.name))
		doc := fieldDoc(p.node)
		if request && !n.needs(p.name) && doc != "" {
			doc = "Optional. " + doc
		}
		if doc != "" {
			s.f(" /* %s */", doc)
		}
		s.f("\n")
	}
	s.f("} %s;\n\n", name)
	return nil
}

// maybe reports whether what is absent from a request must be told from zero.
func maybe(p named, n *node, request bool) bool {
	scalar := p.Type.name == "boolean" || p.Type.name == "integer"
	return request && scalar && !n.needs(p.name) && p.Minimum == nil && p.name != "latest"
}

func (s *cSource) member(p named, n *node, request bool) (string, error) {
	switch {
	case p.Ref != "" && n.needs(p.name):
		return cType(p.ref()), nil
	case p.Ref != "":
		return "const " + cType(p.ref()) + " *", nil
	case maybe(p, n, request) && p.Type.name == "boolean":
		return "wsk_maybe", nil
	case maybe(p, n, request):
		return "wsk_maybe_i64", nil
	}
	switch p.Type.name {
	case "":
		return "wsk_json", nil
	case "string":
		return "wsk_str", nil
	case "boolean":
		return "bool", nil
	case "integer":
		return "int64_t", nil
	case "array":
		if p.Items.Ref != "" {
			return "struct { const " + cType(p.Items.ref()) + " *p; size_t n; }", nil
		}
		if p.Items.Type.name == "string" {
			return "wsk_strs", nil
		}
	case "object":
		if p.Additional != nil && p.Additional.Ref != "" {
			return "struct { const wsk_named_" + cName(p.Additional.ref()) + " *p; size_t n; }", nil
		}
		if p.Additional != nil {
			return "wsk_json", nil
		}
	}
	return "", fmt.Errorf("type %q: want a scalar, an array of strings or documents, a map or a $ref", p.Type.name)
}

// used gives the documents that requests, or answers, are made of, those
// first that others need.
func (sc *schema) used(half func(op) *node) []string {
	var order []string
	seen := map[string]bool{}
	var visit func(n *node)
	visit = func(n *node) {
		for _, ref := range refs(n) {
			if !seen[ref] {
				seen[ref] = true
				visit(sc.def(ref))
				order = append(order, ref)
			}
		}
	}
	for _, o := range sc.Ops {
		visit(half(o))
	}
	return order
}

// codecs writes a reader for each answer and a writer for each request.
func (s *cSource) codecs() error {
	answers := s.sc.used(func(o op) *node { return o.Answer })
	// An error document is the answer of no op, and a secret comes in options.
	for _, name := range []string{"ErrorDocument", "Secret"} {
		if s.sc.def(name) != nil {
			answers = append(answers, name)
		}
	}
	s.f("\n")
	for _, name := range answers {
		if err := s.reader(cName(name), cType(name), s.sc.def(name), false); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range s.sc.used(func(o op) *node { return o.Request }) {
		if d := s.sc.def(name); d.OneOf == nil {
			s.writer(cName(name), cType(name), d, false)
		}
	}
	for _, o := range s.sc.Ops {
		if o.group() == "task" {
			continue
		}
		if o.Answer.Ref == "" && len(o.Answer.Properties) > 0 {
			if err := s.reader(cName(o.Name)+"_answer", cType(o.Name)+"_answer", o.Answer, false); err != nil {
				return fmt.Errorf("%s: answer: %w", o.Name, err)
			}
		}
		if len(o.Request.Properties) > 0 {
			s.writer(cName(o.Name)+"_request", cType(o.Name)+"_request", o.Request, true)
		}
	}
	return nil
}

// reader writes wsk__get_NAME, which reads a document into its type.
func (s *cSource) reader(name, typ string, n *node, request bool) error {
	if n.OneOf != nil {
		s.oneOfReader(name, typ, n)
		return nil
	}
	s.f("static inline bool wsk__get_%s(wsk_task *t, wsk_json v, %s *out) {\n", name, typ)
	s.f("    (void)t;\n    if (wsk_kind_of(v) != WSK_OBJECT) return false;\n    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {\n")
	for i, p := range n.Properties {
		word := "if"
		if i > 0 {
			word = "} else if"
		}
		s.f("        %s (WSK__KEY(it.key, %q)) {\n", word, p.name)
		field := "out->" + cName(p.name)
		switch {
		case p.Ref != "" && n.needs(p.name):
			s.f("            if (!wsk__get_%s(t, it.value, &%s)) return false;\n", cName(p.ref()), field)
		case p.Ref != "":
			s.f("            if (wsk_none(it.value)) continue;\n            %s *p = (%[1]s *)wsk_alloc(t, sizeof *p);\n", cType(p.ref()))
			s.f("            if (!p || !wsk__get_%s(t, it.value, p)) return false;\n            %s = p;\n", cName(p.ref()), field)
		case p.Type.name == "array" && p.Items.Ref != "":
			ref := p.Items.ref()
			s.f("            if (wsk_none(it.value)) continue;\n            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;\n")
			s.f("            %s *p = (%[1]s *)wsk__array(t, it.value, sizeof *p, &%s.n);\n            if (!p) return false;\n", cType(ref), field)
			s.f("            %s.p = p;\n            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {\n", field)
			s.f("                if (!wsk__get_%s(t, e.value, p)) return false;\n            }\n", cName(ref))
		case maybe(p, n, request) && p.Type.name == "boolean":
			s.f("            bool b;\n            if (!wsk_to_bool(it.value, &b)) return false;\n            %s = b ? WSK_YES : WSK_NO;\n", field)
		case maybe(p, n, request):
			s.f("            if (!wsk_to_i64(it.value, &%s.value)) return false;\n            %[1]s.set = true;\n", field)
		case p.Type.name == "object" && p.Additional != nil && p.Additional.Ref != "":
			ref := p.Additional.ref()
			s.f("            wsk_named_%s *p = (wsk_named_%[1]s *)wsk__array(t, it.value, sizeof *p, &%s.n);\n            if (!p) return false;\n", cName(ref), field)
			s.f("            %s.p = p;\n            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {\n", field)
			s.f("                if (!wsk_to_str(t, e.key, &p->name) || !wsk__get_%s(t, e.value, &p->%[1]s)) return false;\n            }\n", cName(ref))
		default:
			get, err := cGetter(p.node)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			s.f("            if (!wsk__get_%s(t, it.value, &%s)) return false;\n", get, field)
		}
	}
	s.f("        }\n    }\n    return true;\n}\n\n")
	return nil
}

func (s *cSource) oneOfReader(name, typ string, n *node) {
	s.f("static inline bool wsk__get_%s(wsk_task *t, wsk_json v, %s *out) {\n", name, typ)
	for _, o := range n.OneOf {
		if o.Ref != "" {
			s.f("    if (wsk_kind_of(v) == WSK_OBJECT) return wsk__get_%s(t, v, &out->%[1]s);\n", cName(o.ref()))
		}
	}
	s.f("    return wsk_to_str(t, v, &out->str);\n}\n\n")
}

func cGetter(n *node) (string, error) {
	switch n.Type.name {
	case "string":
		return "str", nil
	case "boolean":
		return "bool", nil
	case "integer":
		return "i64", nil
	case "array":
		return "strs", nil
	case "":
		return "any", nil
	case "object":
		if n.Additional != nil && n.Additional.Ref == "" {
			return "any", nil
		}
	}
	return "", fmt.Errorf("type %q cannot be read", n.Type.name)
}

// writer writes wsk__put_NAME, which writes a document of its type.
func (s *cSource) writer(name, typ string, n *node, request bool) {
	s.f("static inline void wsk__put_%s(wsk_out *o, const %s *r) {\n    wsk_begin_object(o);\n", name, typ)
	for _, p := range n.Properties {
		field, key := "r->"+cName(p.name), fmt.Sprintf("wsk_key(o, %q)", p.name)
		there, put := "", ""
		switch {
		case p.Ref != "" && s.sc.def(p.ref()).OneOf != nil:
			put = key + ", wsk__put_text_value(o, " + field + ")"
		case p.Ref != "" && n.needs(p.name):
			put = key + ", wsk__put_" + cName(p.ref()) + "(o, &" + field + ")"
		case p.Ref != "":
			there, put = field, key+", wsk__put_"+cName(p.ref())+"(o, "+field+")"
		case maybe(p, n, request) && p.Type.name == "boolean":
			there, put = field, key+", wsk_put_bool(o, "+field+" == WSK_YES)"
		case maybe(p, n, request):
			there, put = field+".set", key+", wsk_put_i64(o, "+field+".value)"
		case p.Type.name == "":
			there, put = field+".n", key+", wsk_put_json(o, "+field+")"
		case p.Type.name == "string":
			there, put = field+".n", key+", wsk_put_str(o, "+field+")"
		case p.Type.name == "boolean":
			there, put = field, key+", wsk_put_bool(o, "+field+")"
		case p.Type.name == "integer":
			there, put = field, key+", wsk_put_i64(o, "+field+")"
		case p.Type.name == "array" && p.Items.Ref != "":
			put = fmt.Sprintf("%s, wsk_begin_array(o);\n    for (size_t i = 0; i < %s.n; i++) wsk__put_%s(o, &%[2]s.p[i]);\n    wsk_end_array(o)", key, field, cName(p.Items.ref()))
		case p.Type.name == "object" && p.Additional.Ref == "":
			there, put = field+".n", key+", wsk_put_json(o, "+field+")"
		case p.Type.name == "array":
			there, put = field+".n", fmt.Sprintf("wsk__put_strs(o, %q, %s)", p.name, field)
		default:
			there, put = field+".n", key+", wsk__put_texts(o, "+field+".p, "+field+".n)"
		}
		if n.needs(p.name) || there == "" {
			s.f("    %s;\n", put)
		} else {
			s.f("    if (%s) %s;\n", there, put)
		}
	}
	s.f("    wsk_end_object(o);\n}\n\n")
}

// ops writes the functions of the ops but those of group task, which have a
// hand-written face; those of group kv are for the hand-written ones.
func (s *cSource) ops() error {
	s.f("\n")
	for _, o := range s.sc.Ops {
		if o.group() == "task" {
			continue
		}
		do, begin, end := cFunctions(o)
		putR := "    wsk_json req = {NULL, 0};\n"
		if len(o.Request.Properties) > 0 {
			putR = fmt.Sprintf("    wsk_out o = wsk_write(t);\n    wsk__put_%s_request(&o, r);\n    wsk_json req = wsk_done(&o);\n    if (!req.n) return wsk__full(t, %q);\n",
				cName(o.Name), o.Name)
		}
		var finish string
		switch {
		case o.Answer.Ref != "":
			finish = s.finish(o, cName(o.Answer.ref()))
		case len(o.Answer.Properties) > 0:
			finish = s.finish(o, cName(o.Name)+"_answer")
		default:
			finish = "    return wsk_%s;\n"
		}
		s.comment(fmt.Sprintf("Does %s. %s Errors: %s.", o.Name, o.Doc, strings.Join(o.Errors, ", ")))
		get := "NULL"
		if answers(o) {
			get = "&doc"
		}
		s.f("static inline %s {\n%s", do, putR)
		s.f(finish+"}\n\n", fmt.Sprintf("call(t, %q, req, %s)", o.Name, get))
		if o.Kind == "local" {
			continue
		}
		s.f("/* Starts %s; wsk_%s_end gives its answer. */\n", o.Name, cName(o.Name))
		s.f("static inline %s {\n%s    return wsk_begin(t, it, %q, req);\n}\n\n", begin, putR, o.Name)
		s.f("static inline %s {\n", end)
		s.f(finish+"}\n\n", fmt.Sprintf("end(t, it, %s)", get))
	}
	return nil
}

// answers reports whether an op's answer says anything.
func answers(o op) bool { return o.Answer.Ref != "" || len(o.Answer.Properties) > 0 }

// cFunctions declares the functions of an op: that which does it, and, unless
// the host answers it at once, those which begin and end it. For group kv they
// are called by those that are written by hand.
func cFunctions(o op) (do, begin, end string) {
	name, hidden, request, answer := cName(o.Name), "", "", ""
	if o.group() == "kv" {
		hidden = "_do_"
	}
	if len(o.Request.Properties) > 0 {
		request = fmt.Sprintf(", const %s_request *r", cType(o.Name))
	}
	if answers(o) {
		answer = fmt.Sprintf(", %s_answer *a", cType(o.Name))
	}
	do = fmt.Sprintf("wsk_code wsk_%s%s(wsk_task *t%s%s)", hidden, name, request, answer)
	if o.Kind != "local" {
		begin = fmt.Sprintf("wsk_code wsk_%s_begin(wsk_task *t, wsk_item *it%s)", name, request)
		end = fmt.Sprintf("wsk_code wsk_%s_end(wsk_task *t, wsk_item *it%s)", name, answer)
	}
	return do, begin, end
}

// finish gets the answer, which the caller may not want.
func (s *cSource) finish(o op, reader string) string {
	return fmt.Sprintf("    wsk_json doc;\n    wsk_code code = wsk_%%s;\n    if (code || !a) return code;\n"+
		"    __builtin_memset(a, 0, sizeof *a);\n    t->full = false;\n"+
		"    return wsk__get_%s(t, doc, a) ? WSK_OK : wsk__misread(t, %q);\n", reader, o.Name)
}

// cConformance is sdk/conformance/c/ops_gen.h: how the guest of the cases does
// each op with the SDK's own functions for it.
func (sc *schema) cConformance() ([]byte, error) {
	s := &cSource{sc: sc}
	s.f("/* Code generated by internal/abigen from abi/schema.json; DO NOT EDIT. */\n\n")
	s.f("/* Readers of requests and writers of answers: the SDK has it the other way round. */\n\n")
	requests := sc.used(func(o op) *node { return o.Request })
	for _, name := range requests {
		if name == "Secret" { // the SDK has one
			continue
		}
		if err := s.reader(cName(name), cType(name), sc.def(name), false); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range sc.used(func(o op) *node { return o.Answer }) {
		if d := sc.def(name); name != "TaskInput" && name != "ScriptFile" {
			s.writer(cName(name), cType(name), d, false)
		}
	}
	var table cSource
	for _, o := range sc.Ops {
		if o.group() == "task" {
			continue
		}
		name := cName(o.Name)
		if o.Answer.Ref == "" && len(o.Answer.Properties) > 0 {
			s.writer(name+"_answer", cType(o.Name)+"_answer", o.Answer, false)
		}
		if o.group() == "kv" {
			continue
		}
		request, pass := "", ""
		if len(o.Request.Properties) > 0 {
			if err := s.reader(name+"_request", cType(o.Name)+"_request", o.Request, true); err != nil {
				return nil, fmt.Errorf("%s: %w", o.Name, err)
			}
			request = fmt.Sprintf("    wsk_%s_request r;\n    __builtin_memset(&r, 0, sizeof r);\n    if (!wsk__get_%[1]s_request(t, req, &r)) return WSK_BAD_ANSWER;\n", name)
			pass = ", &r"
		} else {
			request = "    (void)req;\n"
		}
		answer := name + "_answer"
		if o.Answer.Ref != "" {
			answer = cName(o.Answer.ref())
		}
		s.f("static wsk_code call_%s(wsk_task *t, wsk_json req, wsk_out *o) {\n%s    wsk_%[1]s_answer a;\n", name, request)
		s.f("    wsk_code code = wsk_%s(t%s, &a);\n    if (!code) wsk__put_%s(o, &a);\n    return code;\n}\n\n", name, pass, answer)
		if o.Kind == "local" {
			table.f("    {%q, call_%s, NULL, NULL},\n", o.Name, name)
			continue
		}
		s.f("static wsk_code begin_%s(wsk_task *t, wsk_item *it, wsk_json req) {\n%s    return wsk_%[1]s_begin(t, it%[3]s);\n}\n\n", name, request, pass)
		s.f("static wsk_code end_%s(wsk_task *t, wsk_item *it, wsk_out *o) {\n    wsk_%[1]s_answer a;\n", name)
		s.f("    wsk_code code = wsk_%s_end(t, it, &a);\n    if (!code) wsk__put_%s(o, &a);\n    return code;\n}\n\n", name, answer)
		table.f("    {%q, call_%s, begin_%[2]s, end_%[2]s},\n", o.Name, name)
	}
	s.f("typedef struct op {\n    const char *name;\n    wsk_code (*call)(wsk_task *t, wsk_json req, wsk_out *o);\n")
	s.f("    wsk_code (*begin)(wsk_task *t, wsk_item *it, wsk_json req); /* NULL: the op is answered at once */\n")
	s.f("    wsk_code (*end)(wsk_task *t, wsk_item *it, wsk_out *o);\n} op;\n\nstatic const op ops[] = {\n%s};\n", table.String())
	return []byte(s.String()), nil
}
