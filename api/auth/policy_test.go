package auth_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wasakari/wasakari/api/auth"
	"github.com/wasakari/wasakari/recovery"
)

// put writes a file of a folder.
func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func newPolicy(t *testing.T, cfg auth.PolicyConfig) *auth.Policy {
	t.Helper()
	p, err := auth.NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func with(roles ...string) auth.Identity {
	return auth.Identity{UserID: "u", ProjectID: "p", Roles: roles}
}

// The table as Masakari has it, and as docs/api-roles.md tells it.
func TestDefaults(t *testing.T) {
	p := newPolicy(t, auth.PolicyConfig{DefaultRule: "default"})
	people := map[auth.Role]auth.Identity{
		auth.Admin: with("admin"), auth.Operator: with("wasakari_operator"), auth.Author: with("wasakari_author"),
		auth.Monitor: with("wasakari_monitor"), auth.Reader: with("wasakari_reader"), "": with("member", "reader"),
	}
	own, others := map[string]string{"project_id": "p"}, map[string]string{"project_id": "q"}
	for _, rule := range auth.Rules() {
		for role, id := range people {
			all := rule.Anyone || slices.Contains(rule.All, role)
			for _, ask := range []struct {
				what   string
				target map[string]string
				want   bool
			}{{"all", map[string]string{}, all}, {"its own", own, all || slices.Contains(rule.Own, role)}, {"another's", others, all}} {
				err := p.Enforce(rule.Name, id, ask.target)
				if (err == nil) != ask.want || err != nil && !errors.Is(err, recovery.ErrForbidden) {
					t.Errorf("%s of %s: %v for role %q, want leave: %t", rule.Name, ask.what, err, role, ask.want)
				}
			}
		}
	}
	// What the API reference of Masakari says, not the table.
	reads := func(rule string) bool {
		return strings.HasSuffix(rule, ":index") || strings.HasSuffix(rule, ":detail") || strings.HasSuffix(rule, ":discoverable")
	}
	n := 0
	for resource, actions := range map[string]string{
		"segments": "index detail create update delete discoverable", "os-hosts": "index detail create update delete discoverable",
		"notifications": "index detail create discoverable", "vmoves": "index detail discoverable", "extensions": "index detail discoverable",
		"versions": "index discoverable",
	} {
		for action := range strings.FieldsSeq(actions) {
			n++
			rule := "os_masakari_api:" + resource + ":" + action
			if err := p.Enforce(rule, with("Admin"), own); err != nil {
				t.Errorf("an administrator: %v", err)
			}
			for who, want := range map[string]bool{
				"member": resource == "versions", "wasakari_reader": resource == "versions" || reads(rule),
				"wasakari_monitor": resource == "versions" || rule == "os_masakari_api:notifications:create",
			} {
				err := p.Enforce(rule, with(who), own)
				if (err == nil) != want {
					t.Errorf("%s: %s may: %t, want %t", rule, who, err == nil, want)
				}
				if text := "Policy doesn't allow " + rule + " to be performed."; err != nil && err.Error() != text {
					t.Errorf("error = %v, want %s", err, text)
				}
			}
		}
	}
	masakaris := slices.DeleteFunc(auth.Rules(), func(r auth.Rule) bool { return !strings.HasPrefix(r.Name, "os_masakari_api:") })
	if len(masakaris) != n {
		t.Errorf("%d rules of Masakari's, want %d", len(masakaris), n)
	}
	if err := p.Enforce("os_masakari_api:segments:frobnicate", with("admin"), own); !errors.Is(err, recovery.ErrForbidden) {
		t.Errorf("an unknown rule: %v, want ErrForbidden", err)
	}
	nobody, err := auth.Nobody{}.Authenticate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Enforce("os_masakari_api:segments:delete", nobody, map[string]string{"project_id": nobody.ProjectID}); err != nil {
		t.Errorf("without authentication: %v", err)
	}
}

func TestDocument(t *testing.T) {
	have, err := os.ReadFile("../../docs/api-roles.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != auth.Document() {
		t.Error("docs/api-roles.md is stale: make generate")
	}
}

func TestRolesOfTheOperator(t *testing.T) {
	p := newPolicy(t, auth.PolicyConfig{Operator: []string{"ops", "Night Shift"}, Monitor: []string{}})
	for _, tt := range []struct {
		rule, role string
		want       bool
	}{
		{"wasakari:runs:abort", "OPS", true},
		{"wasakari:runs:abort", "night shift", true},
		{"wasakari:runs:abort", "wasakari_operator", false},
		{"os_masakari_api:notifications:create", "wasakari_monitor", false},
		{"wasakari:runs:read", "wasakari_reader", true},
	} {
		if err := p.Enforce(tt.rule, with(tt.role), nil); (err == nil) != tt.want {
			t.Errorf("%s for %s: %v, want leave: %t", tt.rule, tt.role, err, tt.want)
		}
	}
}

func TestPolicyFiles(t *testing.T) {
	dir := t.TempDir()
	yaml := put(t, dir, "policy.yaml", `# an operator's
"os_masakari_api:segments:index": "rule:admin_api or role:cloud_reader"
os_masakari_api:segments:detail: role:cloud_reader
"os_masakari_api:segments:create": ""
"os_masakari_api:segments:update": "!"
"os_masakari_api:segments:delete":
  - ["role:one", "role:two"]
  - "role:three"
  - ["role:four"]
"os_masakari_api:os-hosts:index": []
"os_masakari_api:os-hosts:detail": [[]]
"os_masakari_api:os-hosts:create": >-
  role:one
  and role:two
"wasakari_monitor": "role:service"
"mine": "role:mine"
"os_masakari_api:os-hosts:update": "rule:mine"
"default": "role:fallback"
"os_masakari_api:segment:index": "@"
`)
	put(t, dir, "policy.d/20-late.json", `{"os_masakari_api:segments:update": "role:late", "os_masakari_api:vmoves:index": [["role:json"]]}`)
	put(t, dir, "policy.d/10-early.yaml", `"os_masakari_api:segments:update": "role:early"`)
	put(t, dir, "policy.d/.hidden.yaml", `not a policy`)
	put(t, dir, "policy.d/empty.yaml", "# nothing\n")
	put(t, dir, "policy.d/sub/deeper.yaml", `not a policy`)
	p := newPolicy(t, auth.PolicyConfig{File: yaml, Dirs: []string{filepath.Join(dir, "policy.d")}, DefaultRule: "default"})
	const api = "os_masakari_api:"
	for _, tt := range []struct {
		rule  string
		roles string
		want  bool
	}{
		{api + "segments:index", "cloud_reader", true},
		{api + "segments:index", "admin", true},
		{api + "segments:index", "wasakari_reader", false}, // the file replaces the rule whole
		{api + "segments:detail", "cloud_reader", true},
		{api + "segments:detail", "admin", false},
		{api + "segments:create", "anybody", true},
		{api + "segments:update", "late", true},
		{api + "segments:update", "early", false},
		{api + "segments:update", "admin", false},
		{api + "segments:delete", "one two", true},
		{api + "segments:delete", "one", false},
		{api + "segments:delete", "three", true},
		{api + "segments:delete", "four", true},
		{api + "os-hosts:index", "anybody", true},
		{api + "os-hosts:detail", "admin", false},
		{api + "os-hosts:create", "one two", true},
		{api + "os-hosts:create", "two", false},
		{api + "os-hosts:update", "mine", true},
		{api + "notifications:create", "service", true},
		{api + "notifications:create", "wasakari_monitor", false},
		{api + "vmoves:index", "json", true},
		{api + "vmoves:detail", "admin", true}, // untouched
		{api + "unknown:rule", "fallback", true},
		{api + "unknown:rule", "admin", false},
	} {
		if err := p.Enforce(tt.rule, with(strings.Fields(tt.roles)...), nil); (err == nil) != tt.want {
			t.Errorf("%s for %s: %v, want leave: %t", tt.rule, tt.roles, err, tt.want)
		}
	}
	if got, want := p.Warnings(), []string{yaml + `:19:1: nobody asks for rule "os_masakari_api:segment:index"`}; !slices.Equal(got, want) {
		t.Errorf("warnings = %q, want %q", got, want)
	}
}

func TestPolicyMistakes(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text string
		cfg  func(*auth.PolicyConfig)
		want string
	}{
		"a check":             {text: "\"a\": \"@\"\n\"b\": \"http://x\"\n", want: `F:2:6: rule "b": "http://x": no other server is asked; write down who may, by role: and the other checks`},
		"all at once":         {text: "a: b\nc: d:e\n", want: "F:1:4: rule \"a\": \"b\" is no check; write role:NAME, rule:NAME, project_id:%(project_id)s, @ for everybody or ! for nobody\nF:2:4: rule \"c\": \"d:e\": there is no check \"d\"; there are rule, role, is_admin, user_id, project_id, domain_id, user_domain_id, system_scope"},
		"null":                {text: "a:\n", want: `F:1:4: rule "a": want a text or a list; write it in quotes; "@" is for everybody, "!" for nobody`},
		"true":                {text: "a: true\n", want: `F:1:4: rule "a": want a text or a list; write it in quotes; "@" is for everybody, "!" for nobody`},
		"a tag":               {text: "a: !\n", want: `F:1:4: tags are not allowed; write a rule in quotes: "!"`},
		"aliases":             {text: "a: &x role:a\nb: *x\n", want: "F:1:4: anchors and aliases are not allowed; write it out"},
		"no table":            {text: "- role:a\n", want: `F:1:1: not a table of rules; write each rule as "name": "check"`},
		"no text":             {text: "role\n", want: `F:1:1: not a table of rules; write each rule as "name": "check"`},
		"a number as name":    {text: "1: role:a\n", want: "F:1:1: not the name of a rule"},
		"two documents":       {text: "a: role:a\n---\nb: role:b\n", want: "F:3:2: more than one document"},
		"a line in a list":    {text: "a: [\"role:a or role:b\"]\n", want: `F:1:4: rule "a": not a check in the list; write single checks into a list`},
		"a table in a list":   {text: "a: [{b: c}]\n", want: `F:1:4: rule "a": not a check in the list; write single checks into a list`},
		"unknown rule":        {text: "a: rule:b\n", want: `F:1:1: rule "a" refers to rule "b", which is not there`},
		"itself":              {text: "a: not rule:a\n", want: "F:1:1: rules lead back to themselves: a → a"},
		"a circle":            {text: "a: rule:b\nb: rule:c or @\nc: (rule:a)\n", want: "F:1:1: rules lead back to themselves: a → b → c → a"},
		"a circle by default": {text: "context_is_admin: rule:admin_api\n", want: "F:1:1: rules lead back to themselves: admin_api → context_is_admin → admin_api"},
		"too large":           {text: strings.Repeat("#\n", 1<<19) + "#", want: "F: larger than 1024 KiB; check [oslo_policy] policy_file and policy_dirs"},
		"no file":             {cfg: func(c *auth.PolicyConfig) { c.File = filepath.Join(dir, "none") }, want: filepath.Join(dir, "none") + ": cannot be read: no such file or directory; check [oslo_policy] policy_file and policy_dirs"},
		"a pipe":              {cfg: func(c *auth.PolicyConfig) { c.File = pipe }, want: pipe + ": not a regular file; check [oslo_policy] policy_file and policy_dirs"},
		"no directory":        {cfg: func(c *auth.PolicyConfig) { c.Dirs = []string{filepath.Join(dir, "none")} }, want: filepath.Join(dir, "none") + ": cannot be read: no such file or directory; check [oslo_policy] policy_dirs"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := auth.PolicyConfig{File: put(t, t.TempDir(), "policy.yaml", tt.text)}
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			_, err := auth.NewPolicy(cfg)
			if !errors.Is(err, recovery.ErrInvalid) {
				t.Fatalf("error = %v, want ErrInvalid", err)
			}
			if got := strings.ReplaceAll(err.Error(), cfg.File+":", "F:"); got != tt.want && got != strings.ReplaceAll(tt.want, cfg.File+":", "F:") {
				t.Errorf("error = %s\nwant    %s", got, tt.want)
			}
		})
	}
}

