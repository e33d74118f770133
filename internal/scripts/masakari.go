package scripts

import (
	"regexp"
	"slices"

	"github.com/wasakari/wasakari/abi"
)

const pythonEngine = "python"

var word = regexp.MustCompile(`\w+`)

// mentioned lists the options of Masakari itself that files in Python read, as
// CONF.host_failure.evacuate_all_instances: those whose name, and section, stand in
// a file. What only looks so is an option too many, which does no harm.
func mentioned(files []abi.ScriptFile) []abi.ManifestOption {
	var texts []map[string]bool
	for _, f := range files {
		if Language(f.Name) != pythonEngine {
			continue
		}
		words := map[string]bool{"DEFAULT": true}
		for _, w := range word.FindAllString(f.Text, -1) {
			words[w] = true
		}
		texts = append(texts, words)
	}
	var list []abi.ManifestOption
	for _, o := range abi.MasakariOptions() {
		if slices.ContainsFunc(texts, func(words map[string]bool) bool { return words[o.Name] && words[o.Group] }) {
			list = append(list, o)
		}
	}
	return list
}

// share lets a task read options beside those that it has.
func share(task map[string]any, shared []abi.ManifestOption) {
	options, isList := task["options"].([]any)
	if !isList && task["options"] != nil || len(shared) == 0 {
		return // what is no list is refused with the manifest
	}
	has := map[[2]string]bool{}
	for _, o := range options {
		if o, ok := o.(map[string]any); ok {
			has[[2]string{text(o["group"]), text(o["name"])}] = true
		}
	}
	options = options[:len(options):len(options)] // tasks have theirs in common
	for _, o := range shared {
		if !has[[2]string{o.Group, o.Name}] {
			options = append(options, map[string]any{"group": o.Group, "name": o.Name, "type": o.Type, "help": "Masakari's own"})
		}
	}
	if len(options) > 0 {
		task["options"] = options
	}
}
