package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds on a policy.
const (
	maxRuleBytes = 64 << 10 // of the text of one rule
	maxDepth     = 64       // of parentheses and not
	maxRules     = 10_000
	maxNameBytes = 255
)

// node is a part of a rule.
type node interface{ allows(*question) bool }

// question is one Enforce on its way. What a rule says does not change
// meanwhile, and is found out once: rules that refer to others twice would
// otherwise double the work at each step.
type question struct {
	rules  map[string]node
	id     *Identity
	target map[string]string
	known  map[string]bool
}

// ask tells whether a rule allows it; a rule that is not there does not.
func (q *question) ask(name string) bool {
	if answer, ok := q.known[name]; ok {
		return answer
	}
	n, ok := q.rules[name]
	answer := ok && n.allows(q)
	q.known[name] = answer
	return answer
}

// isAdmin holds for an administrator, as the policy says who is one.
func (q *question) isAdmin() bool { return q.id.Admin || q.ask(ruleContextIsAdmin) }

type (
	constant bool
	anyOf    []node
	allOf    []node
	negated  struct{ n node }
	ruleRef  string
	roleOf   template
	// attribute compares what is known of the caller with the target or a text.
	attribute struct {
		name string
		want template
	}
)

func (c constant) allows(*question) bool { return bool(c) }

func (l anyOf) allows(q *question) bool {
	return slices.ContainsFunc(l, func(n node) bool { return n.allows(q) })
}

func (l allOf) allows(q *question) bool {
	return !slices.ContainsFunc(l, func(n node) bool { return !n.allows(q) })
}

func (n negated) allows(q *question) bool { return !n.n.allows(q) }

func (r ruleRef) allows(q *question) bool { return q.ask(string(r)) }

func (r roleOf) allows(q *question) bool {
	want, ok := template(r).fill(q.target)
	return ok && slices.ContainsFunc(q.id.Roles, func(have string) bool { return strings.EqualFold(have, want) })
}

func (a attribute) allows(q *question) bool {
	want, ok := a.want.fill(q.target)
	if !ok {
		return false
	}
	have := ""
	switch a.name {
	case "is_admin":
		have = "False"
		if q.isAdmin() {
			have = "True"
		}
	case "user_id":
		have = q.id.UserID
	case "project_id":
		have = q.id.ProjectID
	case "domain_id", "user_domain_id":
		have = q.id.DomainID
	case "system_scope":
		if q.id.System {
			have = "all"
		}
	}
	return have != "" && have == want // two who have no project do not have the same
}

// attributes are what a rule may ask of the caller.
var attributes = []string{"is_admin", "user_id", "project_id", "domain_id", "user_domain_id", "system_scope"}

// targets are what a rule may ask of the thing that is asked for.
var targets = []string{"project_id", "user_id"}

// template is a text with %(name)s for what the target has: texts and names in
// turn, a text first.
type template []string

func (t template) fill(target map[string]string) (string, bool) {
	if len(t) == 1 {
		return t[0], true
	}
	var b strings.Builder
	for i, part := range t {
		if i%2 == 1 {
			value, ok := target[part]
			if !ok {
				return "", false
			}
			part = value
		}
		b.WriteString(part)
	}
	return b.String(), true
}

// mistake is what is wrong with a rule, and what to do.
type mistake struct{ reason, hint string }

func (m *mistake) Error() string { return m.reason }

func mistaken(hint, format string, args ...any) *mistake {
	return &mistake{fmt.Sprintf(format, args...), hint}
}