// A file that is no YAML, and one with a rule twice, are told with their line;
// the words are the reader's.
func TestPolicyNotYAML(t *testing.T) {
	for name, text := range map[string]string{"brackets": "a: role:a\nb: [\n", "twice": "a: role:a\na: role:b\n", "twice, in quotes": "\"a\": role:a\na: role:b\n", "at sign": "a: role:a\nb: @\n"} {
		f := put(t, t.TempDir(), "policy.yaml", text)
		if _, err := auth.NewPolicy(auth.PolicyConfig{File: f}); err == nil || !strings.HasPrefix(err.Error(), f+":2:") {
			t.Errorf("%s: error = %v, want one of line 2", name, err)
		}
	}
}

// Rules that double at each step are answered at once.
func TestPolicyDoubling(t *testing.T) {
	var b strings.Builder
	const steps = 5000
	for i := range steps {
		fmt.Fprintf(&b, "r%d: rule:r%d and rule:r%[2]d\n", i, i+1)
	}
	fmt.Fprintf(&b, "r%d: role:a\nos_masakari_api:segments:index: rule:r0\n", steps)
	p := newPolicy(t, auth.PolicyConfig{File: put(t, t.TempDir(), "policy.yaml", b.String())})
	if err := p.Enforce("os_masakari_api:segments:index", with("a"), nil); err != nil {
		t.Error(err)
	}
	if err := p.Enforce("os_masakari_api:segments:index", with("b"), nil); err == nil {
		t.Error("role b has leave")
	}
}

