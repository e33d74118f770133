package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Role is a part that a caller of the API may have.
type Role string

// The roles. An administrator is who has Keystone's role admin, as in Masakari;
// the other roles are Keystone's roles of names that the operator chooses.
const (
	Admin    Role = "admin"
	Operator Role = "operator"
	Author   Role = "author"
	Monitor  Role = "monitor"
	Reader   Role = "reader"
)

// Roles lists the roles in the order in which texts speak of them.
func Roles() []Role { return []Role{Admin, Operator, Author, Monitor, Reader} }

// base gives the name of the rule that says who has the role.
func (r Role) base() string {
	if r == Admin {
		return ruleAdminAPI
	}
	return "wasakari_" + string(r)
}

// about says who has the role.
var about = map[Role]string{
	Admin:    "the cloud's administrator: Keystone's role `admin`, in whatever project",
	Operator: "looks after recoveries, and need not be an administrator of the cloud",
	Author:   "writes tasks for one project, that of his token, and sees what concerns it",
	Monitor:  "masakari-monitors, and nothing else",
	Reader:   "sees what an operator sees, and changes nothing",
}

// Base rules.
const (
	ruleContextIsAdmin = "context_is_admin"
	ruleAdminOrOwner   = "admin_or_owner"
	ruleAdminAPI       = "admin_api"
)

// Rule is a right that the API asks the policy for.
type Rule struct {
	Name string
	What string // what it is for
	// All lists who has it, Own who has it for what belongs to his project.
	All, Own []Role
	// Anyone is true when every caller has it.
	Anyone bool
}

// Check gives the rule as a policy file has it.
func (r Rule) Check() string {
	if r.Anyone {
		return "@"
	}
	var parts []string
	for _, role := range r.All {
		parts = append(parts, "rule:"+role.base())
	}
	for _, role := range r.Own {
		parts = append(parts, "(rule:"+role.base()+" and project_id:%(project_id)s)")
	}
	return strings.Join(parts, " or ")
}

// Who may do what. This is the one place where it is said; docs/api-roles.md is
// made of it. A role that is nobody's changes nothing: without the operator's
// roles the rules mean what Masakari's mean.
var table = slices.Concat(
	masakari("segments", "index discoverable", "list segments", reading),
	masakari("segments", "detail", "show a segment", reading),
	masakari("segments", "create", "make a segment", changing),
	masakari("segments", "update", "change a segment", changing),
	masakari("segments", "delete", "delete a segment and its hosts", changing),
	masakari("os-hosts", "index discoverable", "list the hosts of a segment", reading),
	masakari("os-hosts", "detail", "show a host", reading),
	masakari("os-hosts", "create", "add a host to a segment", changing),
	masakari("os-hosts", "update", "change a host, end its maintenance", changing),
	masakari("os-hosts", "delete", "remove a host from its segment", changing),
	masakari("notifications", "index discoverable", "list notifications", reading),
	masakari("notifications", "detail", "show a notification and how its recovery went", reading),
	masakari("notifications", "create", "report a failure", []Role{Admin, Operator, Monitor}),
	masakari("vmoves", "index discoverable", "list the servers that a recovery moved", reading),
	masakari("vmoves", "detail", "show the move of one server", reading),
	masakari("extensions", "index detail discoverable", "list the parts of the API", reading),
	[]Rule{
		{Name: "os_masakari_api:versions:index", What: "show the versions of the API", Anyone: true},
		{Name: "os_masakari_api:versions:discoverable", What: "show the versions of the API", Anyone: true},

		{Name: "wasakari:modules:upload", What: "upload a module: **upload**", All: changing, Own: []Role{Author}},
		{Name: "wasakari:modules:read", What: "list and fetch modules and their versions", All: reading, Own: []Role{Author}},
		{Name: "wasakari:modules:pin", What: "choose the version that runs take: **pin**", All: changing, Own: []Role{Author}},
		{Name: "wasakari:modules:delete", What: "remove a module or a version", All: changing, Own: []Role{Author}},
		{Name: "wasakari:runs:read", What: "list and follow runs; of a project: those for its servers", All: reading, Own: []Role{Author}},
		{Name: "wasakari:runs:abort", What: "end a run: **abort**", All: changing},
		{Name: "wasakari:runs:retry", What: "run a recovery once more, beyond the guards' bounds too: **run**", All: changing},
		{Name: "wasakari:flows:read", What: "show and check flows, with the grants of their tasks: **read**", All: reading},
		{Name: "wasakari:nodes:read", What: "list the nodes", All: reading},
		{Name: "wasakari:events:read", What: "follow all events", All: reading},
		{Name: "wasakari:hosts:repaired", What: "take a repaired host back into service", All: changing},
		{Name: "wasakari:store:backup", What: "get a backup of the store, with all modules and what tasks keep", All: []Role{Admin}},
	},
)

var (
	reading  = []Role{Admin, Operator, Reader}
	changing = []Role{Admin, Operator}
)

func masakari(resource, actions, what string, who []Role) []Rule {
	var out []Rule
	for action := range strings.FieldsSeq(actions) {
		out = append(out, Rule{Name: "os_masakari_api:" + resource + ":" + action, What: what, All: who})
	}
	return out
}

