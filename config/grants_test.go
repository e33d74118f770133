package config_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/recovery"
)

func TestGrants(t *testing.T) {
	c, msg := load(t, "[grants]\nacme-recovery = nova.server_list, kv.*,\n  provides:fence_proof\nother/a_task@p1 = options:acme\nnone =\n")
	if msg != "" {
		t.Fatal(msg)
	}
	want := map[string][]string{
		"acme-recovery": {"nova.server_list", "kv.*", "provides:fence_proof"}, "other/a_task@p1": {"options:acme"}, "none": {},
	}
	if got := c.Grants(); !reflect.DeepEqual(got, want) {
		t.Errorf("grants = %v, want %v", got, want)
	}
	item, pos, ok := c.GrantsFor(recovery.Task{Library: "acme-recovery", Key: "x"}).By("provides:fence_proof")
	if !ok || item != "provides:fence_proof" || !strings.HasSuffix(pos.String(), "t.conf:3:3") {
		t.Errorf("By = %s at %s, %t; want it at t.conf:3:3", item, pos, ok)
	}
	if got := warnings(c); len(got) > 0 {
		t.Errorf("warnings = %q", got)
	}
}

// TestGrantsFor: which line holds for which task.
func TestGrantsFor(t *testing.T) {
	c, msg := load(t, "[grants]\nacme = kv.*\nacme/fence = http.request\nacme@p1 = kv.get\nacme/fence@p1 = kv.put\nempty/x =\nempty = kv.*\n")
	if msg != "" {
		t.Fatal(msg)
	}
	tests := []struct {
		name string
		task recovery.Task
		line string
	}{
		{"library", recovery.Task{Library: "acme", Key: "page"}, "acme = kv.*"},
		{"key instead of library", recovery.Task{Library: "acme", Key: "fence"}, "acme/fence = http.request"},
		{"tenant's library", recovery.Task{Library: "acme", Key: "page", Tenant: "p1"}, "acme@p1 = kv.get"},
		{"tenant's key", recovery.Task{Library: "acme", Key: "fence", Tenant: "p1"}, "acme/fence@p1 = kv.put"},
		{"another tenant has nothing", recovery.Task{Library: "acme", Key: "fence", Tenant: "p2"}, "acme@p2 = "},
		{"no line", recovery.Task{Library: "acm", Key: "fence"}, "acm = "},
		{"an empty line takes away", recovery.Task{Library: "empty", Key: "x"}, "empty/x = "},
		{"names that would run into one another", recovery.Task{Library: "acme", Key: "", Tenant: "p1"}, "acme@p1 = kv.get"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := c.GrantsFor(tt.task).Line(); got != tt.line {
				t.Errorf("line = %q, want %q", got, tt.line)
			}
		})
	}
}