func TestPolicyReload(t *testing.T) {
	dir := t.TempDir()
	f := put(t, dir, "policy.yaml", `"wasakari:nodes:read": "role:one"`)
	p := newPolicy(t, auth.PolicyConfig{File: f})
	may := func(role string, want bool) {
		t.Helper()
		if err := p.Enforce("wasakari:nodes:read", with(role), nil); (err == nil) != want {
			t.Errorf("role %s: %v, want leave: %t", role, err, want)
		}
	}
	may("one", true)
	put(t, dir, "policy.yaml", `"wasakari:nodes:read": "role:two`)
	if err := p.Reload(); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("error = %v, want ErrInvalid", err)
	}
	may("one", true) // as it was
	put(t, dir, "policy.yaml", `"wasakari:nodes:read": "role:two"`)
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	may("one", false)
	may("two", true)
	put(t, dir, "policy.yaml", "")
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	may("two", false)
	may("wasakari_reader", true)
}

// A policy that is in use takes over another one, its files and its roles.
func TestPolicyAdopt(t *testing.T) {
	dir := t.TempDir()
	p := newPolicy(t, auth.PolicyConfig{})
	f := put(t, dir, "policy.yaml", `"wasakari:nodes:read": "role:one"`)
	p.Adopt(newPolicy(t, auth.PolicyConfig{File: f, Operator: []string{"ops"}}))
	if err := p.Enforce("wasakari:nodes:read", with("one"), nil); err != nil {
		t.Error(err)
	}
	put(t, dir, "policy.yaml", `"wasakari:nodes:read": "rule:wasakari_operator"`)
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := p.Enforce("wasakari:nodes:read", with("ops"), nil); err != nil {
		t.Error(err)
	}
	if err := p.Enforce("wasakari:nodes:read", with("one"), nil); err == nil {
		t.Error("the former rule still holds")
	}
}