// show quotes what the operator wrote.
func show(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

// ruleParser reads the text of a rule:
//
//	rule = and {"or" and}
//	and  = not {"and" not}
//	not  = "not" not | "(" rule ")" | check
//
// Parts are divided by blanks, but for a parenthesis at the edge of one. An
// empty text allows everybody.
type ruleParser struct {
	tokens []string
	i      int
	depth  int
}

func parseRule(text string) (node, *mistake) {
	if len(text) > maxRuleBytes {
		return nil, mistaken("", "a rule of more than %d KiB", maxRuleBytes>>10)
	}
	p := &ruleParser{tokens: tokensOf(text)}
	switch {
	case text == "":
		return constant(true), nil
	case len(p.tokens) == 0:
		return nil, mistaken(`write "" or "@" for everybody, "!" for nobody`, "blanks alone")
	}
	n, m := p.or()
	if m == nil && p.i < len(p.tokens) {
		if t := p.tokens[p.i]; t != ")" {
			m = mistaken("write and or or between them", "nothing joins %s to what is before it", show(t))
		} else {
			m = mistaken("", "a ) without its (")
		}
	}
	if m != nil {
		return nil, m
	}
	return n, nil
}

func tokensOf(text string) []string {
	var out []string
	for word := range strings.FieldsSeq(text) {
		bare := strings.TrimLeft(word, "(")
		for range len(word) - len(bare) {
			out = append(out, "(")
		}
		word = strings.TrimRight(bare, ")")
		if word != "" {
			out = append(out, word)
		}
		for range len(bare) - len(word) {
			out = append(out, ")")
		}
	}
	return out
}

// word reports whether the next part is this one of and, or, not, ( and ).
func (p *ruleParser) word(w string) bool {
	if p.i < len(p.tokens) && strings.EqualFold(p.tokens[p.i], w) {
		p.i++
		return true
	}
	return false
}

func (p *ruleParser) or() (node, *mistake) {
	return series(p, "or", (*ruleParser).and, func(l []node) node { return anyOf(l) })
}

func (p *ruleParser) and() (node, *mistake) {
	return series(p, "and", (*ruleParser).not, func(l []node) node { return allOf(l) })
}

// series reads one or more parts with a word between them.
func series(p *ruleParser, word string, part func(*ruleParser) (node, *mistake), join func([]node) node) (node, *mistake) {
	var list []node
	for {
		n, m := part(p)
		if m != nil {
			return nil, m
		}
		list = append(list, n)
		if !p.word(word) {
			break
		}
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return join(list), nil
}

func (p *ruleParser) not() (node, *mistake) {
	if p.depth++; p.depth > maxDepth {
		return nil, mistaken("give a part of it a name of its own and refer to it by rule:NAME", "nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.i == len(p.tokens):
		return nil, mistaken("", "it ends where a check must follow")
	case p.word("not"):
		n, m := p.not()
		return negated{n}, m
	case p.word("("):
		n, m := p.or()
		if m == nil && !p.word(")") {
			if p.i < len(p.tokens) {
				return nil, mistaken("write and or or between them", "nothing joins %s to what is before it", show(p.tokens[p.i]))
			}
			m = mistaken("", "a ( without its )")
		}
		return n, m
	}
	t := p.tokens[p.i]
	p.i++
	return parseCheck(t)
}

// hints tell what to write instead of checks that other services know.
var hints = map[string]string{
	"tenant": "write project_id", "tenant_id": "write project_id", "project": "write project_id", "user": "write user_id",
	"roles": "write role:NAME", "group": "write role:NAME, and give the role to the group", "field": "", "owner": "write user_id",
}

func parseCheck(t string) (node, *mistake) {
	switch t {
	case "@":
		return constant(true), nil
	case "!":
		return constant(false), nil
	}
	kind, match, ok := strings.Cut(t, ":")
	first := t[0]
	switch {
	case first == '\'' || first == '"':
		return nil, mistaken("remove the quotes", "%s is in quotes", show(t))
	case !ok:
		return nil, mistaken("write role:NAME, rule:NAME, project_id:%(project_id)s, @ for everybody or ! for nobody", "%s is no check", show(t))
	case match == "":
		return nil, mistaken("", "nothing stands behind the : of %s", show(t))
	case len(match) > maxNameBytes:
		return nil, mistaken("", "%s: a name of more than %d bytes", show(t), maxNameBytes)
	case kind == "http" || kind == "https":
		return nil, mistaken("write down who may, by role: and the other checks", "%s: no other server is asked", show(t))
	case kind == "rule":
		return ruleRef(match), nil
	}
	want, m := parseTemplate(match)
	if m != nil {
		return nil, m
	}
	switch {
	case kind == "role":
		return roleOf(want), nil
	case kind == "is_admin" && match != "True" && match != "False":
		return nil, mistaken("write is_admin:True", "%s never holds", show(t))
	case kind == "system_scope" && match != "all":
		return nil, mistaken("write system_scope:all", "%s never holds", show(t))
	case slices.Contains(attributes, kind):
		return attribute{kind, want}, nil
	}
	hint, known := hints[kind]
	if !known || hint == "" {
		hint = "there are rule, role, " + strings.Join(attributes, ", ")
	}
	return nil, mistaken(hint, "%s: there is no check %s", show(t), show(kind))
}

func parseTemplate(s string) (template, *mistake) {
	var t template
	for {
		before, rest, found := strings.Cut(s, "%")
		t = append(t, before)
		if !found {
			return t, nil
		}
		name, after, ok := strings.Cut(strings.TrimPrefix(rest, "("), ")s")
		if !ok || !strings.HasPrefix(rest, "(") {
			return nil, mistaken("write %(project_id)s or %(user_id)s", "%s: a %% that begins no %%(name)s", show(s))
		}
		if !slices.Contains(targets, name) {
			return nil, mistaken("there are "+strings.Join(targets, " and "), "nothing that is asked for has a %s", show(name))
		}
		t = append(t, name)
		s = after
	}
}
