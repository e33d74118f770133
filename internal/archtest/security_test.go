package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// named is a test as SECURITY.md names it: folder, function, and for a table
// of attacks its group.
var named = regexp.MustCompile("`([a-z][a-z/]*)\\.((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([a-z]+))?`")

// Every test that SECURITY.md names exists, and every group of attacks has its
// line there.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	const fewest = 60
	all := named.FindAllStringSubmatch(string(text), -1)
	if len(all) < fewest {
		t.Errorf("SECURITY.md names %d tests, want at least %d", len(all), fewest)
	}
	told := map[string]bool{}
	for _, m := range all {
		folder, function, group := m[1], m[2], m[3]
		functions, groups := testsIn(t, folder)
		if !functions[function] {
			t.Errorf("%s: there is no %s in %s", m[0], function, folder)
		}
		if group != "" && !groups[group] {
			t.Errorf("%s: there is no group %s", m[0], group)
		}
		told[folder+" "+group] = true
	}
	for _, folder := range []string{"runtime/hostile", "hostfuncs/hostile"} {
		_, groups := testsIn(t, folder)
		if len(groups) == 0 {
			t.Errorf("%s: no groups of attacks", folder)
		}
		for g := range groups {
			if !told[folder+" "+g] {
				t.Errorf("SECURITY.md does not name the attacks %s of %s", g, folder)
			}
		}
	}
}

// testsIn lists the test functions of a folder, and the names of the rows of
// its variable groups.
func testsIn(t *testing.T, folder string) (functions, groups map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	functions, groups = map[string]bool{}, map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					functions[d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && v.Names[0].Name == "groups" && strings.HasSuffix(folder, "hostile") {
						rows(v, groups)
					}
				}
			}
		}
	}
	return functions, groups
}

// rows takes the first text of each row of a list.
func rows(v *ast.ValueSpec, into map[string]bool) {
	for _, value := range v.Values {
		list, ok := value.(*ast.CompositeLit)
		if !ok {
			continue
		}
		for _, e := range list.Elts {
			row, ok := e.(*ast.CompositeLit)
			if !ok || len(row.Elts) == 0 {
				continue
			}
			if lit, ok := row.Elts[0].(*ast.BasicLit); ok {
				if name, err := strconv.Unquote(lit.Value); err == nil {
					into[name] = true
				}
			}
		}
	}
}
