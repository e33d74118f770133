package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/knadh/koanf/v2"

	"github.com/wasakari/wasakari/recovery"
)

// sampleWidth is where the comments of a sample are broken, in characters.
const sampleWidth = 96

// sampleSections are the sections of a sample in their order, each with what
// it is about. Those of tasks stand where the empty name does.
var sampleSections = []struct{ group, about string }{
	{defaultGroup, "How long a recovery waits, how much it does at once, and the access to Nova."},
	{recovery.FlowSection, "Which tasks a recovery runs: those of pre, then those of main, then those of post, each list in its order. " +
		"A task is named by its key. All flows are checked before anything starts; wasakari check does only that. A section " +
		"[flows:SEGMENT], SEGMENT being the uuid of a segment, holds the same options for the hosts of that segment and their servers; " +
		"what it leaves out is as here."},
	{tenantFlowsGroup, "Tenants' own flows for the failure of one of their servers, as PROJECT = pre:[…],main:[…],post:[…], PROJECT being " +
		"the id of their project. The line is your leave: a tenant without one has the flow above. Its tasks may be your own and those " +
		"of the tenant."},
	{"host_failure", "How servers leave a failed host."},
	{"instance_failure", "How a failed server is recovered."},
	{"process_failure", "What is done on a host whose nova-compute failed."},
	{"host_repair", "What is done with a host that is back after its recovery."},
	{ownGroup, "Wasakari's own: its folders, the care that it takes with Nova, the limits of tasks."},
	{"guards", "Guards against harm: what recoveries may do before a person has to agree, with wasakari run --override REASON."},
	{"http", "Requests of tasks to the outside: http.request. What they may ask is granted in [grants]."},
	{grantsGroup, "What the tasks of a library may do: ops (nova.server_list), groups of ops (kv.*), http:METHOD:URL for requests of " +
		"http.request, net:CIDR for a private range that they may go to, options:GROUP for a section that it may have options in, " +
		"provides:NAME for a value that standard tasks rely on. A library without a line here may do nothing but log; LIBRARY/KEY is " +
		"a line for one task instead of its library's, LIBRARY@PROJECT one for the library of a tenant. wasakari check shows for " +
		"each task what it asks for, what it is granted, what is missing, and the line to write."},
	{limitsGroup, "Limits of the tasks of a library, instead of those of [wasakari] and of what its tasks ask for, as NAME=VALUE with the names of " +
		"[wasakari]. LIBRARY/KEY is a line for one task, LIBRARY@PROJECT one for the library of a tenant, @PROJECT one for all libraries of " +
		"a tenant; what LIBRARY/KEY leaves out is as in LIBRARY, then as in @PROJECT. wasakari check shows for each task the limits that hold."},
	{librariesGroup, "Which libraries you know, and what their modules are told by: sha256: and the digest of a module, or ed25519: and the " +
		"public key of who signs them (wasakari task sign). A line without either takes any module that says it is of the library. " +
		"As soon as there is a line, modules of libraries without a line are refused. LIBRARY@PROJECT is the library of a tenant."},
	{signaturesGroup, "Which modules have to be signed (wasakari task sign). trusted lists the public keys whose signatures count. operator, tenants and " +
		"@PROJECT each are unsigned (any module is taken), signed (with a trusted key, or with one in the line of its library in " +
		"[libraries]), or a list of keys (with one of these). tenants is for all projects without a line. A module whose digest stands in " +
		"the line of its library needs no signature. Without a line unsigned modules are taken."},
	{"registries", "OCI registries, from which [wasakari] modules come."},
	{secretsGroup, "Where the secret options of tasks may be sent, as SECTION.OPTION = https://HOST[:PORT] PLACE, with one place or several: " +
		"header:NAME, basic, body, tls. HOST may be *.NAME for all names below. A task never sees the value: it puts a handle into its request, in whose place the value is put " +
		"on the way out. A secret without a line here cannot be used. The value itself stands in its own section; one that begins " +
		"with file: names the file that holds it."},
	{"", ""},
	{"store", "Where notifications, runs and modules are kept: an etcd cluster, or a store of its own for one node."},
	{"engine", "How much a node does at once."},
	{"keystone_authtoken", "How the API checks the tokens of its callers."},
	{"oslo_policy", "Who may do what at the API."},
	{"api", "Roles at the API, beside that of administrator, which is admin. Who may do what is in docs/api-roles.md."},
	{"wsgi", "The HTTP server of the API."},
	{"oslo_middleware", "Bounds on requests to the API, and proxies before it."},
	{"webhooks", "Who is told what happens."},
	{"telemetry", "Metrics, traces, and the log of changes."},
}

