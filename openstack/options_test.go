package openstack_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// forget hides the environment that clouds.yaml is read under.
func forget(t *testing.T) {
	t.Helper()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
}

func TestOptionsFromEnv(t *testing.T) {
	tests := []struct {
		name string
		vars map[string]string
		want openstack.Options
	}{
		{
			"names",
			map[string]string{
				"OS_AUTH_URL": "http://k/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "pr",
				"OS_USER_DOMAIN_NAME": "ud", "OS_PROJECT_DOMAIN_NAME": "pd", "OS_REGION_NAME": "r", "OS_INTERFACE": "internal",
				"OS_CACERT": "/ca", "OS_CERT": "/cert", "OS_KEY": "/key", "OS_INSECURE": "True",
			},
			openstack.Options{
				AuthURL: "http://k/v3", User: "u", Password: "p", Project: "pr", UserDomain: "ud", ProjectDomain: "pd",
				Region: "r", Interface: "internal", CAFile: "/ca", CertFile: "/cert", KeyFile: "/key", Insecure: true,
			},
		},
		{
			"ids",
			map[string]string{
				"OS_USER_ID": "u", "OS_PROJECT_ID": "pr", "OS_USER_DOMAIN_ID": "ud", "OS_PROJECT_DOMAIN_ID": "pd",
				"OS_SYSTEM_SCOPE": "all", "OS_TOKEN": "t", "OS_INSECURE": "0", "OS_TRUST_ID": "tr",
				"OS_COMPUTE_ENDPOINT_OVERRIDE": "http://n",
			},
			openstack.Options{
				UserID: "u", ProjectID: "pr", UserDomainID: "ud", ProjectDomainID: "pd", SystemScope: "all", Token: "t", TrustID: "tr",
				EndpointOverride: "http://n",
			},
		},
		{
			"application credential, general domain",
			map[string]string{
				"OS_APPLICATION_CREDENTIAL_ID": "i", "OS_APPLICATION_CREDENTIAL_NAME": "n", "OS_APPLICATION_CREDENTIAL_SECRET": "s",
				"OS_DOMAIN_NAME": "d", "OS_ENDPOINT_TYPE": "adminURL",
			},
			openstack.Options{
				ApplicationCredentialID: "i", ApplicationCredentialName: "n", ApplicationCredentialSecret: "s",
				UserDomain: "d", ProjectDomain: "d", Interface: "adminURL",
			},
		},
		{
			"old names",
			map[string]string{"OS_TENANT_NAME": "a", "OS_TENANT_ID": "b", "OS_USERID": "c"},
			openstack.Options{Project: "a", ProjectID: "b", UserID: "c"},
		},
		{"cloud", map[string]string{"OS_CLOUD": "c", "OS_CLIENT_CONFIG_FILE": "/f"}, openstack.Options{Cloud: "c", CloudsFile: "/f"}},
		{"nothing", nil, openstack.Options{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := openstack.OptionsFromEnv(environ(tt.vars))
			if err != nil {
				t.Fatal(err)
			}
			if show(got) != show(tt.want) {
				t.Errorf("options = %s, want %s", show(got), show(tt.want))
			}
		})
	}
	_, err := openstack.OptionsFromEnv([]string{"OS_INSECURE=maybe"})
	if !errors.Is(err, recovery.ErrInvalid) || !strings.Contains(err.Error(), "OS_INSECURE") {
		t.Errorf("err = %v, want ErrInvalid that names OS_INSECURE", err)
	}
}

// show prints every field, secrets too.
func show(o openstack.Options) string {
	type plain openstack.Options
	return fmt.Sprintf("%+v", plain(o))
}