func TestGrantsAllow(t *testing.T) {
	c, msg := load(t, "[grants]\nacme = nova.server_list, kv.*, provides:fence_proof, options:Acme, http:POST:https://t.example.com/v1/*, http:*:https://*.example.org/, net:10.1.0.0/16, net:fd00::/8\n")
	if msg != "" {
		t.Fatal(msg)
	}
	g := c.GrantsFor(recovery.Task{Library: "acme"})
	for what, want := range map[string]bool{
		"nova.server_list": true, "nova.server_lis": false, "nova.server_lists": false, "nova.*": false, "nova.server_stop": false, "nova": false,
		"kv.get": true, "kv.*": true, "kv.": true, "kv": false, "kvx.get": false, ".*": false, "": false, "*": false, "kv:get": false,
		"provides:fence_proof": true, "provides:host_name": false, "provides:fence_proof.x": false, "provides:": false, "provides:kv.get": false,
		"options:acme": true, "options:ACME": true, "options:acm": false, "options:acme.x": false,
		"http:POST:https://t.example.com/v1/*": true, "http:POST:https://t.example.com/v1/tickets": true, "http:GET:https://t.example.com/v1/tickets": false,
		"http:*:https://t.example.com/v1/*": false, "http:POST:https://t.example.com/*": false, "http:POST:http://t.example.com/v1/a": false,
		"http:PUT:https://a.example.org/": true, "http:PUT:https://example.org/": false, "http.request": false, "http:": false, "http:POST": false,
		"net:10.1.0.0/16": true, "net:10.0.0.0/8": false,
	} {
		if got := g.Allows(what); got != want {
			t.Errorf("Allows(%q) = %t, want %t", what, got, want)
		}
	}
	if got, want := fmt.Sprint(g.Networks()), "[10.1.0.0/16 fd00::/8]"; got != want {
		t.Errorf("Networks() = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(g.HTTP()), "[POST https://t.example.com/v1/* * https://*.example.org/]"; got != want {
		t.Errorf("HTTP() = %s, want %s", got, want)
	}
	if got, want := c.GrantsFor(recovery.Task{Library: "new"}).Line("kv.*", "kv.*", "provides:x"), "new = kv.*, provides:x"; got != want {
		t.Errorf("Line() = %s, want %s", got, want)
	}
}

// TestLinesRefused: what may not stand in [grants], [libraries] and [secrets].
func TestLinesRefused(t *testing.T) {
	const (
		wantGrant = "want a grant: an op such as nova.server_list, a group such as kv.*, provides:NAME, options:GROUP, http:METHOD:URL or net:CIDR"
		wantPin   = "want a pin: sha256: and 64 hex digits, or ed25519: and a public key in base64"
		wantPlace = "want a place: header:NAME, basic, body or tls"
		origin    = "want the origin first, as https://host or https://host:port, such as https://tickets.example.com"
	)
	tests := []struct{ name, text, want string }{
		{
			"all at once", "[grants]\nAcme = kv.*\nacme = kv.*, nova, nova.server_lst\n",
			"t.conf:2:1: option [grants] 'Acme': not the name of a library; a library has lower-case letters, digits and . _ -\n" +
				"t.conf:3:14: option [grants] acme: " + wantGrant + ", got 'nova'; did you mean nova.*?\n" +
				"t.conf:3:20: option [grants] acme: " + wantGrant + ", got 'nova.server_lst'; did you mean nova.server_list?",
		},
		{"key", "[grants]\nacme/a b = kv.*\n", "t.conf:2:1: option [grants] 'acme/a b': not the name of a library; behind the / stands the key of a task"},
		{"tenant", "[grants]\nacme@ = kv.*\n", "t.conf:2:1: option [grants] 'acme@': not the name of a library; behind the @ stands the id of a project"},
		{"tenant before key", "[grants]\nacme@p/x = kv.*\n", "t.conf:2:1: option [grants] 'acme@p/x': not the name of a library; behind the @ stands the id of a project"},
		{"everything", "[grants]\nacme = *\n", "t.conf:2:8: option [grants] acme: " + wantGrant + ", got '*'"},
		{"group that is none", "[grants]\nacme = nova2.*\n", "t.conf:2:8: option [grants] acme: " + wantGrant + ", got 'nova2.*'; did you mean nova.*?"},
		{"word that is none", "[grants]\nacme = provide:x\n", "t.conf:2:8: option [grants] acme: " + wantGrant + ", got 'provide:x'"},
		{"value", "[grants]\nacme = provides:*\n", "t.conf:2:8: option [grants] acme: want provides:NAME, NAME being that of a value such as fence_proof, got 'provides:*'"},
		{"section", "[grants]\nacme = options:\n", "t.conf:2:8: option [grants] acme: want options:GROUP, GROUP being the name of a section, got 'options:'"},
		{
			"section of others", "[grants]\nacme = options:Keystone_authtoken\n",
			"t.conf:2:8: option [grants] acme: want options:GROUP with a section of the library's own; Keystone_authtoken belongs to Wasakari, Masakari or OpenStack, got 'options:Keystone_authtoken'",
		},
		{
			"request", "[grants]\nacme = http:https://h/*\n",
			`t.conf:2:8: option [grants] acme: want http:METHOD:URL, such as http:POST:https://tickets.example.com/v1/* (rule "https //h/*": method "https": want GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or * for any), got 'http:https://h/*'`,
		},
		{"request without method", "[grants]\nacme = http:x\n", "t.conf:2:8: option [grants] acme: want http:METHOD:URL, such as http:POST:https://tickets.example.com/v1/*, got 'http:x'"},
		{"network", "[grants]\nacme = net:10.1.2.3/16\n", "t.conf:2:8: option [grants] acme: want net:CIDR, such as net:10.1.0.0/16, got 'net:10.1.2.3/16'"},

		{"library of the registry", "[libraries]\nACME =\n", "t.conf:2:1: option [libraries] 'ACME': not the name of a library; a library has lower-case letters, digits and . _ -"},
		{"key in the registry", "[libraries]\nacme/x@p =\n", "t.conf:2:1: option [libraries] 'acme/x@p': not the name of a library; a library is registered as a whole: leave /x out"},
		{"pin", "[libraries]\nacme = md5:00\n", "t.conf:2:8: option [libraries] acme: " + wantPin + ", got 'md5:00'"},
		{"digest too short", "[libraries]\nacme = sha256:00ff\n", "t.conf:2:8: option [libraries] acme: " + wantPin + ", got 'sha256:00ff'"},
		{"key of a wrong length", "[libraries]\nacme =\n  ed25519:AAAA\n", "t.conf:3:3: option [libraries] acme: " + wantPin + ", got 'ed25519:AAAA'; wasakari task sign prints the key's line"},

		{"secret without a section", "[secrets]\ntoken = https://h body\n", "t.conf:2:1: option [secrets] 'token': not the name of an option; write SECTION.OPTION, such as acme.token"},
		{
			"secret of others", "[secrets]\nDEFAULT.os_privileged_user_password = https://h body\n",
			"t.conf:2:1: option [secrets] 'DEFAULT.os_privileged_user_password': not the name of a task's option; section DEFAULT belongs to Wasakari, Masakari or OpenStack; no task reads it",
		},
		{"origin", "[secrets]\na.b = tickets.example.com body\n", "t.conf:2:7: option [secrets] a.b: " + origin + ", got 'tickets.example.com'"},
		{"origin in the clear", "[secrets]\na.b = http://h body\n", "t.conf:2:7: option [secrets] a.b: " + origin + ", got 'http://h'"},
		{"origin with a path", "[secrets]\na.b = https://h/x body\n", "t.conf:2:7: option [secrets] a.b: " + origin + ", got 'https://h/x'"},
		{"origin with a user", "[secrets]\na.b = https://u:p@h body\n", "t.conf:2:7: option [secrets] a.b: " + origin},
		{"any origin", "[secrets]\na.b = https://*.com body\n", "t.conf:2:7: option [secrets] a.b: " + origin + ", got 'https://*.com'"},
		{"nothing", "[secrets]\na.b =\n", "t.conf:2:6: option [secrets] a.b: " + origin + ", got ''"},
		{"no place", "[secrets]\na.b = https://h\n", "t.conf:2:7: option [secrets] a.b: want ORIGIN PLACE, such as https://tickets.example.com header:Authorization, got 'https://h'"},
		{"places", "[secrets]\na.b = https://h body, url,\n  header:A B\n", "t.conf:2:23: option [secrets] a.b: " + wantPlace + ", got 'url'\nt.conf:3:3: option [secrets] a.b: " + wantPlace + ", got 'header:A B'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := load(t, tt.text); got != tt.want {
				t.Errorf("error = %s\nwant    %s", got, tt.want)
			}
		})
	}
}