const sampleHead = `A configuration of Wasakari: every option with its default.

Wherever a line begins with "#" and a name, as in "#verify_interval = 1", the value is the default: to change it, remove the "#" and write another value. "# name = <type>" stands for an option without a default; give it a value, or leave it unset. "# name = <required: type>" stands for one that a task needs before it can run, and a secret is never shown.

Rules: a section header is [name] alone in its line. Names begin in the first column; a line that begins with a blank goes on with the value above. A comment stands in a line of its own, never behind a value. $name and $section.name put in the value of another option, $$ is a dollar sign. bool is true or false; the items of a list are separated by commas; seconds is a whole number.

What comes later wins: defaults, the files in their order, variables OS_<SECTION>__<NAME> of the environment, flags (--set section.name=value). The options of Masakari and of OpenStack's libraries that have no effect here are left out: they do no harm in a file.

wasakari config show tells what is in effect, and which file and line it comes from.`

const serviceNote = "From here to the next section: read by wasakari serve only."

// Sample writes a configuration file that changes nothing: every option that
// has an effect, each with its help, type, limits and, in a comment, its
// default; those of tasks under their sections, the tasks named. Without the
// "#" before its name a default still reads as what it is. No value of a
// secret is shown. All mistakes in what tasks declare are told at once, each a
// *recovery.ConfigError.
func Sample(tasks ...recovery.Task) (string, error) {
	entries, errs := describe(tasks)
	if len(errs) > 0 {
		return "", join(errs)
	}
	sections := map[string][]*entry{}
	for _, e := range entries {
		if !e.unread {
			g := groupKey(e.Group)
			sections[g] = append(sections[g], e)
		}
	}
	s := &sample{}
	s.prose(sampleHead)
	for _, at := range sampleSections {
		if at.group != "" {
			s.section(at.group, at.about, sections[at.group], tasks)
			continue
		}
		for _, g := range slices.Sorted(maps.Keys(sections)) {
			if ownGroups[g] {
				continue
			}
			var libraries []string
			for _, e := range sections[g] {
				libraries = append(libraries, e.libraries...)
			}
			slices.Sort(libraries)
			s.section(sections[g][0].Group, "Options of the tasks of "+strings.Join(slices.Compact(libraries), ", ")+".", sections[g], nil)
		}
	}
	return s.b.String(), nil
}

// sample is the text of a sample.
type sample struct{ b strings.Builder }

// prose writes comments; an empty line of text divides them.
func (s *sample) prose(text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			s.b.WriteString("#\n")
		}
		line := "#"
		for word := range strings.FieldsSeq(recovery.OneLine(paragraph)) {
			if line != "#" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > sampleWidth {
				s.b.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		s.b.WriteString(line + "\n")
	}
}

func (s *sample) section(name, about string, entries []*entry, tasks []recovery.Task) {
	fmt.Fprintf(&s.b, "\n\n[%s]\n", name)
	s.prose(about)
	switch name {
	case recovery.FlowSection:
		var keys []string
		for _, t := range tasks {
			keys = append(keys, t.Key)
		}
		slices.Sort(keys)
		if len(keys) > 0 {
			s.prose("The tasks at hand: " + strings.Join(slices.Compact(keys), ", ") + ".")
		}
	case grantsGroup:
		s.grants(tasks)
	case limitsGroup:
		s.b.WriteString("\n# <library> = <list: " + strings.Join(limitNames[:3], "=, ") + "=, ...>\n")
		for _, name := range limitNames {
			s.prose(limitForm(name))
		}
	case librariesGroup:
		s.b.WriteString("\n# <library> = <list: sha256:DIGEST, ed25519:KEY>\n")
	case signaturesGroup:
		s.b.WriteString("\n# trusted = <list: ed25519:KEY>\n# operator = unsigned\n# tenants = unsigned\n# @<project> = <unsigned, signed, or list: ed25519:KEY>\n")
	case secretsGroup:
		s.secrets(tasks)
	case tenantFlowsGroup:
		s.b.WriteString("\n# <project> = <flow: pre:['…'],main:['…'],post:['…']>\n")
	}
	// Stable: the order of the table tells what belongs together.
	slices.SortStableFunc(entries, func(a, b *entry) int {
		switch {
		case a.ofService() == b.ofService():
			return 0
		case a.ofService():
			return 1
		}
		return -1
	})
	noted := false
	described := map[key]int{}
	for _, e := range entries {
		described[e.key()]++
	}
	for _, e := range entries {
		if e.ofService() && !noted {
			noted = true
			s.b.WriteString("\n")
			s.prose(serviceNote)
		}
		s.option(e, described[e.key()] == 1)
	}
}

// grants shows for each library the line that grants what it asks for.
func (s *sample) grants(tasks []recovery.Task) {
	asks := map[string][]string{}
	for _, t := range tasks {
		if !t.Standard && len(t.Asks()) > 0 && libraryForm.MatchString(t.Library) {
			name := LibraryLine(t.Library, t.Tenant)
			asks[name] = append(asks[name], slices.DeleteFunc(t.Asks(), func(ask string) bool {
				group, isOptions := strings.CutPrefix(ask, optionsWord)
				return isOptions && Reserved(group) // no grant helps
			})...)
		}
	}
	if len(asks) == 0 {
		s.b.WriteString("\n# <library> = <list: op, group.*, http:METHOD:URL, net:CIDR, options:GROUP, provides:NAME>\n")
		return
	}
	s.b.WriteString("\n")
	s.prose("What the libraries at hand ask for:")
	for _, name := range slices.Sorted(maps.Keys(asks)) {
		slices.Sort(asks[name])
		fmt.Fprintf(&s.b, "# %s = %s\n", name, recovery.OneLine(strings.Join(slices.Compact(asks[name]), ", ")))
	}
}