// Rules lists the rules that the API asks for.
func Rules() []Rule { return slices.Clone(table) }

// Document is docs/api-roles.md.
func Document() string {
	var b strings.Builder
	b.WriteString(`# Who may do what at the API

<!-- Made by "make generate" from the table in api/auth/roles.go. -->

A caller is who his Keystone token says, and has the rights of his roles there. Five roles:

| Role | Who has it | Roles of Keystone |
| --- | --- | --- |
`)
	for _, r := range Roles() {
		keystone := "`admin`"
		if r != Admin {
			keystone = fmt.Sprintf("`[api] %s_roles`, by default `wasakari_%[1]s`", r)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r, about[r], keystone)
	}
	b.WriteString(`
Keystone has none but ` + "`admin`" + ` until the operator makes them (` + "`openstack role create wasakari_monitor`" + `); until then the
rules mean what Masakari's mean. Keystone's own ` + "`reader`" + ` is on purpose not among them: every user of a cloud may have it.

**yes**: all there is. **own**: what belongs to the project that the token is for.

| Rule | For |`)
	for _, r := range Roles() {
		fmt.Fprintf(&b, " %s |", r)
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(Roles())) + "\n")
	for _, rule := range table {
		fmt.Fprintf(&b, "| `%s` | %s |", rule.Name, rule.What)
		for _, role := range Roles() {
			word := ""
			switch {
			case rule.Anyone || slices.Contains(rule.All, role):
				word = "yes"
			case slices.Contains(rule.Own, role):
				word = "own"
			}
			fmt.Fprintf(&b, " %s |", word)
		}
		b.WriteString("\n")
	}
	b.WriteString(`
**grant** is nobody's at the API: what the tasks of a library may do stands in the operator's files (` + "`[grants]`, `[limits]`,\n`[libraries]`, `[secrets]`, `[tenant_flows]`" + `), and an upload changes none of it. Whether a flow uses a task that was uploaded is the
operator's choice as well. ` + "`wasakari store`" + ` works on the store itself, for who may read its folder or its etcd, and with ` + "`--server`" + ` asks a node for a backup.

## Other rules

A policy file replaces rules by name, as in other services of OpenStack: ` + "`[oslo_policy] policy_file`" + ` (` + "`policy.yaml`" + `), then the files of
` + "`policy_dirs`" + ` (` + "`policy.d`" + `), YAML or JSON. They are read again with the configuration; a mistake in one is told with file and line, and
the rules before it stay in force.

` + "```yaml file=/etc/masakari/policy.yaml" + `
"os_masakari_api:notifications:create": "rule:admin_api or role:masakari_monitors"
"wasakari:runs:abort": "rule:admin_api and not role:trainee"
` + "```" + `

| Check | Holds for |
| --- | --- |
| ` + "`role:NAME`" + ` | who has the role; case does not count |
| ` + "`rule:NAME`" + ` | whom that rule allows it; any name may be given to a rule |
| ` + "`is_admin:True`" + ` | whom ` + "`context_is_admin`" + ` allows it |
| ` + "`project_id:%(project_id)s`, `user_id:%(user_id)s`" + ` | what belongs to the caller's project, to the caller. For Masakari's rules that is everything, as there |
| ` + "`project_id:ID`, `user_id:ID`, `domain_id:ID`, `system_scope:all`" + ` | callers of this project, this user, users of this domain, tokens of the whole system |
| ` + "`@`, `\"\"`" + ` | everybody |
| ` + "`!`" + ` | nobody |

` + "`and`, `or`, `not`" + ` and parentheses join them; ` + "`not`" + ` binds before ` + "`and`, `and` before `or`" + `. The lists of old files are read too. What is
not in this table is refused, with the line: other checks, ` + "`http:`" + ` among them, references to rules that are not there, circles.

The rules to build on, as they are by default:

` + "```yaml file=/etc/masakari/policy.d/base.yaml\n")
	for _, r := range baseRules {
		fmt.Fprintf(&b, "%q: %q\n", r[0], r[1])
	}
	for _, r := range Roles() {
		if r != Admin {
			fmt.Fprintf(&b, "%q: %q   # [api] %s_roles\n", r.base(), "role:"+r.base(), r)
		}
	}
	b.WriteString("```\n" + rolesRun)
	return b.String()
}

// rolesRun has a service read the rules that the page shows, and one more.
const rolesRun = `<!-- doctest: run
$ . $CHECKOUT/test/docs/testdata/cloud 127.0.0.1:15500 /etc/masakari/
$ echo '"wasakari:nodes:read": "!"' > /etc/masakari/policy.d/more.yaml
$ wasakari serve --config-file /etc/masakari/masakari.conf > serve.log 2>&1 &
$ until curl -sf http://127.0.0.1:15868/readyz > /dev/null; do sleep 0.1; done
$ wasakari flow check --os-cloud mycloud
all flows are good
$ wasakari node list --os-cloud mycloud # exit 1
wasakari: the policy does not allow it; ask the operator for a role that may do it
-->
`

// baseRules are Masakari's, which others refer to.
var baseRules = [][2]string{
	{ruleContextIsAdmin, "role:admin"},
	{ruleAdminOrOwner, "is_admin:True or project_id:%(project_id)s"},
	{ruleAdminAPI, "is_admin:True"},
}
