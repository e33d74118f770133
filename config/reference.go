package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

const referenceHead = `# Configuration

<!-- Made by "make generate" from the table in config/options.go. -->

Wasakari reads Masakari's configuration: files of oslo.config. Without ` + "`--config-file`" + ` they are looked for where Masakari's are. What comes later wins: defaults, the files in
their order, variables ` + "`OS_<SECTION>__<NAME>`" + ` of the environment, flags (` + "`--set section.name=value`" + `). ` + "`wasakari config sample`" + ` writes a file with every option,
those of your own tasks too; ` + "`wasakari config show`" + ` tells what holds and where it comes from; ` + "`wasakari check`" + ` tells everything that is wrong at once.

A section header is ` + "`[name]`" + ` alone in its line, a comment stands in a line of its own, a line that begins with a blank goes on with the value above. ` + "`$name`" + ` and
` + "`$section.name`" + ` put in the value of another option, ` + "`$$`" + ` is a dollar sign.

Options with a * are read by ` + "`wasakari serve`" + ` only. Those of tasks stand in sections of their own, which their manifests name.
`

// Reference describes every option, in Markdown: docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, at := range sampleSections {
		if at.group == "" {
			continue
		}
		fmt.Fprintf(&b, "\n## [%s]\n\n%s\n", at.group, recovery.TableCell(at.about))
		var rows strings.Builder
		for _, o := range table {
			if groupKey(o.Group) == groupKey(at.group) && !o.unread {
				rows.WriteString(referenceRow(o))
			}
		}
		if rows.Len() > 0 {
			b.WriteString("\n| Option | Type | Default | |\n| --- | --- | --- | --- |\n" + rows.String())
		}
	}
	b.WriteString("\n## Accepted without effect\n\nOptions of Masakari and of OpenStack's libraries that do no harm in a file and change nothing here:\n")
	groups := map[string][]string{}
	var order []string
	for _, o := range table {
		if !o.unread {
			continue
		}
		if groups[o.Group] == nil {
			order = append(order, o.Group)
		}
		groups[o.Group] = append(groups[o.Group], "`"+o.Name+"`")
	}
	for _, g := range order {
		slices.Sort(groups[g])
		fmt.Fprintf(&b, "\n**[%s]** %s\n", g, strings.Join(groups[g], ", "))
	}
	return b.String()
}

func referenceRow(o option) string {
	name := "`" + o.Name + "`"
	if o.service {
		name += " *"
	}
	def := ""
	switch value, ok := written(o.OptionSpec); {
	case o.Secret:
		def = "a secret"
	case o.Default == nil:
	case ok && value != "":
		def = "`" + value + "`"
	default:
		def = "empty"
	}
	help := o.Help
	if o.deprecated != "" {
		help += " Deprecated: " + o.deprecated + "."
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", name, recovery.TableCell(kind(o.OptionSpec)), recovery.TableCell(def), recovery.TableCell(help))
}