// secrets shows for each secret option of a task a line to bind it.
func (s *sample) secrets(tasks []recovery.Task) {
	var names []string
	for _, t := range tasks {
		for _, o := range t.Options {
			if o.Secret && !t.Standard {
				names = append(names, recovery.OneLine(o.Group+"."+o.Name))
			}
		}
	}
	slices.Sort(names)
	s.b.WriteString("\n")
	if len(names) == 0 {
		names = []string{"<section>.<option>"}
	}
	for _, n := range slices.Compact(names) {
		fmt.Fprintf(&s.b, "# %s = <https://host[:port] place>\n", n)
	}
}

// option writes one option. One that tasks describe in several ways is never
// fit to be set by removing a "#": that would change it for the others.
func (s *sample) option(e *entry, alone bool) {
	s.b.WriteString("\n")
	help := e.Help
	if help != "" {
		help = strings.TrimRight(help, ".") + ". "
	}
	s.prose(help + "(" + kind(e.OptionSpec) + ")")
	if len(e.tasks) > 0 {
		s.prose("Read by " + strings.Join(e.tasks, ", ") + ".")
	}
	what := string(e.Type)
	if e.Type == recovery.MultiOption {
		what = string(recovery.StringOption)
	}
	if e.Secret {
		what = "secret " + what
	}
	line, ok := "<"+what+">", false
	switch {
	case e.required:
		line = "<required: " + what + ">"
	case !e.Secret && e.Default != nil:
		var value string
		if value, ok = written(e.OptionSpec); ok {
			line = value
		} else {
			s.prose("The default has no form on one line: " + strconv.QuoteToGraphic(display(e.Default)) + ".")
		}
	}
	mark := "# "
	if ok && alone {
		mark = "#"
	}
	s.b.WriteString(strings.TrimRight(mark+e.Name+" = "+line, " ") + "\n")
}

// kind tells type, choices and limits.
func kind(o recovery.OptionSpec) string {
	k := string(o.Type)
	switch o.Type {
	case recovery.MultiOption:
		k = "string, may be given more than once"
	case recovery.IntOrAutoOption:
		return "int" + strings.Replace(limits(o), " ≥", " of at least", 1) + ", or " + recovery.AutoValue
	case recovery.HostOption:
		k = "host name or IP address"
	case recovery.URIOption:
		k = "URI"
	}
	if len(o.Choices) > 0 {
		choices := make([]string, len(o.Choices))
		for i, c := range o.Choices {
			choices[i] = shownText(c)
		}
		k += ", one of " + strings.Join(choices, ", ")
	}
	if l := limits(o); l != "" {
		k += "," + strings.Replace(l, " ≥", " at least", 1)
	}
	return strings.Replace(k, ", ≤", ", at most", 1)
}

// written gives the default of an option as it is written in a file; false
// when there is no such form on one line.
func written(o recovery.OptionSpec) (string, bool) {
	if defaultRefers(o) {
		return display(o.Default), true
	}
	s := ""
	switch d := o.Default.(type) {
	case bool:
		s = strconv.FormatBool(d)
	case string:
		s = escape(d)
	case []string:
		s = escape(strings.Join(d, ","))
	case recovery.Flow:
		s = operatorsFlow(d)
	default:
		s = display(d)
	}
	// Quotes at both ends are removed when the file is read.
	if n := len(s); n > 0 && (strings.TrimFunc(s, isSpace) != s || s[0] == s[n-1] && isQuote(s[0])) {
		s = `"` + s + `"`
	}
	return s, readsAs(o, s)
}

// escape doubles the dollar signs of a value.
func escape(s string) string {
	if strings.Contains(s, `\$`) {
		return strings.ReplaceAll(s, "$", `\$`) // two backslashes would not be told from one
	}
	return strings.ReplaceAll(s, "$", "$$")
}

// readsAs reports whether a value in a file reads as the option's default.
func readsAs(o recovery.OptionSpec, value string) bool {
	out := parseFile("", []byte("["+o.Group+"]\n"+o.Name+" = "+value+"\n"))
	if len(out.errs) > 0 || len(out.assignments) != 1 || out.assignments[0].name != o.Name {
		return false
	}
	c := &Config{k: koanf.New(delimiter)}
	l := loader{c: c}
	l.load(mapSource(func() map[string]any { return l.put(out.assignments) }), nil)
	v, _, _, err := (&reader{c: c}).read(o)
	return err == nil && same(v, o.Default)
}
