package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/novasim"
	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// cloudFlags say which cloud to act on.
type cloudFlags struct {
	osCloud  string
	simulate bool
	scenario string
	// observe is told of each request to the cloud; may be nil.
	observe requestObserver
}

// requestObserver is what openstack.Options.Observe is.
type requestObserver = func(service string, req *http.Request) (_ *http.Request, done func(status int, header http.Header, err error))

func (c *cloudFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.osCloud, "os-cloud", "", "`name` of a cloud in clouds.yaml (default: OS_CLOUD, then the other OS_* variables,\nthen os_privileged_user_* of the configuration)")
	f.BoolVar(&c.simulate, "simulate", false, "act on a simulated cloud instead of a real one")
	f.StringVar(&c.scenario, "scenario", "", "`file` that describes the simulated cloud (default: four hosts, 20 servers on compute-1)")
}

// cloud is a connection, and the simulated cloud behind it if there is one.
type cloud struct {
	*openstack.Client
	sim *novasim.Cloud
	// what names the cloud for a person.
	what string
}

func (c *cloud) close() {
	c.Close()
	if c.sim != nil {
		_ = c.sim.Close() // in memory; nothing can be lost
	}
}

// contradiction refuses flags that do not go together.
func (c *cloudFlags) contradiction() error {
	switch {
	case c.scenario != "" && !c.simulate:
		return usagef("--scenario: only with --simulate; add it")
	case c.simulate && c.osCloud != "":
		return usagef("--simulate and --os-cloud: choose one")
	}
	return nil
}

// connect logs in. failed names the host that is to be recovered: a simulated
// one is killed first.
func (c *cloudFlags) connect(ctx context.Context, w world, cfg *config.Config, log *zap.Logger, failed string) (*cloud, error) {
	if c.simulate {
		return c.simulated(ctx, cfg, log, failed)
	}
	opt, what, err := c.options(w, cfg)
	if err != nil {
		return nil, &usageError{err}
	}
	opt.Observe = c.observe
	return login(ctx, opt, cfg, log, nil, what)
}

func (c *cloudFlags) simulated(ctx context.Context, cfg *config.Config, log *zap.Logger, failed string) (*cloud, error) {
	sc, err := readScenario(c.scenario)
	if err != nil {
		return nil, err
	}
	sim, err := novasim.New(sc, novasim.Options{Logger: log.Named("novasim")})
	if err != nil {
		return nil, &usageError{err}
	}
	if failed != "" {
		if err := sim.FailHost(failed); err != nil {
			var there []string
			for _, s := range sim.Services() {
				there = append(there, s.Host)
			}
			return nil, errors.Join(usagef("%w; it has %s", err, strings.Join(there, ", ")), sim.Close())
		}
	}
	// The simulated cloud outlives an interruption: locks are still to be taken off.
	server, err := sim.Start(context.WithoutCancel(ctx), "")
	if err != nil {
		return nil, errors.Join(err, sim.Close())
	}
	opt := simOptions(sim, server.URL)
	opt.Observe = c.observe
	cl, err := login(ctx, opt, cfg, log, sim, "a simulated cloud")
	if err != nil {
		return nil, errors.Join(err, sim.Close())
	}
	return cl, nil
}

func simOptions(sim *novasim.Cloud, url string) openstack.Options {
	cr := sim.Credentials()
	return openstack.Options{
		AuthURL: url, User: cr.Username, Password: cr.Password, Project: cr.ProjectName,
		UserDomain: cr.UserDomainName, ProjectDomain: cr.ProjectDomainName, Region: cr.Region,
	}
}

func readScenario(file string) (*novasim.Scenario, error) {
	if file == "" {
		return novasim.DemoScenario(), nil
	}
	text, err := readFile(file, novasim.MaxScenarioBytes)
	if err != nil {
		return nil, err
	}
	sc, err := novasim.ParseScenario(file, text)
	if err != nil {
		return nil, &usageError{err}
	}
	return sc, nil
}

