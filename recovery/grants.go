package recovery

import (
	"slices"
	"strings"
)

// Asks lists what the operator must grant before the task may run, in the form
// of section [grants]: ops and groups of ops, http:METHOD:URL, provides:NAME
// for protected names, options:GROUP for each section that it reads, but for options that are
// shared. The ops
// of group task are everybody's.
func (t Task) Asks() []string {
	var asks []string
	add := func(what string) {
		if !slices.Contains(asks, what) {
			asks = append(asks, what)
		}
	}
	for _, use := range t.Uses {
		if !strings.HasPrefix(use, "task.") {
			add(use)
		}
	}
	for _, rule := range t.HTTP {
		add(HTTPGrant(rule))
	}
	for _, name := range t.Provides {
		if slices.Contains(ProtectedNames(), name) {
			add("provides:" + name)
		}
	}
	for _, o := range t.Options {
		if !o.Shared {
			add("options:" + o.Group)
		}
	}
	return asks
}

// HTTPGrant gives the grant of a rule "METHOD URL": http:METHOD:URL.
func HTTPGrant(rule string) string {
	method, url, _ := strings.Cut(strings.TrimSpace(rule), " ")
	return "http:" + method + ":" + strings.TrimSpace(url)
}