// FuzzPolicy: whatever a file is, reading it ends, in rules or in mistakes of
// that file.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		"", "a: role:b\n", `{"a": [["role:b", "role:c"], "role:d"]}`, "a: rule:b\nb: rule:a\n", "\"a\": \"!\"\n", "a: >-\n  role:b\n", "- a\n", "a: [[[]]]\n", "{", "? a\n: b\n",
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "policy.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<13 {
			return
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := auth.NewPolicy(auth.PolicyConfig{File: file, DefaultRule: "default"})
		if err != nil {
			if !errors.Is(err, recovery.ErrInvalid) || !strings.HasPrefix(err.Error(), file) {
				t.Fatalf("error = %v, want one of the file", err)
			}
			return
		}
		for _, r := range append(auth.Rules(), auth.Rule{Name: "a"}) {
			_ = p.Enforce(r.Name, ann, map[string]string{"project_id": "p-one"})
		}
	})
}

// The API asks for no rule that the table does not have, and the table has none
// of Wasakari's that nobody asks for.
func TestRulesAreThoseOfTheAPI(t *testing.T) {
	inTable, asked := map[string]bool{}, map[string]bool{}
	for _, r := range auth.Rules() {
		if inTable[r.Name] {
			t.Errorf("%s stands twice in the table", r.Name)
		}
		inTable[r.Name] = true
	}
	for folder, form := range map[string]struct {
		prefix string
		rule   *regexp.Regexp
	}{
		"../masakariv1": {"os_masakari_api:", regexp.MustCompile(`\bpolicy: +"([^"]+)"`)},
		"../wasakariv1": {"", regexp.MustCompile(`"(wasakari:[a-z:]+)"`)},
	} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range form.rule.FindAllStringSubmatch(string(text), -1) {
				found++
				asked[form.prefix+m[1]] = true
			}
		}
		if found < 5 {
			t.Errorf("%d rules in %s, want more: are they written in another way?", found, folder)
		}
	}
	for rule := range asked {
		if !inTable[rule] {
			t.Errorf("the API asks for rule %s, which is not in the table", rule)
		}
	}
	for rule := range inTable {
		if strings.HasPrefix(rule, "wasakari:") && !asked[rule] {
			t.Errorf("nobody asks for rule %s", rule)
		}
	}
}
