package openstack

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"github.com/wasakari/wasakari/recovery"
)

// OptionsFromEnv reads the OS_ variables that the openstack command knows from
// environ, which has the form of os.Environ. OS_CLOUD becomes Options.Cloud.
// Errors wrap recovery.ErrInvalid and name the variable.
func OptionsFromEnv(environ []string) (Options, error) {
	env := make(map[string]string)
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, "OS_") {
			env[name] = value
		}
	}
	first := func(names ...string) string {
		for _, n := range names {
			if v := env[n]; v != "" {
				return v
			}
		}
		return ""
	}
	o := Options{
		Cloud:      env["OS_CLOUD"],
		CloudsFile: env["OS_CLIENT_CONFIG_FILE"],

		AuthURL:      env["OS_AUTH_URL"],
		User:         env["OS_USERNAME"],
		UserID:       first("OS_USER_ID", "OS_USERID"),
		UserDomain:   env["OS_USER_DOMAIN_NAME"],
		UserDomainID: env["OS_USER_DOMAIN_ID"],
		Password:     env["OS_PASSWORD"],

		Project:         first("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		ProjectID:       first("OS_PROJECT_ID", "OS_TENANT_ID"),
		ProjectDomain:   env["OS_PROJECT_DOMAIN_NAME"],
		ProjectDomainID: env["OS_PROJECT_DOMAIN_ID"],
		SystemScope:     env["OS_SYSTEM_SCOPE"],
		TrustID:         env["OS_TRUST_ID"],

		ApplicationCredentialID:     env["OS_APPLICATION_CREDENTIAL_ID"],
		ApplicationCredentialName:   env["OS_APPLICATION_CREDENTIAL_NAME"],
		ApplicationCredentialSecret: env["OS_APPLICATION_CREDENTIAL_SECRET"],

		Token: first("OS_TOKEN", "OS_AUTH_TOKEN"),

		Region:           env["OS_REGION_NAME"],
		Interface:        first("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
		EndpointOverride: env["OS_COMPUTE_ENDPOINT_OVERRIDE"],

		CAFile:   env["OS_CACERT"],
		CertFile: env["OS_CERT"],
		KeyFile:  env["OS_KEY"],
	}
	// The general domain stands in for the one that is missing.
	if o.UserDomain == "" && o.UserDomainID == "" {
		o.UserDomain, o.UserDomainID = env["OS_DOMAIN_NAME"], first("OS_DOMAIN_ID", "OS_DEFAULT_DOMAIN")
	}
	if o.ProjectDomain == "" && o.ProjectDomainID == "" {
		o.ProjectDomain, o.ProjectDomainID = env["OS_DOMAIN_NAME"], first("OS_DOMAIN_ID", "OS_DEFAULT_DOMAIN")
	}
	switch strings.ToLower(env["OS_INSECURE"]) {
	case "", "0", "false", "no", "off":
	case "1", "true", "yes", "on":
		o.Insecure = true
	default:
		return Options{}, fmt.Errorf("environment OS_INSECURE %q: %w: want true or false", env["OS_INSECURE"], recovery.ErrInvalid)
	}
	return o, nil
}

// What a YAML decoder quotes of the file may be part of a password.
var quoted = regexp.MustCompile("(?s)`.*`")

// OptionsFromClouds reads the entry cloud of a clouds.yaml and of the
// secure.yaml beside it: of the first of files that is there or, without any,
// of the places that the openstack command looks in. As there, OS_REGION_NAME,
// OS_INTERFACE, OS_CACERT, OS_CERT and OS_KEY of the process's environment
// count before the file. Errors wrap recovery.ErrInvalid, or recovery.ErrNotFound
// when there is no file, and name the file.
func OptionsFromClouds(cloud string, files ...string) (o Options, err error) {
	if cloud == "" {
		return Options{}, fmt.Errorf("clouds.yaml: %w: the name of the cloud is not set", recovery.ErrInvalid)
	}
	file, err := cloudsFile(files)
	if err != nil {
		return Options{}, err
	}
	// The parser dereferences a section that a file may lack.
	defer func() {
		if recover() != nil {
			o, err = Options{}, fmt.Errorf("%s: cloud %q: %w: it has no auth section, or one that cannot be read", file, cloud, recovery.ErrInvalid)
		}
	}()
	auth, endpoint, tlsConfig, err := clouds.Parse(clouds.WithCloudName(cloud), clouds.WithLocations(file))
	if err != nil {
		return Options{}, fmt.Errorf("%s: cloud %q: %w: %s", file, cloud, recovery.ErrInvalid, recovery.OneLine(quoted.ReplaceAllString(err.Error(), "a value")))
	}
	o = Options{
		AuthURL:                     auth.IdentityEndpoint,
		User:                        auth.Username,
		UserID:                      auth.UserID,
		UserDomain:                  auth.DomainName,
		UserDomainID:                auth.DomainID,
		Password:                    auth.Password,
		Token:                       auth.TokenID,
		ApplicationCredentialID:     auth.ApplicationCredentialID,
		ApplicationCredentialName:   auth.ApplicationCredentialName,
		ApplicationCredentialSecret: auth.ApplicationCredentialSecret,
		Region:                      endpoint.Region,
		Interface:                   string(endpoint.Availability),
		tls:                         tlsConfig,
	}
	if s := auth.Scope; s != nil {
		o.TrustID = s.TrustID
		o.Project, o.ProjectID = s.ProjectName, s.ProjectID
		o.ProjectDomain, o.ProjectDomainID = s.DomainName, s.DomainID
		if s.System {
			o.SystemScope = "all"
		}
	}
	return o, nil
}

// cloudsFile finds the clouds.yaml. The first that is there must be readable:
// going on to the next would use another cloud of the same name.
func cloudsFile(files []string) (string, error) {
	if len(files) == 0 {
		if f := os.Getenv("OS_CLIENT_CONFIG_FILE"); f != "" {
			files = []string{f}
		} else {
			home, _ := os.UserHomeDir()
			config := cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
			files = []string{"clouds.yaml", filepath.Join(config, "openstack", "clouds.yaml"), "/etc/openstack/clouds.yaml"}
		}
	}
	for _, f := range files {
		h, err := os.Open(f) //nolint:gosec // the operator names it
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("clouds file: %w: %w", recovery.ErrInvalid, err)
		}
		_ = h.Close()
		return f, nil
	}
	return "", fmt.Errorf("clouds file: %w: looked for %s", recovery.ErrNotFound, strings.Join(files, ", "))
}
