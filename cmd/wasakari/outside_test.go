package main

import (
	"strings"
	"testing"
)

// TestHTTPOptions: what is wrong in [http] is told before anything runs, and
// never shows the proxy's password.
func TestHTTPOptions(t *testing.T) {
	t.Parallel()
	const proxy = "wasakari: [http] proxy: want http://[user:password@]host[:port]: invalid\n"
	tests := []struct{ name, conf, want string }{
		{"good", "proxy = http://u:h4nter2@10.0.0.1:3128\ntimeout_seconds = 60\nanswer_kib = 64\n", ""},
		{"proxy of another kind", "proxy = socks5://u:h4nter2@10.0.0.1\n", proxy},
		{"proxy without a host", "proxy = http://:3128\n", proxy},
		{"no CA file", "ca_file = DIR/nowhere.pem\n", "wasakari: [http] ca_file: DIR/nowhere.pem: no such file or directory\n"},
		{"CA file without a certificate", "ca_file = DIR/conf\n", "wasakari: [http] ca_file: no certificate in PEM in it: invalid\n"},
		{"no time", "timeout_seconds = 0\n", "wasakari: DIR/conf:2:19: option [http] timeout_seconds: want an int from 1 to 600, got '0'\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, nil)
			p.write(t, "conf", "[http]\n"+strings.ReplaceAll(tt.conf, "DIR", p.dir))
			r := p.run(t.Context(), t, "check", "--config-file", "DIR/conf")
			if (r.code == exitOK) != (tt.want == "") || r.stderr != tt.want {
				t.Errorf("exit code %d, standard error\n got %q\nwant %q", r.code, r.stderr, tt.want)
			}
			show := p.run(t.Context(), t, "config", "show", "--config-file", "DIR/conf")
			if strings.Contains(r.stdout+r.stderr+show.stdout+show.stderr, "h4nter2") {
				t.Error("the proxy's password is shown")
			}
		})
	}
}