func TestLibraries(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)).Public().(ed25519.PublicKey)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)).Public().(ed25519.PublicKey)
	digest := strings.Repeat("ab", 32)
	_, msg := load(t, "[libraries]\nopen =\nacme = SHA, "+config.PublicKey(key)+"\nacme@p1 =\n\n[grants]\nacme = kv.*\n")
	if !strings.Contains(msg, "got 'SHA'") {
		t.Errorf("error = %s", msg)
	}
	c, msg := load(t, "[libraries]\nopen =\nacme = sha256:"+strings.ToUpper(digest)+", "+config.PublicKey(key)+"\nacme@p1 =\n")
	if msg != "" {
		t.Fatal(msg)
	}
	if !c.Registers() {
		t.Error("a section [libraries] registers nothing")
	}
	if got := warnings(c); len(got) > 0 {
		t.Errorf("warnings = %q", got)
	}
	acme, ok := c.Registration("acme", "")
	if !ok || !acme.Pinned() || !strings.HasSuffix(acme.Pos.String(), "t.conf:3:1") {
		t.Fatalf("acme = %+v, %t", acme, ok)
	}
	tests := []struct {
		name    string
		library string
		tenant  string
		digest  string
		key     ed25519.PublicKey
		known   bool
		takes   bool
	}{
		{"digest", "acme", "", digest, nil, true, true},
		{"signature", "acme", "", "00", key, true, true},
		{"neither", "acme", "", "00", nil, true, false},
		{"signature of another", "acme", "", "00", other, true, false},
		{"no pins", "open", "", "00", nil, true, true},
		{"tenant's", "acme", "p1", "00", nil, true, true},
		{"another tenant's", "acme", "p2", digest, key, false, true},
		{"unknown", "acm", "", digest, key, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := c.Registration(tt.library, tt.tenant)
			if ok != tt.known || r.Takes(tt.digest, tt.key) != tt.takes {
				t.Errorf("known %t, takes %t; want %t, %t", ok, r.Takes(tt.digest, tt.key), tt.known, tt.takes)
			}
		})
	}
	for _, text := range []string{"", "[libraries]\n"} {
		if c, msg = load(t, text); msg != "" || c.Registers() {
			t.Errorf("%q registers: %s", text, msg)
		}
	}
}

