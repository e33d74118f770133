package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/recovery"
)

// Grants is what one line of section [grants] grants. It does not change and
// is safe for concurrent use.
type Grants struct {
	// Name is that of the line: LIBRARY or LIBRARY/KEY, each with @TENANT when
	// it is for a tenant's library.
	Name string
	// Pos is where the name stands; zero when there is no such line.
	Pos recovery.Position

	items []grant
	exact map[string]grant // ops, group.*, provides:NAME; options:group with the group as it is matched
}

// grant is one item of a line, and its place.
type grant struct {
	what string
	pos  recovery.Position
	http abi.HTTPRule // of http:METHOD:URL
	net  netip.Prefix // of net:CIDR
}

const (
	providesWord = "provides:"
	optionsWord  = "options:"
	httpWord     = "http:"
	netWord      = "net:"
)

var (
	// libraryForm is the name of a library, as in a manifest.
	libraryForm = regexp.MustCompile(`^[a-z0-9._-]{1,128}$`)
	// tenantForm is the id of a project.
	tenantForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	keyForm    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,254}$`)
	groupForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]{0,127}$`)
)

const (
	wantGrant = "a grant: an op such as nova.server_list, a group such as kv.*, provides:NAME, options:GROUP, " +
		"http:METHOD:URL or net:CIDR"
	wantLibrary = "a library has lower-case letters, digits and . _ -"
	wantTenant  = "behind the @ stands the id of a project"
)

// TenantID reports whether s can be the id of a project.
func TenantID(s string) bool { return tenantForm.MatchString(s) }

// grantName gives the key of a task in the name of a line; hint tells what is
// wrong with the name.
func grantName(name string) (taskKey, hint string) {
	rest, tenant, ofTenant := strings.Cut(name, "@")
	library, taskKey, ofKey := strings.Cut(rest, "/")
	switch {
	case !libraryForm.MatchString(library):
		hint = wantLibrary
	case ofKey && !keyForm.MatchString(taskKey):
		hint = "behind the / stands the key of a task"
	case ofTenant && !tenantForm.MatchString(tenant):
		hint = wantTenant
	}
	return taskKey, hint
}

// lineName is the name of a line.
func lineName(library, taskKey, tenant string) string {
	name := library
	if taskKey != "" {
		name += "/" + taskKey
	}
	if tenant != "" {
		name += "@" + tenant
	}
	return name
}

// Grants lists what section [grants] grants, by the names of its lines, each
// in the order in which it was written.
func (c *Config) Grants() map[string][]string {
	out := map[string][]string{}
	for name, g := range c.grants {
		out[name] = g.Items()
	}
	return out
}

// GrantsFor gives the line that holds for a task: that of its library and key,
// else that of its library. A tenant's library has lines of its own. Without
// such a line nothing is granted; Name then is the line to write.
func (c *Config) GrantsFor(t recovery.Task) *Grants {
	if g, ok := c.grants[lineName(t.Library, t.Key, t.Tenant)]; ok {
		return g
	}
	name := LibraryLine(t.Library, t.Tenant)
	if g, ok := c.grants[name]; ok {
		return g
	}
	return &Grants{Name: name}
}

// Items lists what is granted, in the order in which it was written.
func (g *Grants) Items() []string {
	out := []string{}
	for _, i := range g.items {
		out = append(out, i.what)
	}
	return out
}

// Allows reports whether the line grants an op, group.*, provides:NAME,
// options:GROUP or http:METHOD:URL, the URL with patterns as in a manifest.
func (g *Grants) Allows(what string) bool {
	_, ok := g.find(what)
	return ok
}

// By gives the item that grants something, and its place.
func (g *Grants) By(what string) (item string, pos recovery.Position, ok bool) {
	i, ok := g.find(what)
	return i.what, i.pos, ok
}

func (g *Grants) find(what string) (grant, bool) {
	if i, ok := g.exact[what]; ok {
		return i, true
	}
	if dot := strings.IndexByte(what, '.'); dot > 0 && strings.IndexByte(what, ':') < 0 {
		i, ok := g.exact[what[:dot]+".*"]
		return i, ok
	}
	if group, ok := strings.CutPrefix(what, optionsWord); ok {
		i, ok := g.exact[optionsWord+groupKey(group)]
		return i, ok
	}
	asked, ok := httpRule(what)
	if !ok {
		return grant{}, false
	}
	for _, i := range g.items {
		if strings.HasPrefix(i.what, httpWord) && i.http.Covers(asked) {
			return i, true
		}
	}
	return grant{}, false
}

// HTTP lists the requests that are granted.
func (g *Grants) HTTP() []abi.HTTPRule {
	var rules []abi.HTTPRule
	for _, i := range g.items {
		if strings.HasPrefix(i.what, httpWord) {
			rules = append(rules, i.http)
		}
	}
	return rules
}

// Networks lists the private ranges of addresses that are granted.
func (g *Grants) Networks() []netip.Prefix {
	var list []netip.Prefix
	for _, i := range g.items {
		if i.net.IsValid() {
			list = append(list, i.net)
		}
	}
	return list
}

