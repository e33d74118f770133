package generate

import (
	"fmt"
	"strings"
)

func (sc *schema) errnoTable() string {
	var b strings.Builder
	b.WriteString("| Errno | `code` | Means |\n| ---: | --- | --- |\n")
	for _, e := range sc.Errnos {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", e.Errno, e.Name, e.Doc)
	}
	return b.String()
}

func (sc *schema) opTables() string {
	var b strings.Builder
	group := ""
	for _, o := range sc.Ops {
		if o.group() != group {
			group = o.group()
			fmt.Fprintf(&b, "\n### Group `%s`\n", group)
		}
		fmt.Fprintf(&b, "\n#### `%s` (%s)\n\n%s\n\n", o.Name, o.Kind, o.Doc)
		fields(&b, "Request", o.Request)
		fields(&b, "Answer", o.Answer)
		if len(o.Errors) > 0 {
			fmt.Fprintf(&b, "Errors: `%s`.\n", strings.Join(o.Errors, "`, `"))
		} else {
			b.WriteString("Errors: none of its own.\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}

func (sc *schema) documentTables() string {
	var b strings.Builder
	for _, d := range sc.Defs {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", d.name, d.Description)
		if d.OneOf != nil {
			continue
		}
		fields(&b, "", d.node)
	}
	return b.String()
}

func fields(b *strings.Builder, title string, n *node) {
	if n.Ref != "" {
		fmt.Fprintf(b, "%s: [`%s`](#%s).\n\n", title, n.ref(), strings.ToLower(n.ref()))
		return
	}
	if len(n.Properties) == 0 {
		fmt.Fprintf(b, "%s: `{}`.\n\n", title)
		return
	}
	head := "Field"
	if title != "" {
		head = title
	}
	fmt.Fprintf(b, "| %s | Type | |\n| --- | --- | --- |\n", head)
	for _, p := range n.Properties {
		opt := ""
		if !n.needs(p.name) {
			opt = ", optional"
		}
		fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", p.name, mdType(p.node), opt, strings.ReplaceAll(fieldDoc(p.node), "|", `\|`))
	}
	b.WriteString("\n")
}

func mdType(n *node) string {
	switch {
	case n.Ref != "":
		return fmt.Sprintf("[`%s`](#%s)", n.ref(), strings.ToLower(n.ref()))
	case n.Type.name == "":
		return "any"
	case n.Type.name == "array":
		return "array of " + mdType(n.Items)
	case n.Type.name == "object" && n.Additional != nil:
		return "object, values " + mdType(n.Additional)
	case n.Type.null:
		return n.Type.name + " or null"
	case n.Minimum != nil:
		return fmt.Sprintf("%s ≥ %d", n.Type.name, *n.Minimum)
	}
	return n.Type.name
}