func TestTaskSecrets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spec := func(group, name string) recovery.OptionSpec {
		return recovery.OptionSpec{Group: group, Name: name, Type: recovery.StringOption, Secret: true}
	}
	c, msg := load(t, "[acme]\ntoken = s3cret-one\npassword = file:"+file("pw", "two\r\n")+"\nkey = file:"+file("key", "-----BEGIN-----\nx\n")+"\nqueue = ops\nloose = s3cret-four\n"+
		"[secrets]\nacme.token = https://Tickets.example.com:443 header:x-auth-token, basic,basic\nAcme.password = https://h:8443\n  body\nacme.key = https://[2001:DB8::1] tls\n")
	if msg != "" {
		t.Fatal(msg)
	}
	specs := []recovery.OptionSpec{
		spec("acme", "token"), spec("acme", "password"), spec("acme", "key"), spec("acme", "loose"), spec("acme", "unset"),
		{Group: "acme", Name: "queue", Type: recovery.StringOption},
	}
	got, err := c.Secrets(specs)
	if err != nil {
		t.Fatal(err)
	}
	at := func(line, col int) recovery.Position {
		return recovery.Position{File: c.Files()[0], Line: line, Col: col}
	}
	want := map[string]recovery.Secret{
		"acme.token":    {Name: "acme.token", Value: "s3cret-one", Origin: "https://tickets.example.com", Places: []string{"header:X-Auth-Token", "basic"}, Pos: at(2, 9)},
		"acme.password": {Name: "acme.password", Value: "two", Origin: "https://h:8443", Places: []string{"body"}, Pos: at(3, 12)},
		"acme.key":      {Name: "acme.key", Value: "-----BEGIN-----\nx", Origin: "https://[2001:db8::1]", Places: []string{"tls"}, Pos: at(4, 7)},
		"acme.loose":    {Name: "acme.loose", Value: "s3cret-four", Pos: at(6, 9)},
	}
	if !reflect.DeepEqual(got, want) {
		for name, s := range got {
			t.Errorf("%s = %q %q %q at %s, want %q %q %q at %s", name, s.Value, s.Origin, s.Places, s.Pos, want[name].Value, want[name].Origin, want[name].Places, want[name].Pos)
		}
	}
	if got["acme.loose"].Bound() || !got["acme.token"].Bound() {
		t.Error("the wrong secrets are bound")
	}

	// A task has handles only.
	options, err := c.TaskOptions(specs)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	wantDoc := `{"acme":{"key":{"$secret":"acme.key"},"loose":{"$secret":"acme.loose"},"password":{"$secret":"acme.password"},"queue":"ops","token":{"$secret":"acme.token"}}}`
	if string(doc) != wantDoc {
		t.Errorf("options = %s\nwant      %s", doc, wantDoc)
	}
	for group, names := range options {
		for name, v := range names {
			if s, ok := v.(recovery.Secret); ok && s.Value != "" {
				t.Errorf("option [%s] %s carries its value", group, name)
			}
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, *c); strings.Contains(text, "s3cret") || strings.Contains(text, dir) {
		t.Errorf("a secret is shown: %s", text)
	}
	settings, err := c.Effective(recovery.Task{Key: "x", Library: "acme", Options: specs})
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for _, s := range settings {
		lines[s.Group+" "+s.Name] = s.Text()
	}
	for name, want := range map[string]string{
		"acme token": "****", "acme password": "****", "acme queue": "ops",
		"secrets acme.token": "https://tickets.example.com header:X-Auth-Token, basic", "secrets acme.key": "https://[2001:db8::1] tls",
	} {
		if lines[name] != want {
			t.Errorf("config show: %s = %s, want %s", name, lines[name], want)
		}
	}
}

// TestBoundIsSecret: a line in [secrets] makes an option a secret, whatever a
// task calls it.
func TestBoundIsSecret(t *testing.T) {
	c, msg := load(t, "[acme]\ntoken = s3cret\n[secrets]\nacme.token = https://h body\n")
	if msg != "" {
		t.Fatal(msg)
	}
	specs := []recovery.OptionSpec{{Group: "Acme", Name: "token", Type: recovery.StringOption}}
	options, err := c.TaskOptions(specs)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := json.Marshal(options); err != nil || string(doc) != `{"Acme":{"token":{"$secret":"Acme.token"}}}` {
		t.Errorf("options = %s, %v", doc, err)
	}
	settings, err := c.Effective(recovery.Task{Key: "x", Library: "acme", Options: specs})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if s.Name == "token" && (!s.Secret || s.Text() != "****") {
			t.Errorf("config show: %s, secret %t", s.Text(), s.Secret)
		}
	}
}

