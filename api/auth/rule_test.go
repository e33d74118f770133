package auth_test

import (
	"strings"
	"testing"

	"github.com/wasakari/wasakari/api/auth"
)

var (
	boss = auth.Identity{UserID: "u-boss", ProjectID: "p-boss", DomainID: "d", Roles: []string{"member", "Admin"}}
	ann  = auth.Identity{UserID: "u-ann", ProjectID: "p-one", DomainID: "d", Roles: []string{"member", "Author"}}
	sys  = auth.Identity{UserID: "u-sys", DomainID: "d", Roles: []string{"reader"}, System: true}
)

func TestRule(t *testing.T) {
	own := map[string]string{"project_id": "p-one", "user_id": "u-ann"}
	for _, tt := range []struct {
		rule   string
		id     auth.Identity
		target map[string]string
		want   bool
	}{
		{rule: "", id: ann, want: true},
		{rule: "@", id: ann, want: true},
		{rule: "!", id: boss, want: false},
		{rule: "role:author", id: ann, want: true},
		{rule: "role:AUTHOR", id: ann, want: true},
		{rule: "role:auth", id: ann, want: false},
		{rule: "is_admin:True", id: boss, want: true},
		{rule: "is_admin:True", id: ann, want: false},
		{rule: "is_admin:False", id: ann, want: true},
		{rule: "is_admin:True", id: auth.Identity{Admin: true}, want: true},
		{rule: "rule:admin_api", id: boss, want: true},
		{rule: "rule:admin_or_owner", id: ann, target: own, want: true},
		{rule: "rule:nobody_wrote_it", id: boss, want: false},
		{rule: "not rule:nobody_wrote_it", id: boss, want: true},
		{rule: "project_id:%(project_id)s", id: ann, target: own, want: true},
		{rule: "project_id:%(project_id)s", id: boss, target: own, want: false},
		{rule: "project_id:%(project_id)s", id: ann, want: false},
		{rule: "project_id:%(project_id)s", id: sys, target: map[string]string{"project_id": ""}, want: false},
		{rule: "project_id:%(project_id)s", id: sys, want: false},
		{rule: "project_id:p-one", id: ann, want: true},
		{rule: "project_id:P-ONE", id: ann, want: false},
		{rule: "user_id:%(user_id)s", id: ann, target: own, want: true},
		{rule: "user_id:u-%(user_id)s", id: ann, target: map[string]string{"user_id": "ann"}, want: true},
		{rule: "role:%(project_id)s", id: ann, target: map[string]string{"project_id": "author"}, want: true},
		{rule: "domain_id:d", id: ann, want: true},
		{rule: "user_domain_id:e", id: ann, want: false},
		{rule: "system_scope:all", id: sys, want: true},
		{rule: "system_scope:all", id: ann, want: false},
		{rule: "role:author and project_id:%(project_id)s", id: ann, target: own, want: true},
		{rule: "role:nothing and role:author", id: ann, want: false},
		{rule: "role:nothing or role:author", id: ann, want: true},
		// and before or, not before and.
		{rule: "@ or ! and !", id: ann, want: true},
		{rule: "(@ or !) and !", id: ann, want: false},
		{rule: "not ! and !", id: ann, want: false},
		{rule: "not (! and !)", id: ann, want: true},
		{rule: "not not @", id: ann, want: true},
		{rule: "NOT ! AND (role:author OR !)", id: ann, want: true},
		{rule: "((role:author))", id: ann, want: true},
		{rule: "(role:x or (role:y)) or @", id: ann, want: true},
		{rule: "\n role:x\n\tor @\n", id: ann, want: true},
	} {
		got, err := auth.Allows(tt.rule, tt.id, tt.target)
		if err != nil || got != tt.want {
			t.Errorf("%q for %s on %v = %t, %v, want %t", tt.rule, tt.id.UserID, tt.target, got, err, tt.want)
		}
	}
}