func login(ctx context.Context, opt openstack.Options, cfg *config.Config, log *zap.Logger, sim *novasim.Cloud, what string) (*cloud, error) {
	opt.Timeout = cfg.Wasakari.NovaTimeout
	opt.Logger = log.Named("openstack")
	opt.UserAgent = "wasakari/" + version
	client, err := openstack.Connect(ctx, opt)
	if err != nil {
		return nil, usagef("%s: %w%s", what, err, loginHint(err))
	}
	return &cloud{Client: client, sim: sim, what: what}, nil
}

// loginHint says what to do when a cloud cannot be used.
func loginHint(err error) string {
	switch {
	case errors.Is(err, recovery.ErrUnauthorized):
		return "; check user, password, project and their domains"
	case errors.Is(err, recovery.ErrUnavailable), errors.Is(err, recovery.ErrTimeout):
		return "; check the URL, and that this machine reaches it"
	}
	return ""
}

// options chooses where the credentials come from.
func (c *cloudFlags) options(w world, cfg *config.Config) (openstack.Options, string, error) {
	name := c.osCloud
	if name == "" {
		name = w.env("OS_CLOUD")
	}
	n := cfg.Nova
	switch {
	case name != "":
		opt, err := cloudOptions(w, name)
		return opt, "cloud " + name, err
	case w.env("OS_AUTH_URL") != "":
		opt, err := openstack.OptionsFromEnv(w.environ)
		return opt, "cloud of the OS_* variables", err
	case n.AuthURL != "":
		opt, err := privilegedUser(n)
		return opt, "cloud of os_privileged_user_auth_url", err
	}
	return openstack.Options{}, "", errors.New("no cloud to act on; name one with --os-cloud, set OS_CLOUD or OS_AUTH_URL, " +
		"set os_privileged_user_auth_url in the configuration, or try --simulate")
}

// cloudOptions reads a cloud of clouds.yaml.
func cloudOptions(w world, name string) (openstack.Options, error) {
	var files []string
	if file := w.env("OS_CLIENT_CONFIG_FILE"); file != "" {
		files = []string{file}
	}
	opt, err := openstack.OptionsFromClouds(name, files...)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		err = fmt.Errorf("%w; make it, or name another in OS_CLIENT_CONFIG_FILE", err)
	case err != nil:
		err = fmt.Errorf("%w; check --os-cloud and OS_CLOUD", err)
	}
	return opt, err
}

// privilegedUser takes Masakari's own credentials.
func privilegedUser(n config.Nova) (openstack.Options, error) {
	opt := openstack.Options{
		AuthURL: n.AuthURL, User: n.UserName, Password: string(n.Password), Project: n.Tenant,
		UserDomain: n.UserDomainName, ProjectDomain: n.ProjectDomainName, SystemScope: n.SystemScope,
		Region: n.RegionName, Insecure: n.APIInsecure, CAFile: n.CACertificatesFile,
	}
	var missing []string
	for _, o := range []struct{ name, value string }{
		{"os_privileged_user_name", opt.User}, {"os_privileged_user_password", opt.Password},
	} {
		if o.value == "" {
			missing = append(missing, o.name)
		}
	}
	if len(missing) > 0 {
		return opt, fmt.Errorf("[DEFAULT] os_privileged_user_auth_url is set, but not %s; set it too, or name a cloud with --os-cloud", strings.Join(missing, " and "))
	}
	parts := strings.Split(n.CatalogAdminInfo, ":")
	if len(parts) != 3 {
		return opt, fmt.Errorf("nova_catalog_admin_info: %w: want type:name:interface", recovery.ErrInvalid)
	}
	opt.ServiceType, opt.ServiceName = parts[0], parts[1]
	opt.Interface = strings.TrimSuffix(parts[2], "URL")
	return opt, nil
}

