package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

// write puts text into a file named t.conf and reads it.
func write(t testing.TB, text string) (string, config.Sources) {
	t.Helper()
	f := filepath.Join(t.TempDir(), "t.conf")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return f, config.Sources{Files: []string{f}}
}

// load reads one file; in the error the folder is left out.
func load(t testing.TB, text string) (*config.Config, string) {
	t.Helper()
	f, src := write(t, text)
	c, err := config.Load(src)
	if err != nil {
		return nil, strings.ReplaceAll(err.Error(), f, "t.conf")
	}
	return c, ""
}

// show prints a flow in one line.
func show(f recovery.Flow) string {
	var parts []string
	for _, ph := range recovery.Phases() {
		parts = append(parts, string(ph)+"="+strings.Join(keys(f.Tasks(ph)), "|"))
	}
	return strings.Join(parts, " ")
}

// TestFlowRows has one case for each row of the table of values: those that
// Masakari's operators write well, and the slips of the pen. In the input, ~
// stands for the option's name.
func TestFlowRows(t *testing.T) {
	const head = "[taskflow_driver_recovery_flows]\n"
	tests := []struct {
		name, text string
		want       string // the flow
		wantErr    string
	}{
		{name: "1", text: "~ = main:['a'],post:['b'],pre:['c']", want: "pre=c main=a post=b"},
		{name: "2", text: "~ = pre : ['a', 'b'] , main:[ 'c' ] ,post:[]", want: "pre=a|b main=c post="},
		{name: "3", text: "~ = pre:[a,b],main:[c],post:[]", want: "pre=a|b main=c post="},
		{name: "4", text: `~ = pre:["a"],main:["b","c"],post:[]`, want: "pre=a main=b|c post="},
		{name: "5", text: `~ = pre:['a',"b",c],main:[],post:[]`, want: "pre=a|b|c main= post="},
		{name: "6", text: "~: pre:['a'],main:['b'],post:[]", want: "pre=a main=b post="},
		{name: "7", text: "~ = pre:['a'],\n  main:['b'],\n  post:['c']", want: "pre=a main=b post=c"},
		{name: "8", text: "~ = pre:['a',\n   'b'],\n  main:['b'],\n  post:['c']", want: "pre=a|b main=b post=c"},
		{name: "9", text: "~ =\n  pre:['a'],\n  main:['b'],\n  post:['c']", want: "pre=a main=b post=c"},
		{name: "10", text: "~ = pre:['a'],\n\tmain:['b'],\n\tpost:['c']", want: "pre=a main=b post=c"},
		{name: "11", text: `~ = "pre:['a'],main:['b'],post:[]"`, want: "pre=a main=b post="},
		{name: "12", text: `~ = 'pre:['a'],main:['b'],post:[]'`, want: "pre=a main=b post="},
		{name: "13", text: "~ = {'pre': ['a'], 'main': ['b'], 'post': ['c']}", want: "pre=a main=b post=c"},
		{name: "14", text: "~ = {pre: ['a'], main: ['b'], post: ['c']}", want: "pre=a main=b post=c"},
		{name: "15", text: `~ = {"pre": ["a"], "main": ["b"], "post": ["c"]}`, want: "pre=a main=b post=c"},
		{name: "16", text: "~ = {'pre': ['a'], 'main': ['b'], 'post': ['c'],}", want: "pre=a main=b post=c"},
		{name: "17", text: "~ = {\n  'pre': ['a', 'b'],\n  'main': ['c'],\n  'post': ['d']}", want: "pre=a|b main=c post=d"},
		{name: "18", text: "~ = {\n  'pre': ['a', 'b'],\n  'main': ['c'],\n  'post': ['d']\n  }", want: "pre=a|b main=c post=d"},
		{
			name: "19", text: "~ = {\n'pre': ['a', 'b'],\n'main': ['c'],\n'post': ['d']}",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: the '{' is not closed; the lines in column 0 from line 3 on are options of their own; indent them`,
		},
		{
			name: "19 brace on a line of its own", text: "~ = {\n'pre': ['a'],\n'main': ['c'],\n'post': ['d']\n}",
			wantErr: `t.conf:6:1: no ':' or '=' found in assignment: '}'; put a blank before it: it belongs to the value above
t.conf:2:34: option process_failure_recovery_tasks: the '{' is not closed; the lines in column 0 from line 3 on are options of their own; indent them`,
		},
		{
			name: "20 swallowed", text: "x = 1\n  ~ = {\n  'pre': ['a'],\n  'main': ['c'],\n  'post': ['d']}",
			wantErr: `t.conf:3:3: option process_failure_recovery_tasks stands in the value of [taskflow_driver_recovery_flows] 'x'; an option begins in column 0: remove the blanks before its name; only the lines after it are indented`,
		},
		{
			name: "20 after a header", text: "  ~ = {\n  'pre': ['a'],\n  'main': ['c'],\n  'post': ['d']}",
			wantErr: `t.conf:2:3: unexpected continuation line: '  process_failure_recovery_tasks = {'; an option begins in column 0: remove the blanks before it`,
		},
		{
			name: "20 after a blank line", text: "x = 1\n\n  ~ = {\n  'pre': ['a'],\n  'main': ['c'],\n  'post': ['d']}",
			wantErr: `t.conf:4:3: unexpected continuation line: '  process_failure_recovery_tasks = {'; an option begins in column 0: remove the blanks before it`,
		},
		{
			name: "20 swallowed by another flow", text: "instance_failure_recovery_tasks = pre:[],main:[],post:[]\n  ~ = pre:[],main:[],post:[]",
			wantErr: `t.conf:3:3: option process_failure_recovery_tasks stands in the value of [taskflow_driver_recovery_flows] 'instance_failure_recovery_tasks'; an option begins in column 0: remove the blanks before its name; only the lines after it are indented`,
		},
		{
			name: "21", text: "~ = 'pre':['a'],'main':['b'],'post':['c']",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: the key 'pre' is in quotes; write keys without quotes, or put { } around the whole value`,
		},
		{
			name: "22", text: `~ = "pre":["a"],"main":["b"],"post":[]`,
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: the key 'pre' is in quotes; write keys without quotes, or put { } around the whole value`,
		},
		{
			name: "23", text: "~ = pre:['a'],main:['b'],post:['c'],",
			wantErr: `t.conf:2:65: option process_failure_recovery_tasks: a comma at the end of the value; remove it`,
		},
		{
			name: "24", text: "~ = pre:['a'],,main:['b'],post:[]",
			wantErr: `t.conf:2:44: option process_failure_recovery_tasks: two commas with nothing between them; remove one`,
		},
		{
			name: "25", text: "~ = pre:['a',],main:['b'],post:['c']",
			wantErr: `t.conf:2:43: option process_failure_recovery_tasks: an empty task name in pre; remove the comma before ']'`,
		},
		{
			name: "25 in braces", text: "~ = {'pre':['a',],'main':['b'],'post':['c']}",
			wantErr: `t.conf:2:46: option process_failure_recovery_tasks: an empty task name in pre; remove the comma before ']'`,
		},
		{
			name: "26 first", text: "~ = pre:[,'a'],main:[],post:[]",
			wantErr: `t.conf:2:39: option process_failure_recovery_tasks: an empty task name in pre; remove the ','`,
		},
		{
			name: "26 inside", text: "~ = pre:['a',,'b'],main:[],post:[]",
			wantErr: `t.conf:2:43: option process_failure_recovery_tasks: an empty task name in pre; remove the ','`,
		},
		{
			name: "26 quotes", text: "~ = pre:['a',''],main:[],post:[]",
			wantErr: `t.conf:2:43: option process_failure_recovery_tasks: an empty task name in pre; remove it`,
		},
		{
			name: "27", text: "~ = pre:['a',main:['b'],post:['c']",
			wantErr: `t.conf:2:42: option process_failure_recovery_tasks: the '[' of pre is not closed before main; write ']' behind its last task, 'a'`,
		},
		{
			name: "27 at the end", text: "~ = pre:['a'],main:['b'],post:['c'",
			wantErr: `t.conf:2:60: option process_failure_recovery_tasks: the '[' of post is not closed; write ']' behind its last task`,
		},
		{
			name: "27 comma forgotten too", text: "~ = pre:['a' main:['b'],post:['c']",
			wantErr: `t.conf:2:42: option process_failure_recovery_tasks: the '[' of pre is not closed before main; write ']' behind its last task, 'a'`,
		},
		{
			name: "27 in braces", text: "~ = {'pre': ['a', 'main': ['b'], 'post': ['c']}",
			wantErr: `t.conf:2:46: option process_failure_recovery_tasks: the '[' of pre is not closed before main; write ']' behind its last task, 'a'`,
		},
		{
			name: "27 before the brace", text: "~ = {'pre': ['a'], 'main': ['b'], 'post': ['c'}",
			wantErr: `t.conf:2:76: option process_failure_recovery_tasks: the '[' of post is not closed before '}'; write ']' behind its last task`,
		},
		{
			name: "28", text: "~ = pre:['a],main:['b'],post:['c']",
			wantErr: `t.conf:2:39: option process_failure_recovery_tasks: the quote ' before 'a' is not closed before ']'; write ' behind the name`,
		},
		{
			name: "28 at the end of a line", text: "~ = pre:['a,\n  'b'],main:['b'],post:['c']",
			wantErr: `t.conf:2:39: option process_failure_recovery_tasks: the quote ' before 'a,' is not closed before the end of the line; write ' behind the name`,
		},
		{
			name: "28 at the end", text: "~ = pre:[],main:[],post:['c",
			wantErr: `t.conf:2:55: option process_failure_recovery_tasks: the quote ' here is not closed; write ' behind the name`,
		},
		{
			name: "28 other quote", text: `~ = pre:['a"],main:['b'],post:['c']`,
			wantErr: `t.conf:2:41: option process_failure_recovery_tasks: the name that begins with ' holds "; use the same quote at both ends of a name`,
		},
		{
			name: "29", text: "~ = pre:['a'],\n  main:['p',\n   'e']\n  post:['c']",
			wantErr: `t.conf:4:8: option process_failure_recovery_tasks: a comma is missing between 'e' and post; write ',' behind the list of main`,
		},
		{
			name: "29 empty list", text: "~ = pre:['a'],main:[] post:['c']",
			wantErr: `t.conf:2:51: option process_failure_recovery_tasks: a comma is missing between [] and post; write ',' behind the list of main`,
		},
		{
			name: "30", text: "~ = pre:['a' 'b'],main:[],post:[]",
			wantErr: `t.conf:2:42: option process_failure_recovery_tasks: a comma is missing between 'a' and 'b'`,
		},
		{
			name: "30 words", text: "~ = pre:[a b],main:[],post:[]",
			wantErr: `t.conf:2:40: option process_failure_recovery_tasks: a comma is missing between 'a' and 'b'`,
		},
		{
			name: "31", text: "~ = pre:a,main:['b'],post:['c']",
			wantErr: `t.conf:2:38: option process_failure_recovery_tasks: the value of pre is no list; write pre:['a']`,
		},
		{
			name: "32 none", text: "~ = pre:None,main:['b'],post:['c']",
			wantErr: `t.conf:2:38: option process_failure_recovery_tasks: the value of pre is no list; write pre:[] for no tasks`,
		},
		{
			name: "32 tuple", text: "~ = pre:('a'),main:['b'],post:['c']",
			wantErr: `t.conf:2:38: option process_failure_recovery_tasks: the value of pre is no list; write [ ] instead of ( )`,
		},
		{
			name: "32 string", text: "~ = pre:'a',main:['b'],post:['c']",
			wantErr: `t.conf:2:38: option process_failure_recovery_tasks: the value of pre is no list; put [ ] around it: pre:['…']`,
		},
		{
			name: "32 nothing", text: "~ = pre:,main:['b'],post:['c']",
			wantErr: `t.conf:2:38: option process_failure_recovery_tasks: pre has no list; write pre:['…'], or pre:[] for no tasks`,
		},
		{
			name: "33", text: "~ = pre=['a'],main=['b'],post=[]",
			wantErr: `t.conf:2:37: option process_failure_recovery_tasks: '=' behind 'pre'; write pre:[…]`,
		},
		{
			name: "33 no separator", text: "~ = pre['a'],main['b'],post[]",
			wantErr: `t.conf:2:37: option process_failure_recovery_tasks: ':' is missing behind 'pre'; write pre:[…]`,
		},
		{
			name: "34", text: "~ = pre:['a'];main:['b'];post:[]",
			wantErr: `t.conf:2:43: option process_failure_recovery_tasks: ';' between the lists of pre and main; write ','`,
		},
		{
			name: "34 in a list", text: "~ = pre:['a';'b'],main:['b'],post:[]",
			wantErr: `t.conf:2:42: option process_failure_recovery_tasks: ';' behind 'a'; write ','`,
		},
		{
			name: "35", text: "~ = pre:['a'],main:['b'],post:['c']}",
			wantErr: `t.conf:2:65: option process_failure_recovery_tasks: '}' without '{'; remove it, or write '{' before the first key`,
		},
		{
			name: "35 bracket", text: "~ = pre:['a']],main:['b'],post:['c']",
			wantErr: `t.conf:2:43: option process_failure_recovery_tasks: one ']' too many; remove it`,
		},
		{
			name: "36", text: "~ = pre:['a'],pre:['b'],main:[],post:[]",
			wantErr: `t.conf:2:44: option process_failure_recovery_tasks: pre is given twice; put all its tasks into one list`,
		},
		{
			name: "37", text: "~ = :['a'],main:[],post:[]",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: a key is missing before ':'; write pre, main or post`,
		},
		{
			name: "38", text: "~ = {}",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: pre is missing; add pre:['…'], or pre:[] for no tasks`,
		},
		{
			name: "39", text: "~ =",
			wantErr: `t.conf:2:33: option process_failure_recovery_tasks: the value is empty; write pre:[…],main:[…],post:[…], or remove the option to keep the default`,
		},
		{
			name: "40", text: "~ = pre:['a'],main:['b']",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: post is missing; add post:['…'], or post:[] for no tasks`,
		},
		{
			name: "41", text: "~ = Pre:['a'],main:['b'],post:[]",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: unknown key 'Pre'; write pre`,
		},
		{
			name: "42", text: "~ = pre:['a'],main:['b'],post:[],extra:['z']",
			wantErr: `t.conf:2:63: option process_failure_recovery_tasks: unknown key 'extra'; the keys are pre, main and post`,
		},
		{
			name: "42 near", text: "~ = pre:['a'],mian:['b'],post:[]",
			wantErr: `t.conf:2:44: option process_failure_recovery_tasks: unknown key 'mian'; write main`,
		},
		{
			name: "43", text: "~ = pre:['a'],main:['b'],post:[]  # note",
			wantErr: `t.conf:2:64: option process_failure_recovery_tasks: '#' starts no comment here; put the comment above the option, beginning in column 0`,
		},
		{
			name: "43 semicolon", text: "~ = pre:['a'],main:['b'],post:[]  ; note",
			wantErr: `t.conf:2:64: option process_failure_recovery_tasks: ';' starts no comment here; put the comment above the option, beginning in column 0`,
		},
		{
			name: "43 behind the brace", text: "~ = {pre:['a'],main:['b'],post:[]}  # note",
			wantErr: `t.conf:2:66: option process_failure_recovery_tasks: '#' starts no comment here; put the comment above the option, beginning in column 0`,
		},
		{
			name: "44", text: "~ = pre:['a'],\n  # note\n  main:['b'],\n  post:[]",
			wantErr: `t.conf:3:3: option process_failure_recovery_tasks: '#' starts no comment here; put the comment above the option, beginning in column 0`,
		},
		{
			name: "44 in a list", text: "~ = pre:['a',\n  # note\n  'b'],\n  main:['b'],\n  post:[]",
			wantErr: `t.conf:3:3: option process_failure_recovery_tasks: '#' starts no comment here; put the comment above the option, beginning in column 0`,
		},
		{
			name: "45 comment", text: "~ = pre:['a'],\n# note\n    main:['b'],\n    post:[]",
			wantErr: `t.conf:4:5: unexpected continuation line: '    main:['b'],'; the value of 'process_failure_recovery_tasks' ended at the comment in line 3: remove that line, or move it above the option`,
		},
		{
			name: "45 blank line", text: "~ = pre:['a'],\n\n    main:['b'],\n    post:[]",
			wantErr: `t.conf:4:5: unexpected continuation line: '    main:['b'],'; the value of 'process_failure_recovery_tasks' ended at the blank line in line 3: remove that line, or move it above the option`,
		},
		{name: "46", text: "~ = pre:['pkg.mod:Cls'],main:[pkg.mod:Cls],post:[]", want: "pre=pkg.mod:Cls main=pkg.mod:Cls post="},
		{name: "47", text: "~ = pre:['a,b'],main:[],post:[]", want: "pre=a,b main= post="},
		{
			name: "48", text: "~ = pre:[' a '],main:[],post:[]",
			wantErr: `t.conf:2:39: option process_failure_recovery_tasks: blanks within the quotes of ' a '; remove them: they would be a part of the name`,
		},
		{
			name: "49", text: "~ = pre:[['a']],main:[],post:[]",
			wantErr: `t.conf:2:39: option process_failure_recovery_tasks: a list within the list of pre; write the names without [ ] of their own`,
		},
		{name: "50", text: "x = a\n~ = pre:['$x'],main:['${x}_b'],post:['c$$d']", want: "pre=a main=a_b post=c$d"},
		{
			name: "50 unknown", text: "~ = pre:['$y'],main:[],post:[]",
			wantErr: `t.conf:2:40: option [taskflow_driver_recovery_flows] process_failure_recovery_tasks: unknown reference $y; there is no option 'y' in [taskflow_driver_recovery_flows] or [DEFAULT]; write $$ for a dollar sign`,
		},
		{
			name: "50 mistake behind a reference", text: "x = a\n~ = pre:['$x'],main:['b' 'c'],post:[]",
			wantErr: `t.conf:3:54: option process_failure_recovery_tasks: a comma is missing between 'b' and 'c'`,
		},
		{
			name: "50 mistake within a reference", text: "x = a', '\n~ = pre:['$x'],main:[],post:[]",
			wantErr: `t.conf:3:40: option process_failure_recovery_tasks: an empty task name in pre; remove it`,
		},
		{name: "51", text: "~ = pre:['a'],main:['b'],post:[]\n~ = pre:[],main:['c'],post:[]", want: "pre= main=c post="},
		{name: "51 the first is broken", text: "~ = nonsense\n~ = pre:[],main:['c'],post:[]", want: "pre= main=c post="},
		{
			name: "a quote around several lines", text: "~ = \"pre:['a'],\n  main:['b'],\n  post:[]\"",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: the " here is not closed; quotes around the whole value are removed only when they stand at both ends of one line`,
		},
		{
			name: "typographic quotes", text: "~ = pre:[‘a’],main:[],post:[]",
			wantErr: `t.conf:2:39: option process_failure_recovery_tasks: a typographic quote ‘ where a task name is to come; write ' or " instead`,
		},
		{
			name: "no-break space", text: "~ = pre:[a,\u00a0b],main:[],post:[]",
			wantErr: `t.conf:2:41: option process_failure_recovery_tasks: the character U+00A0 where a task name is to come; remove it`,
		},
		{
			name: "zero-width space in quotes", text: "~ = pre:['a\u200b'],main:[],post:[]",
			wantErr: `t.conf:2:41: option process_failure_recovery_tasks: the character U+200B in a task name; remove it`,
		},
		{
			name: "text behind the brace", text: "~ = {pre:[],main:[],post:[]},",
			wantErr: `t.conf:2:58: option process_failure_recovery_tasks: unexpected ',' where the end of the value is to come`,
		},
		{name: "CRLF", text: "~ = {\r\n  'pre': ['a'],\r\n  'main': ['b'],\r\n  'post': []}\r\n", want: "pre=a main=b post="},
		{
			name: "a word", text: "~ = default",
			wantErr: `t.conf:2:34: option process_failure_recovery_tasks: 'default' is no key with a list; the form is pre:['…'],main:['…'],post:['…']`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(t, head+strings.ReplaceAll(tt.text, "~", "process_failure_recovery_tasks")+"\n")
			if err != tt.wantErr {
				t.Fatalf("error = %s\nwant    %s", err, tt.wantErr)
			}
			if err != "" {
				return
			}
			f, ferr := c.Flow(recovery.ProcessFailure)
			if ferr != nil {
				t.Fatal(ferr)
			}
			if got := show(f); got != tt.want {
				t.Errorf("flow = %s, want %s", got, tt.want)
			}
		})
	}
}