func TestRuleMistakes(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{" ", `blanks alone; write "" or "@" for everybody, "!" for nobody`},
		{"admin", `"admin" is no check; write role:NAME, rule:NAME, project_id:%(project_id)s, @ for everybody or ! for nobody`},
		{"http://policy.example/%(x)s", `"http://policy.example/%(x)s": no other server is asked; write down who may, by role: and the other checks`},
		{"https:x", `"https:x": no other server is asked; write down who may, by role: and the other checks`},
		{"role:", `nothing stands behind the : of "role:"; `},
		{"rolle:x", `"rolle:x": there is no check "rolle"; there are rule, role, is_admin, user_id, project_id, domain_id, user_domain_id, system_scope`},
		{"tenant:%(project_id)s", `"tenant:%(project_id)s": there is no check "tenant"; write project_id`},
		{"field:networks:shared=True", `"field:networks:shared=True": there is no check "field"; there are rule, role, is_admin, user_id, project_id, domain_id, user_domain_id, system_scope`},
		{"is_admin:true", `"is_admin:true" never holds; write is_admin:True`},
		{"system_scope:ALL", `"system_scope:ALL" never holds; write system_scope:all`},
		{"'role:x'", `"'role:x'" is in quotes; remove the quotes`},
		{"project_id:%(target.project.id)s", `nothing that is asked for has a "target.project.id"; there are project_id and user_id`},
		{"project_id:%project_id", `"%project_id": a % that begins no %(name)s; write %(project_id)s or %(user_id)s`},
		{"role:x role:y", `nothing joins "role:y" to what is before it; write and or or between them`},
		{"(role:x role:y)", `nothing joins "role:y" to what is before it; write and or or between them`},
		{"role:x and", "it ends where a check must follow; "},
		{"not", "it ends where a check must follow; "},
		{"or role:x", `"or" is no check; write role:NAME, rule:NAME, project_id:%(project_id)s, @ for everybody or ! for nobody`},
		{"(role:x", "a ( without its ); "},
		{"role:x)", "a ) without its (; "},
		{"()", `")" is no check; write role:NAME, rule:NAME, project_id:%(project_id)s, @ for everybody or ! for nobody`},
		{strings.Repeat("(", 100) + "@" + strings.Repeat(")", 100), "nested more than 64 deep; give a part of it a name of its own and refer to it by rule:NAME"},
		{strings.Repeat("not ", 100) + "@", "nested more than 64 deep; give a part of it a name of its own and refer to it by rule:NAME"},
		{"role:" + strings.Repeat("x", 256), `"role:` + strings.Repeat("x", 75) + `…": a name of more than 255 bytes; `},
		{strings.Repeat("@ or ", 20_000) + "@", "a rule of more than 64 KiB; "},
	} {
		_, err := auth.Allows(tt.rule, boss, nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%.60q: error = %s\nwant %s", tt.rule, got, tt.want)
		}
	}
}

// FuzzRule: whatever text it is, reading it ends, and what was read obeys
// logic.
func FuzzRule(f *testing.F) {
	for _, s := range []string{
		"", "@", "!", "role:admin or (rule:admin_api and not project_id:%(project_id)s)", "not (@ and !) or role:a", "((", "user_id:%(user_id", "http:x", "'a'", "a:b c:d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target := map[string]string{"project_id": "p-one", "user_id": "u-boss"}
		for _, id := range []auth.Identity{boss, ann, sys, {}} {
			got, err := auth.Allows(text, id, target)
			if err != nil {
				if got {
					t.Fatal("a rule with a mistake allows")
				}
				continue
			}
			if text == "" || len(text) > 1<<12 || strings.Count(text, "(") > 50 || strings.Count(strings.ToLower(text), "not") > 50 {
				continue
			}
			for form, want := range map[string]bool{
				"not (" + text + ")":                     !got,
				"(" + text + ") and (" + text + ")":      got,
				"(" + text + ") or (" + text + ")":       got,
				"(" + text + ") or @":                    true,
				"(" + text + ") and !":                   false,
				"not (" + text + ") or (" + text + ")":   true,
				"not ((" + text + ") or ! and " + "@)":   !got,
				"\t( " + text + "\n) and (@ or role:x) ": got,
			} {
				again, err := auth.Allows(form, id, target)
				if err != nil || again != want {
					t.Fatalf("%q is %t, %q is %t, %v, want %t", text, got, form, again, err, want)
				}
			}
		}
	})
}
