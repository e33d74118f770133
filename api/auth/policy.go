package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/wasakari/wasakari/internal/regular"
	"github.com/wasakari/wasakari/internal/safeyaml"
	"github.com/wasakari/wasakari/recovery"
)

const (
	maxFileBytes = 1 << 20
	maxFiles     = 256
	maxMistakes  = 50
)

// PolicyConfig says where a policy comes from.
type PolicyConfig struct {
	// File holds rules that replace those of the same name. Empty: none. It must
	// be there.
	File string
	// Dirs are read after it, in order: of each the files by name, but for those
	// that begin with a dot.
	Dirs []string
	// DefaultRule is asked where there is no rule of a name. Empty, or no rule
	// itself: then nobody has leave.
	DefaultRule string
	// Roles of Keystone that stand for ours. Defaults to wasakari_operator and so
	// on; an empty list that is not nil is nobody's.
	Operator, Author, Monitor, Reader []string
}

// Policy says who may do what. It is safe for concurrent use.
type Policy struct{ now atomic.Pointer[ruleSet] }

// ruleSet is what one reading gave.
type ruleSet struct {
	cfg      PolicyConfig
	rules    map[string]node
	warnings []string
}

// DeniedError says that the policy does not allow something. It wraps
// recovery.ErrForbidden; its text is Masakari's.
type DeniedError struct{ Rule string }

func (e *DeniedError) Error() string {
	return "Policy doesn't allow " + e.Rule + " to be performed."
}

// Unwrap gives recovery.ErrForbidden.
func (e *DeniedError) Unwrap() error { return recovery.ErrForbidden }

// NewPolicy reads a policy. It tells all mistakes at once, joined, each a
// *recovery.ConfigError.
func NewPolicy(cfg PolicyConfig) (*Policy, error) {
	set, err := cfg.read()
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	p.now.Store(set)
	return p, nil
}

// Reload reads the files again. When there is a mistake in them, the rules stay
// as they are; errors are as NewPolicy's.
func (p *Policy) Reload() error {
	set, err := p.now.Load().cfg.read()
	if err != nil {
		return err
	}
	p.now.Store(set)
	return nil
}

// Adopt makes the rules of other, and the files that it reads, those of p: for
// a configuration that names other files or roles than before.
func (p *Policy) Adopt(other *Policy) { p.now.Store(other.now.Load()) }

// Warnings lists what is doubtful in the files, by file and line: rules that
// nobody asks for.
func (p *Policy) Warnings() []string { return slices.Clone(p.now.Load().warnings) }

// Enforce gives nil when the caller may do what the rule is for, and a
// *DeniedError when not. target is what is known of the thing that it is done
// to: project_id and user_id, of those whose it is.
func (p *Policy) Enforce(rule string, id Identity, target map[string]string) error {
	set := p.now.Load()
	q := &question{rules: set.rules, id: &id, target: target, known: map[string]bool{}}
	name := rule
	if _, ok := set.rules[name]; !ok {
		name = set.cfg.DefaultRule
	}
	if !q.ask(name) {
		return &DeniedError{Rule: rule}
	}
	return nil
}

// written is a rule as an operator wrote it.
type written struct {
	n   node
	pos recovery.Position
}

// reader collects rules and mistakes.
type reader struct {
	rules map[string]written
	errs  []error
}

func (r *reader) fail(pos recovery.Position, reason, hint string) {
	if len(r.errs) < maxMistakes {
		r.errs = append(r.errs, &recovery.ConfigError{Pos: pos, Reason: reason, Hint: hint})
	}
}

func (cfg PolicyConfig) read() (*ruleSet, error) {
	r := &reader{rules: map[string]written{}}
	files := cfg.files(r)
	if len(files) > maxFiles {
		r.fail(recovery.Position{File: files[maxFiles]}, fmt.Sprintf("more than %d policy files", maxFiles), "")
		files = files[:maxFiles]
	}
	for _, f := range files {
		r.file(f)
	}
	rules := cfg.defaults()
	for name, w := range r.rules {
		rules[name] = w.n
	}
	r.references(rules)
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return &ruleSet{cfg: cfg, rules: rules, warnings: r.unasked(rules, cfg.DefaultRule)}, nil
}