// TestFlowPositions: every task knows where it was written, also behind
// continuation lines, outer quotes and references.
func TestFlowPositions(t *testing.T) {
	c, err := load(t, "[taskflow_driver_recovery_flows]\n"+
		"host_auto_failure_recovery_tasks = {\n"+
		"    'pre': ['a',\n"+
		"\t\t'b'], 'main': ['x$$y', 'c'],\n"+
		"    'post': []}\n"+
		"process_failure_recovery_tasks = \"pre:['d'],main:[],post:[]\"\n"+
		"n = a,b,c\n"+
		"instance_failure_recovery_tasks = pre:[$n],main:['e'],post:[]\n")
	if err != "" {
		t.Fatal(err)
	}
	want := map[string]string{
		"a": "3:13", "b": "4:3", "x$y": "4:18", "c": "4:26", "d": "6:40", "e": "8:50",
	}
	auto, _ := c.Flow(recovery.HostAuto)
	process, _ := c.Flow(recovery.ProcessFailure)
	instance, _ := c.Flow(recovery.InstanceFailure)
	for _, refs := range [][]recovery.TaskRef{auto.Pre, auto.Main, process.Pre, instance.Main} {
		for _, r := range refs {
			if got := r.Pos.String(); !strings.HasSuffix(got, "t.conf:"+want[r.Key]) {
				t.Errorf("position of %s = %s, want t.conf:%s", r.Key, got, want[r.Key])
			}
		}
	}
	if got := show(instance); got != "pre=a|b|c main=e post=" {
		t.Errorf("flow = %s", got)
	}
	for _, r := range instance.Pre {
		if got := r.Pos.String(); !strings.HasSuffix(got, "t.conf:8:40") {
			t.Errorf("position of %s = %s, want that of the reference, t.conf:8:40", r.Key, got)
		}
	}
	reserved, _ := c.Flow(recovery.HostReserved)
	if got := reserved.Pos.String(); got != "default" {
		t.Errorf("position of a flow that is not set = %s, want default", got)
	}
}