func TestSecretFilesRefused(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "\n", "large": strings.Repeat("x", 64<<10+1), "binary": "a\xffb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	specs := []recovery.OptionSpec{{Group: "acme", Name: "token", Type: recovery.StringOption, Secret: true}}
	const hint = "; want file: and the absolute path of a file that holds the value alone"
	for path, want := range map[string]string{
		"relative":                   "is not named by an absolute path",
		"":                           "is not named by an absolute path",
		filepath.Join(dir, "nope"):   "cannot be read: no such file or directory",
		dir:                          "is not a regular file",
		filepath.Join(dir, "empty"):  "is empty",
		filepath.Join(dir, "large"):  "has more than 64 KiB",
		filepath.Join(dir, "binary"): "is not UTF-8 text",
	} {
		f, src := write(t, "[acme]\ntoken = file:"+path+"\n")
		c, err := config.Load(src)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Secrets(specs)
		if got, want := fmt.Sprint(err), f+":2:9: option [acme] token: its file "+want+hint; got != want {
			t.Errorf("error = %s\nwant    %s", got, want)
		}
	}
}

// TestSecretInside: what is made of a secret is no value for a task.
func TestSecretInside(t *testing.T) {
	f, src := write(t, "[DEFAULT]\nos_privileged_user_password = s3cret\n[acme]\nurl = https://x/$os_privileged_user_password\ntwice = $url\nbound = $x.y\nplain = $x.z\n[x]\ny = s3cret\nz = 1\n[secrets]\nx.y = https://h body\n")
	c, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	specs := []recovery.OptionSpec{
		{Group: "acme", Name: "url", Type: recovery.StringOption},
		{Group: "acme", Name: "twice", Type: recovery.ListOption},
		{Group: "acme", Name: "bound", Type: recovery.StringOption},
		{Group: "acme", Name: "plain", Type: recovery.StringOption},
	}
	_, err = c.TaskOptions(specs)
	const rest = " is made of the value of a secret, which no task may see; a task has secrets as options of its own that its manifest calls secret"
	want := f + ":4:7: option [acme] url" + rest + "\n" + f + ":5:9: option [acme] twice" + rest + "\n" + f + ":6:9: option [acme] bound" + rest
	if got := fmt.Sprint(err); got != want {
		t.Errorf("error = %s\nwant    %s", got, want)
	}
}

// FuzzLines: no panic; every mistake has its place; what is accepted is
// printed so that it reads the same.
func FuzzLines(f *testing.F) {
	for _, s := range []string{
		"acme|kv.*, nova.server_list, provides:x, options:acme, http:POST:https://h.example.com/*, net:10.0.0.0/8", "a/b@c|", "A|x",
		"acme|sha256:" + hex.EncodeToString(make([]byte, 32)), "acme@p|ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"acme.token|https://h:1 header:X, basic, body, tls", "a.b|https://[::1] body", "a.b.c|https://h body,,", "a.b|$x", "a.b|https://h\n body",
	} {
		name, value, _ := strings.Cut(s, "|")
		f.Add(name, value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if len(name)+len(value) > 1<<12 {
			return
		}
		for _, group := range []string{"grants", "libraries", "secrets"} {
			read := func(value string) (*config.Config, error) {
				return config.Load(config.Sources{Flags: []config.Flag{{Group: group, Name: name, Value: value, Origin: "fuzz"}}})
			}
			c, err := read(value)
			if err != nil {
				for line := range strings.SplitSeq(err.Error(), "\n") {
					if !strings.HasPrefix(line, "fuzz: ") {
						t.Fatalf("[%s] %q = %q: a mistake without a place: %s", group, name, value, line)
					}
				}
				continue
			}
			settings, err := c.Effective()
			if err != nil {
				t.Fatal(err)
			}
			s := settings[len(settings)-1]
			if s.Group != group || s.Name != name {
				t.Fatalf("[%s] %q = %q is not shown", group, name, value)
			}
			text := strings.ReplaceAll(strings.Join(s.Value.([]string), ", "), "$", "$$")
			again, err := read(text)
			if err != nil {
				t.Fatalf("[%s] %q = %q is printed as %q: %v", group, name, value, text, err)
			}
			after, err := again.Effective()
			if err != nil || !reflect.DeepEqual(after[len(after)-1].Value, s.Value) {
				t.Fatalf("[%s] %q = %q is printed as %q, which reads %q, %v", group, name, value, text, after[len(after)-1].Value, err)
			}
		}
	})
}