// Line gives the line to write so that what it grants now and all of more is
// granted.
func (g *Grants) Line(more ...string) string {
	items := g.Items()
	for _, m := range more {
		if !slices.Contains(items, m) {
			items = append(items, m)
		}
	}
	return g.Name + " = " + strings.Join(items, ", ")
}

// httpRule reads http:METHOD:URL.
func httpRule(what string) (abi.HTTPRule, bool) {
	rest, ok := strings.CutPrefix(what, httpWord)
	method, url, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		return abi.HTTPRule{}, false
	}
	rule, err := abi.ParseHTTPRule(method + " " + url)
	return rule, err == nil
}

// lines gives the assignments of a section that count, in order.
func (c *Config) lines(group string) []assignment {
	var out []assignment
	seen := map[string]bool{}
	for _, first := range c.assignments {
		if first.group != group || seen[first.name] {
			continue
		}
		seen[first.name] = true
		a, _ := c.lookup(key{group, first.name})
		seen[a.name] = true
		out = append(out, a)
	}
	return out
}

// misnamed says that the name of a line is none.
func misnamed(a assignment, what, hint string) *recovery.ConfigError {
	return &recovery.ConfigError{
		Pos: a.namePos, Reason: fmt.Sprintf("option [%s] %s: not the name of %s", a.section, quote(a.name), what), Hint: hint,
	}
}

func (c *Config) readGrants() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	c.grants = map[string]*Grants{}
	for _, a := range c.lines(grantsGroup) {
		g := &Grants{Name: a.name, Pos: a.namePos, exact: map[string]grant{}}
		c.grants[a.name] = g
		if _, hint := grantName(a.name); hint != "" {
			errs = append(errs, misnamed(a, "a library", hint))
			continue
		}
		o := recovery.OptionSpec{Group: grantsGroup, Name: a.name, Type: recovery.ListOption}
		t, err := (&reader{c: c}).substitute(o, a.value)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for off, what := range listItems(t.s) {
			i, want, hint := parseGrant(what)
			if want != "" {
				e := wrong(o, text{s: what, file: t.file, segs: []seg{seg1(t, off)}, secret: t.secret}, want)
				if hint != "" {
					e.Hint = hint
				}
				errs = append(errs, e)
				continue
			}
			i.pos = t.pos(off)
			g.items = append(g.items, i)
			exact := what
			if group, ok := strings.CutPrefix(what, optionsWord); ok {
				exact = optionsWord + groupKey(group)
			}
			if _, twice := g.exact[exact]; !twice && !strings.HasPrefix(what, httpWord) {
				g.exact[exact] = i
			}
		}
	}
	return errs
}

// parseGrant reads one item; want says what is wanted instead.
func parseGrant(what string) (i grant, want, hint string) {
	i.what = what
	word, arg, isWord := strings.Cut(what, ":")
	switch {
	case !isWord:
		return i, wantOp(what), nearestOp(what)
	case word == "provides":
		if !keyForm.MatchString(arg) {
			want = "provides:NAME, NAME being that of a value such as fence_proof"
		}
	case word == "options":
		switch {
		case !groupForm.MatchString(arg):
			want = "options:GROUP, GROUP being the name of a section"
		case Reserved(arg):
			want = "options:GROUP with a section of the library's own; " + arg + " belongs to Wasakari, Masakari or OpenStack"
		}
	case word == "http":
		method, url, ok := strings.Cut(arg, ":")
		if !ok {
			return i, "http:METHOD:URL, such as http:POST:https://tickets.example.com/v1/*", ""
		}
		rule, err := abi.ParseHTTPRule(method + " " + url)
		if err != nil {
			want = "http:METHOD:URL, such as http:POST:https://tickets.example.com/v1/* (" + err.Error() + ")"
		}
		i.http = rule
	case word == "net":
		p, err := netip.ParsePrefix(arg)
		if err != nil || p != p.Masked() {
			want = "net:CIDR, such as net:10.1.0.0/16"
		}
		i.net = p
	default:
		want = wantGrant
	}
	return i, want, ""
}

// wantOp says what is wanted in the place of an op that there is not.
func wantOp(what string) string {
	if abi.LookupOp([]byte(what)) != nil {
		return ""
	}
	group, all := strings.CutSuffix(what, ".*")
	if all && slices.ContainsFunc(abi.Ops(), func(o *abi.Op) bool { return o.Group() == group }) {
		return ""
	}
	return wantGrant
}

// nearestOp suggests an op.
func nearestOp(what string) string {
	var names []string
	for _, o := range abi.Ops() {
		if all := o.Group() + ".*"; !slices.Contains(names, all) {
			names = append(names, all)
		}
		names = append(names, o.Name)
	}
	if near, ok := Nearest(what, names); ok {
		return "did you mean " + near + "?"
	}
	return ""
}

// seg1 is the place of byte off of t.
func seg1(t text, off int) seg {
	p := t.pos(off)
	return seg{line: p.Line, col: p.Col}
}