// files lists the files to read, in order.
func (cfg PolicyConfig) files(r *reader) []string {
	var files []string
	if cfg.File != "" {
		files = append(files, cfg.File)
	}
	for _, dir := range cfg.Dirs {
		entries, err := os.ReadDir(dir) // sorted
		if err != nil {
			r.fail(recovery.Position{File: dir}, "cannot be read: "+bare(err), "check [oslo_policy] policy_dirs")
			continue
		}
		for _, e := range entries {
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	return files
}

// bare gives the reason of a file error without the path.
func bare(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// defaults makes the rules that hold without files.
func (cfg PolicyConfig) defaults() map[string]node {
	rules := map[string]node{}
	put := func(name, check string) {
		n, m := parseRule(check)
		if m != nil {
			panic("auth: rule " + name + ": " + m.reason)
		}
		rules[name] = n
	}
	for _, r := range baseRules {
		put(r[0], r[1])
	}
	for role, names := range map[Role][]string{Operator: cfg.Operator, Author: cfg.Author, Monitor: cfg.Monitor, Reader: cfg.Reader} {
		if names == nil {
			names = []string{role.base()}
		}
		list := anyOf{}
		for _, name := range names {
			list = append(list, roleOf{name})
		}
		rules[role.base()] = list
	}
	for _, r := range table {
		put(r.Name, r.Check())
	}
	return rules
}

// file reads one file.
func (r *reader) file(path string) {
	text, reason := readFile(path)
	if reason != "" {
		r.fail(recovery.Position{File: path}, reason, "check [oslo_policy] policy_file and policy_dirs")
		return
	}
	at := func(n ast.Node) recovery.Position {
		pos := recovery.Position{File: path}
		if t := n.GetToken(); t != nil && t.Position != nil {
			pos.Line, pos.Col = t.Position.Line, t.Position.Column
		}
		return pos
	}
	if err := safeyaml.Check(text); err != nil {
		hint := ""
		if p, ok := errors.AsType[*safeyaml.Problem](err); ok {
			if hint = p.Hint; strings.HasPrefix(p.Reason, "tags") {
				hint = `write a rule in quotes: "!"`
			}
			r.fail(recovery.Position{File: path, Line: p.Line, Col: p.Col}, p.Reason, hint)
			return
		}
		r.fail(recovery.Position{File: path}, err.Error(), "")
		return
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		pos, reason := recovery.Position{File: path}, err.Error()
		if ye, ok := errors.AsType[yaml.Error](err); ok {
			reason = ye.GetMessage()
			if t := ye.GetToken(); t != nil && t.Position != nil {
				pos.Line, pos.Col = t.Position.Line, t.Position.Column
			}
		}
		r.fail(pos, "not YAML: "+reason, `write each rule as "name": "check"`)
		return
	}
	if len(doc.Docs) > 1 {
		r.fail(at(doc.Docs[1]), "more than one document", "")
		return
	}
	if len(doc.Docs) == 0 || doc.Docs[0].Body == nil {
		return
	}
	var pairs []*ast.MappingValueNode
	switch body := doc.Docs[0].Body.(type) {
	case *ast.MappingNode:
		pairs = body.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{body}
	case *ast.NullNode, *ast.CommentGroupNode:
	default:
		r.fail(at(body), "not a table of rules", `write each rule as "name": "check"`)
		return
	}
	for _, pair := range pairs { // the parser refuses names that stand twice
		key, ok := pair.Key.(*ast.StringNode)
		pos := at(pair.Key)
		switch {
		case !ok || key.Value == "" || len(key.Value) > maxNameBytes:
			r.fail(pos, "not the name of a rule", "")
			continue
		case len(r.rules) == maxRules:
			r.fail(pos, fmt.Sprintf("more than %d rules", maxRules), "")
			return
		}
		n, m := checkOf(pair.Value)
		if m != nil {
			r.fail(at(pair.Value), "rule "+show(key.Value)+": "+m.reason, m.hint)
			continue
		}
		r.rules[key.Value] = written{n, pos}
	}
}

// readFile reads a file, or says why not.
func readFile(path string) (text []byte, reason string) {
	text, err := regular.Read(path, maxFileBytes)
	_, large := errors.AsType[*regular.TooLargeError](err)
	switch {
	case large:
		return nil, fmt.Sprintf("larger than %d KiB", maxFileBytes>>10)
	case errors.Is(err, regular.ErrNotRegular):
		return nil, bare(err)
	case err != nil:
		return nil, "cannot be read: " + bare(err)
	}
	return text, ""
}

// checkOf reads the value of a rule: a text, or a list as old files have it,
// whose items are joined by or, each a check or a list of checks joined by and.
func checkOf(n ast.Node) (node, *mistake) {
	if text, ok := textOf(n); ok {
		return parseRule(text)
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, mistaken(`write it in quotes; "@" is for everybody, "!" for nobody`, "want a text or a list")
	}
	if len(list.Values) == 0 {
		return constant(true), nil // as "" is
	}
	var any anyOf
	for _, item := range list.Values {
		var all allOf
		parts := []ast.Node{item}
		if inner, ok := item.(*ast.SequenceNode); ok {
			parts = inner.Values
		}
		for _, part := range parts {
			text, ok := textOf(part)
			if !ok || len(strings.Fields(text)) != 1 {
				return nil, mistaken("write single checks into a list", "not a check in the list")
			}
			n, m := parseRule(text)
			if m != nil {
				return nil, m
			}
			all = append(all, n)
		}
		if len(all) == 0 {
			continue // as old files have it: an empty item says nothing
		}
		any = append(any, all)
	}
	if len(any) == 0 {
		return constant(false), nil
	}
	return any, nil
}

func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// refs lists the rules that a rule refers to.
func refs(n node) []string {
	switch n := n.(type) {
	case ruleRef:
		return []string{string(n)}
	case attribute:
		if n.name == "is_admin" {
			return []string{ruleContextIsAdmin}
		}
	case negated:
		return refs(n.n)
	case anyOf:
		return refsOf(n)
	case allOf:
		return refsOf(n)
	}
	return nil
}

func refsOf(list []node) []string {
	var out []string
	for _, n := range list {
		out = append(out, refs(n)...)
	}
	return out
}

// references refuses rules that refer to one that is not there, or to
// themselves.
func (r *reader) references(rules map[string]node) {
	for _, name := range slices.Sorted(maps.Keys(r.rules)) {
		for _, ref := range refs(r.rules[name].n) {
			if _, ok := rules[ref]; !ok {
				r.fail(r.rules[name].pos, fmt.Sprintf("rule %s refers to rule %s, which is not there", show(name), show(ref)), "")
			}
		}
	}
	// Depth first: a rule that is met again while its own references are
	// followed is on a circle.
	const following, done = 1, 2
	state := map[string]int{}
	var follow func(name string, from []string)
	follow = func(name string, from []string) {
		switch state[name] {
		case following:
			circle := append(slices.Clone(from[slices.Index(from, name):]), name)
			pos := recovery.Position{}
			for _, n := range circle { // one of them stands in a file
				if w, ok := r.rules[n]; ok {
					pos = w.pos
				}
			}
			text := strings.Join(circle, " → ")
			r.fail(pos, fmt.Sprintf("rules lead back to themselves: %.300s", text), "")
			return
		case done:
			return
		}
		state[name] = following
		for _, ref := range refs(rules[name]) {
			follow(ref, append(from, name))
		}
		state[name] = done
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		follow(name, nil)
	}
}

// unasked warns of rules that neither the API asks for nor another rule refers
// to.
func (r *reader) unasked(rules map[string]node, defaultRule string) []string {
	asked := map[string]bool{defaultRule: true}
	for name := range (PolicyConfig{}).defaults() {
		asked[name] = true
	}
	for _, n := range rules {
		for _, ref := range refs(n) {
			asked[ref] = true
		}
	}
	var out []string
	for name, w := range r.rules {
		if !asked[name] {
			out = append(out, fmt.Sprintf("%s: nobody asks for rule %s", w.pos, show(name)))
		}
	}
	slices.Sort(out)
	return out
}