func newSimulate(w world) *cobra.Command {
	var scenario, listen, logLevel, writeClouds string
	var endpoints []string
	var seed int64
	var printScenario bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated cloud for any Nova client",
		Long: `Serves Keystone and Nova of a simulated cloud over HTTP until it is interrupted:
hosts that fail, servers that move, faults that you choose. Any client of
OpenStack can use it; the credentials are printed at the start.

The cloud lives in memory and forgets everything at its end.`,
		Example: `  wasakari simulate --print-scenario > cloud.yaml      # a scenario to begin with; novasim/README.md explains each field
  wasakari simulate --scenario cloud.yaml --listen 127.0.0.1:5000 --write-clouds clouds.yaml
  OS_CLIENT_CONFIG_FILE=clouds.yaml openstack --os-cloud simulated server list --all-projects`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if printScenario {
				_, err := w.stdout.Write(novasim.DemoYAML())
				return err
			}
			log, err := newLogger(w, logLevel)
			if err != nil {
				return err
			}
			sc, err := readScenario(scenario)
			if err != nil {
				return err
			}
			further := map[string]string{}
			for _, e := range endpoints {
				kind, address, _ := strings.Cut(e, "=")
				u, err := url.Parse(address)
				if err != nil || kind == "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
					return usagef("--endpoint %s: want TYPE=URL, such as instance-ha=http://127.0.0.1:15868/v1", e)
				}
				further[kind] = address
			}
			sim, err := novasim.New(sc, novasim.Options{Seed: seed, Logger: log.Named("novasim"), Endpoints: further})
			if err != nil {
				return &usageError{err}
			}
			defer sim.Close() //nolint:errcheck // in memory; nothing can be lost
			server, err := sim.Start(cmd.Context(), listen)
			if err != nil {
				return usagef("--listen: %w; want host:port, such as 127.0.0.1:5000", err)
			}
			clouds := cloudsYAML(sim, server.URL)
			if writeClouds != "" {
				if err := os.WriteFile(writeClouds, []byte(clouds), 0o600); err != nil {
					return usagef("--write-clouds: %w", err)
				}
			}
			fmt.Fprintf(w.stdout, "a simulated cloud answers at %s\n\n%s", server.URL, clouds)
			<-cmd.Context().Done()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return server.Close(ctx)
		},
	}
	f := cmd.Flags()
	f.StringVar(&scenario, "scenario", "", "`file` that describes the cloud (default: four hosts, 20 servers on compute-1)")
	f.StringVar(&listen, "listen", "127.0.0.1:0", "`address` to listen on; port 0 picks a free one")
	f.StringVar(&writeClouds, "write-clouds", "", "write a clouds.yaml with the credentials to this `file`")
	f.StringArrayVar(&endpoints, "endpoint", nil, "`TYPE=URL` of a further service in the catalogue, such as\ninstance-ha=http://127.0.0.1:15868/v1; repeatable")
	f.Int64Var(&seed, "seed", 0, "seed of ids and times (default: the scenario's)")
	f.BoolVar(&printScenario, "print-scenario", false, "print the default scenario, with comments, and stop")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func cloudsYAML(sim *novasim.Cloud, url string) string {
	cr := sim.Credentials()
	var b strings.Builder
	b.WriteString("clouds:\n")
	entry := func(name, user, password, project string) {
		fmt.Fprintf(&b, `  %s:
    auth:
      auth_url: %s
      username: %q
      password: %q
      project_name: %q
      user_domain_name: %q
      project_domain_name: %q
    region_name: %q
`, name, url, user, password, project, cr.UserDomainName, cr.ProjectDomainName, cr.Region)
	}
	entry("simulated", cr.Username, cr.Password, cr.ProjectName)
	if cr.MemberUsername != "" {
		entry("simulated-member", cr.MemberUsername, cr.MemberPassword, cr.MemberProject)
	}
	return b.String()
}