func TestOptionsFromClouds(t *testing.T) {
	forget(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "clouds.yaml")
	write(t, file, `clouds:
  names:
    auth: {auth_url: http://k/v3, username: u, password: old, project_name: pr, user_domain_name: ud, project_domain_name: pd}
    region_name: r
    interface: internal
  credential:
    auth_type: v3applicationcredential
    auth: {auth_url: http://k/v3, application_credential_id: i, application_credential_secret: s}
  system:
    auth: {auth_url: http://k/v3, user_id: u, password: p, system_scope: all}
  trust:
    auth: {auth_url: http://k/v3, user_id: u, password: p, trust_id: t}
  bare: {}
  certificate:
    auth: {auth_url: http://k/v3}
    cacert: /nowhere/ca.pem
`)
	write(t, filepath.Join(dir, "secure.yaml"), "clouds:\n  names:\n    auth: {password: new}\n")
	tests := []struct {
		cloud string
		want  openstack.Options
		text  []string // of an error
	}{
		{cloud: "names", want: openstack.Options{
			AuthURL: "http://k/v3", User: "u", Password: "new", Project: "pr", UserDomain: "ud", ProjectDomain: "pd", Region: "r", Interface: "internal",
		}},
		{cloud: "credential", want: openstack.Options{AuthURL: "http://k/v3", ApplicationCredentialID: "i", ApplicationCredentialSecret: "s", Interface: "public"}},
		{cloud: "system", want: openstack.Options{AuthURL: "http://k/v3", UserID: "u", Password: "p", SystemScope: "all", Interface: "public"}},
		{cloud: "trust", want: openstack.Options{AuthURL: "http://k/v3", UserID: "u", Password: "p", TrustID: "t", Interface: "public"}},
		{cloud: "bare", text: []string{file, "auth section"}},
		{cloud: "certificate", text: []string{file, "/nowhere/ca.pem"}},
		{cloud: "missing", text: []string{file, `cloud "missing" not found`}},
		{cloud: "", text: []string{"name of the cloud is not set"}},
	}
	for _, tt := range tests {
		t.Run(tt.cloud, func(t *testing.T) {
			got, err := openstack.OptionsFromClouds(tt.cloud, file)
			if tt.text != nil {
				if !errors.Is(err, recovery.ErrInvalid) {
					t.Fatalf("err = %v, want ErrInvalid", err)
				}
				for _, text := range tt.text {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("err = %q, want %q in it", err, text)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want.String() || got.Password != tt.want.Password || got.UserDomain != tt.want.UserDomain ||
				got.ProjectDomain != tt.want.ProjectDomain || got.TrustID != tt.want.TrustID ||
				got.ApplicationCredentialSecret != tt.want.ApplicationCredentialSecret {
				t.Errorf("options = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCloudsFiles(t *testing.T) {
	forget(t)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.yaml"), filepath.Join(dir, "second.yaml")
	entry := "clouds: {c: {auth: {auth_url: 'http://%s/v3', username: u, password: p}}}\n"
	write(t, second, fmt.Sprintf(entry, "second"))

	url := func(files ...string) string {
		o, err := openstack.OptionsFromClouds("c", files...)
		if err != nil {
			return err.Error()
		}
		return o.AuthURL
	}
	if got := url(first, second); got != "http://second/v3" {
		t.Errorf("first of two missing: %s", got)
	}
	write(t, first, fmt.Sprintf(entry, "first"))
	if got := url(first, second); got != "http://first/v3" {
		t.Errorf("both there: %s", got)
	}
	if _, err := openstack.OptionsFromClouds("c", filepath.Join(dir, "none")); !errors.Is(err, recovery.ErrNotFound) || !strings.Contains(err.Error(), filepath.Join(dir, "none")) {
		t.Errorf("err = %v, want ErrNotFound with the place", err)
	}
	write(t, first, "clouds: {c: {auth: hunter2}}")
	if got := url(first); !strings.Contains(got, first) || strings.Contains(got, "hunter2") {
		t.Errorf("err = %q, want the file in it and not what was read", got)
	}
	write(t, first, "clouds: [")
	if got := url(first); !strings.Contains(got, first) {
		t.Errorf("err = %q, want the file in it", got)
	}

	t.Setenv("OS_CLIENT_CONFIG_FILE", second)
	if got := url(); got != "http://second/v3" {
		t.Errorf("OS_CLIENT_CONFIG_FILE: %s", got)
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", "")
	t.Chdir(dir)
	write(t, filepath.Join(os.Getenv("HOME"), ".config", "openstack", "clouds.yaml"), fmt.Sprintf(entry, "home"))
	if got := url(); got != "http://home/v3" {
		t.Errorf("home: %s", got)
	}
	write(t, "clouds.yaml", fmt.Sprintf(entry, "here"))
	if got := url(); got != "http://here/v3" {
		t.Errorf("current directory: %s", got)
	}
}

func TestConnectFromSources(t *testing.T) {
	forget(t)
	f := newCloud(t, nil)
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	write(t, file, fmt.Sprintf("clouds: {c: {auth: {auth_url: '%s/v3', username: yaml-user, password: yaml-pw, project_name: p}, region_name: Two}}\n", f.URL))
	tests := []struct {
		name    string
		options openstack.Options
		user    string
		path    string
	}{
		{"clouds.yaml", openstack.Options{Cloud: "c", CloudsFile: file}, "yaml-user", "/two/v2.1/os-services"},
		{"clouds.yaml, own region", openstack.Options{Cloud: "c", CloudsFile: file, Region: "One"}, "yaml-user", "/v2.1/os-services"},
		{"clouds.yaml, own user", openstack.Options{Cloud: "c", CloudsFile: file, User: "me", Password: "mine"}, "me", "/two/v2.1/os-services"},
		{"environment", openstack.Options{Environ: []string{"OS_AUTH_URL=" + f.URL + "/v3", "OS_USERNAME=env-user", "OS_PASSWORD=p", "OS_REGION_NAME=Two"}}, "env-user", "/two/v2.1/os-services"},
		{"environment names a cloud", openstack.Options{Environ: []string{"OS_CLOUD=c", "OS_CLIENT_CONFIG_FILE=" + file}}, "yaml-user", "/two/v2.1/os-services"},
		{"cloud before environment", openstack.Options{Cloud: "c", CloudsFile: file, Environ: []string{"OS_USERNAME=env-user", "OS_PASSWORD=p"}}, "yaml-user", "/two/v2.1/os-services"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(f.requests())
			c, err := openstack.Connect(t.Context(), tt.options)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = c.Services(t.Context(), recovery.ServiceFilter{})
			if r := f.requests()[before]; !strings.Contains(r.body, `"`+tt.user+`"`) {
				t.Errorf("login = %s, want user %s", r.body, tt.user)
			}
			if got := f.last().path; got != tt.path {
				t.Errorf("path = %s, want %s", got, tt.path)
			}
		})
	}
	if _, err := openstack.Connect(t.Context(), openstack.Options{Environ: []string{"OS_INSECURE=x"}}); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("bad environment: err = %v, want ErrInvalid", err)
	}
	if _, err := openstack.Connect(t.Context(), openstack.Options{Cloud: "no", CloudsFile: file}); !errors.Is(err, recovery.ErrInvalid) {
		t.Errorf("bad cloud: err = %v, want ErrInvalid", err)
	}
}

func TestOptionsHideSecrets(t *testing.T) {
	o := openstack.Options{
		AuthURL: "http://u:secret-0@k/v3", User: "admin", Password: "secret-1", ApplicationCredentialID: "app",
		ApplicationCredentialSecret: "secret-2", Token: "secret-3", Environ: []string{"OS_PASSWORD=secret-4"},
	}
	for _, text := range []string{o.String(), fmt.Sprint(o), fmt.Sprintf("%v %+v %#v %s", o, &o, o, o)} {
		if strings.Contains(text, "secret-") {
			t.Errorf("%s shows a secret", text)
		}
		if !strings.Contains(text, "admin") {
			t.Errorf("%s does not say who", text)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
