// Package config reads oslo.config files, the environment and flags into one
// typed struct, and keeps for each value the place where it was written.
//
// It knows every option and says what is wrong with a value; what the values
// are good for is the business of others. The rules of the files are those of
// Masakari's configuration, so that an operator's masakari.conf is read as it
// stands.
package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"

	"github.com/wasakari/wasakari/recovery"
)

// Secret is a value that must not be shown: printing it in any form gives
// asterisks. Convert it to string where the value is needed.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "****"
}

// GoString hides the value.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config is a configuration that was read and checked. It does not change and
// is safe for concurrent use. Defaults and meanings are in Specs, under the
// names in the tags; an unset option without a default is zero.
type Config struct {
	Default         Default         `section:"DEFAULT"`
	Nova            Nova            `section:"DEFAULT"`
	HostFailure     HostFailure     `section:"host_failure"`
	InstanceFailure InstanceFailure `section:"instance_failure"`
	ProcessFailure  ProcessFailure  `section:"process_failure"`
	HostRepair      HostRepair      `section:"host_repair"`
	AuthToken       AuthToken       `section:"keystone_authtoken"`
	WSGI            WSGI            `section:"wsgi"`
	Middleware      Middleware      `section:"oslo_middleware"`
	Wasakari        Wasakari        `section:"wasakari"`
	Guards          Guards          `section:"guards"`
	HTTP            HTTP            `section:"http"`
	Registries      Registries      `section:"registries"`
	Policy          Policy          `section:"oslo_policy"`
	Store           Store           `section:"store"`
	Engine          Engine          `section:"engine"`
	API             API             `section:"api"`
	Webhooks        Webhooks        `section:"webhooks"`
	Telemetry       Telemetry       `section:"telemetry"`
	// Flows holds all flows; those of segments and tenants stand beside
	// them, see SegmentFlow and TenantFlow.
	Flows map[recovery.FlowKind]recovery.Flow

	k           *koanf.Koanf
	assignments []assignment
	headers     []header
	files       []string
	warnings    []Warning
	grants      map[string]*Grants
	limits      map[string][]Limit // by line
	libraries   map[string]Registration
	signatures  map[string]SignaturePolicy
	bindings    map[key]Binding

	segmentFlows map[string]map[recovery.FlowKind]recovery.Flow // by uuid, in lower case
	tenantFlows  map[string]recovery.Flow                       // by project
	folders      []string                                       // where files that the configuration names are looked for
}

// Default is section [DEFAULT] but for the access to Nova.
type Default struct {
	DuplicateNotificationDetectionInterval time.Duration `option:"duplicate_notification_detection_interval"`
	WaitPeriodAfterServiceUpdate           time.Duration `option:"wait_period_after_service_update"`
	WaitPeriodAfterEvacuation              time.Duration `option:"wait_period_after_evacuation"`
	WaitPeriodAfterPowerOff                time.Duration `option:"wait_period_after_power_off"`
	WaitPeriodAfterPowerOn                 time.Duration `option:"wait_period_after_power_on"`
	VerifyInterval                         time.Duration `option:"verify_interval"`
	HostFailureRecoveryThreads             int           `option:"host_failure_recovery_threads"` // 0: auto
	ProcessUnfinishedNotificationsInterval time.Duration `option:"process_unfinished_notifications_interval"`
	RetryNotificationNewStatusInterval     time.Duration `option:"retry_notification_new_status_interval"`
	CheckExpiredNotificationsInterval      time.Duration `option:"check_expired_notifications_interval"`
	NotificationsExpiredInterval           time.Duration `option:"notifications_expired_interval"`
	Host                                   string        `option:"host"`
	PeriodicEnable                         bool          `option:"periodic_enable"`
	PeriodicFuzzyDelay                     time.Duration `option:"periodic_fuzzy_delay"`
	AuthStrategy                           string        `option:"auth_strategy"`
	APIListen                              string        `option:"masakari_api_listen"`
	APIListenPort                          int           `option:"masakari_api_listen_port"`
	UseSSL                                 bool          `option:"use_ssl"`
	OSAPIMaxLimit                          int           `option:"osapi_max_limit"`
	OSAPILinkPrefix                        string        `option:"osapi_masakari_link_prefix"`
	Debug                                  bool          `option:"debug"`
	GracefulShutdownTimeout                time.Duration `option:"graceful_shutdown_timeout"` // 0: none
}

// Nova is the access to Nova, in section [DEFAULT]. The authentication
// plug-in's name is AuthToken.AuthType.
type Nova struct {
	UserName           string `option:"os_privileged_user_name"`
	Password           Secret `option:"os_privileged_user_password"`
	Tenant             string `option:"os_privileged_user_tenant"`
	AuthURL            string `option:"os_privileged_user_auth_url"`
	UserDomainName     string `option:"os_user_domain_name"`
	ProjectDomainName  string `option:"os_project_domain_name"`
	SystemScope        string `option:"os_system_scope"`
	RegionName         string `option:"os_region_name"`
	CatalogAdminInfo   string `option:"nova_catalog_admin_info"` // type:name:interface, checked
	APIInsecure        bool   `option:"nova_api_insecure"`
	CACertificatesFile string `option:"nova_ca_certificates_file"`
}

// HostFailure is section [host_failure].
type HostFailure struct {
	EvacuateAllInstances         bool   `option:"evacuate_all_instances"`
	HAEnabledInstanceMetadataKey string `option:"ha_enabled_instance_metadata_key"`
	IgnoreInstancesInErrorState  bool   `option:"ignore_instances_in_error_state"`
	AddReservedHostToAggregate   bool   `option:"add_reserved_host_to_aggregate"`
	ServiceDisableReason         string `option:"service_disable_reason"`
	OtherStates                  string `option:"other_states"` // evacuate or skip
	LockServers                  bool   `option:"lock_servers"`
	RequireFenceProof            bool   `option:"require_fence_proof"`
}

// InstanceFailure is section [instance_failure].
type InstanceFailure struct {
	ProcessAllInstances          bool   `option:"process_all_instances"`
	HAEnabledInstanceMetadataKey string `option:"ha_enabled_instance_metadata_key"`
}

// ProcessFailure is section [process_failure].
type ProcessFailure struct {
	ServiceDisableReason string `option:"service_disable_reason"`
}

// HostRepair is section [host_repair].
type HostRepair struct {
	Enabled bool `option:"enabled"`
	// WaitPeriodForService bounds the wait for the host's nova-compute.
	WaitPeriodForService time.Duration `option:"wait_period_for_service"`
}

// AuthToken is section [keystone_authtoken].
type AuthToken struct {
	AuthType                    string        `option:"auth_type"`
	AuthURL                     string        `option:"auth_url"`
	WWWAuthenticateURI          string        `option:"www_authenticate_uri"` // AuthURL when it is not set
	Username                    string        `option:"username"`
	Password                    Secret        `option:"password"`
	UserID                      string        `option:"user_id"`
	UserDomainName              string        `option:"user_domain_name"`
	UserDomainID                string        `option:"user_domain_id"`
	ProjectName                 string        `option:"project_name"`
	ProjectID                   string        `option:"project_id"`
	ProjectDomainName           string        `option:"project_domain_name"`
	ProjectDomainID             string        `option:"project_domain_id"`
	ApplicationCredentialID     string        `option:"application_credential_id"`
	ApplicationCredentialName   string        `option:"application_credential_name"`
	ApplicationCredentialSecret Secret        `option:"application_credential_secret"`
	CAFile                      string        `option:"cafile"`
	CertFile                    string        `option:"certfile"`
	KeyFile                     string        `option:"keyfile"`
	Insecure                    bool          `option:"insecure"`
	HTTPConnectTimeout          time.Duration `option:"http_connect_timeout"`
	HTTPRequestMaxRetries       int           `option:"http_request_max_retries"`
	TokenCacheTime              time.Duration `option:"token_cache_time"`
	ServiceTokenRoles           []string      `option:"service_token_roles"`
	ServiceTokenRolesRequired   bool          `option:"service_token_roles_required"`
}

// WSGI is section [wsgi].
type WSGI struct {
	SSLCAFile           string        `option:"ssl_ca_file"`
	SSLCertFile         string        `option:"ssl_cert_file"`
	SSLKeyFile          string        `option:"ssl_key_file"`
	MaxHeaderLine       int           `option:"max_header_line"`
	KeepAlive           bool          `option:"keep_alive"`
	ClientSocketTimeout time.Duration `option:"client_socket_timeout"`
}

// Middleware is section [oslo_middleware].
type Middleware struct {
	MaxRequestBodySize        int  `option:"max_request_body_size"`
	EnableProxyHeadersParsing bool `option:"enable_proxy_headers_parsing"`
}

// Policy is section [oslo_policy]. The names of files and directories are as
// they were written; see Find.
type Policy struct {
	File         string   `option:"policy_file"`
	Dirs         []string `option:"policy_dirs"`
	DefaultRule  string   `option:"policy_default_rule"`
	EnforceScope bool     `option:"enforce_scope"`
}

// Store is section [store].
type Store struct {
	Endpoints     []string      `option:"endpoints"` // empty: a store of its own
	Username      string        `option:"username"`
	Password      Secret        `option:"password"`
	CAFile        string        `option:"cafile"`
	CertFile      string        `option:"certfile"`
	KeyFile       string        `option:"keyfile"`
	Dir           string        `option:"dir"` // empty: the command chooses
	Retention     time.Duration `option:"retention"`
	RetentionRuns int           `option:"retention_runs"`
	QuotaMiB      int           `option:"quota_mib"`
	Lease         time.Duration `option:"lease_seconds"`
}

// Engine is section [engine].
type Engine struct {
	Node          string `option:"node"` // empty: Default.Host, else the machine's name
	HostsAtOnce   int    `option:"hosts_at_once"`
	ServersAtOnce int    `option:"servers_at_once"`
	MaxDeliveries int    `option:"max_deliveries"`
}

// API is section [api]: Keystone's roles that stand for Wasakari's.
type API struct {
	OperatorRoles []string `option:"operator_roles"`
	AuthorRoles   []string `option:"author_roles"`
	MonitorRoles  []string `option:"monitor_roles"`
	ReaderRoles   []string `option:"reader_roles"`
}

// Webhooks is section [webhooks].
type Webhooks struct {
	URLs    []Secret      `option:"url"` // each may hold a password
	Secret  Secret        `option:"secret"`
	Timeout time.Duration `option:"timeout_seconds"`
	CAFile  string        `option:"ca_file"`
}

// Telemetry is section [telemetry].
type Telemetry struct {
	Metrics       bool     `option:"metrics"`
	MetricsListen string   `option:"metrics_listen"` // HOST:PORT
	OTLPEndpoint  string   `option:"otlp_endpoint"`  // empty: no traces
	OTLPProtocol  string   `option:"otlp_protocol"`  // http or grpc
	OTLPHeaders   []Secret `option:"otlp_headers"`   // NAME=VALUE; a value may be a password
	OTLPCAFile    string   `option:"otlp_ca_file"`
	TracePercent  int      `option:"trace_percent"`
	AuditFile     string   `option:"audit_file"` // empty: the command chooses
}

// Wasakari is section [wasakari].
type Wasakari struct {
	TaskDirs           []string      `option:"task_dir"`
	Modules            []string      `option:"modules"`   // oci://…@sha256:…
	StateDir           string        `option:"state_dir"` // empty: the command chooses
	CacheDir           string        `option:"cache_dir"` // empty: the command chooses
	Cluster            string        `option:"cluster"`
	NovaTimeout        time.Duration `option:"nova_timeout"`
	NovaOutcomeWait    time.Duration `option:"nova_outcome_wait"`
	MemoryMiB          int           `option:"memory_mib"`
	MemoryMiBMax       int           `option:"memory_mib_max"`
	StackMiB           int           `option:"stack_mib"`
	CPUUnits           int64         `option:"cpu_units"`
	CPUUnitsMax        int64         `option:"cpu_units_max"`
	TaskTimeout        time.Duration `option:"task_timeout"`
	TaskTimeoutMax     time.Duration `option:"task_timeout_max"`
	ModuleMiB          int           `option:"module_mib"`
	CompileMemoryMiB   int           `option:"compile_memory_mib"`
	CompileTime        time.Duration `option:"compile_seconds"`
	CacheMiB           int           `option:"cache_mib"`
	Sandboxes          int           `option:"sandboxes"`
	SandboxesTotal     int           `option:"sandboxes_total"`
	HostCallsPerSecond int           `option:"host_calls_per_second"`
	Tickets            int           `option:"tickets"`
	RequestKiB         int           `option:"request_kib"`
	AnswerMiB          int           `option:"answer_mib"`
	LogLines           int           `option:"log_lines"`
	LogKiB             int           `option:"log_kib"`
	KVTaskKiB          int           `option:"kv_task_kib"`
	KVLibraryMiB       int           `option:"kv_library_mib"`
}

// HTTP is section [http].
type HTTP struct {
	Proxy     Secret        `option:"proxy"` // it may hold a password
	Timeout   time.Duration `option:"timeout_seconds"`
	AnswerKiB int           `option:"answer_kib"`
	CAFile    string        `option:"ca_file"`
}

// Registries is section [registries].
type Registries struct {
	CAFile          string        `option:"ca_file"`
	CredentialsFile string        `option:"credentials_file"`
	PlainHTTP       []string      `option:"plain_http"`
	Timeout         time.Duration `option:"timeout_seconds"`
}

// Guards is section [guards].
type Guards struct {
	Hosts          int           `option:"hosts"`
	HostsPercent   int           `option:"hosts_percent"`
	HostsPeriod    time.Duration `option:"hosts_period"`
	ServersPerRun  int           `option:"servers_per_run"`
	ServersPerHour int           `option:"servers_per_hour"`
}

// Files lists the files that were read, in order.
func (c *Config) Files() []string { return slices.Clone(c.files) }

// Flow gives the flow of one kind, with the places of its tasks.
func (c *Config) Flow(k recovery.FlowKind) (recovery.Flow, error) {
	f, ok := c.Flows[k]
	if !ok {
		return recovery.Flow{}, fmt.Errorf("flow %q: %w", k, recovery.ErrNotFound)
	}
	return clone(f), nil
}

// Raw gives the value of an option as it was written, references not resolved,
// and its place. The value may be a secret. Of a multi-valued option it is the
// last value.
func (c *Config) Raw(group, name string) (value string, pos recovery.Position, ok bool) {
	a, ok := c.lookup(key{groupKey(group), name})
	if !ok {
		return "", recovery.Position{}, false
	}
	return a.value.s, a.value.pos(0), true
}

// String lists the options that were set, with their values and places, for an
// operator to look at. Secrets and options that are not known are not shown.
func (c Config) String() string {
	settings, err := c.Effective()
	if err != nil {
		return err.Error() // not after Load, which has read them all
	}
	var b strings.Builder
	for _, s := range settings {
		if len(s.Places) > 0 {
			fmt.Fprintf(&b, "[%s] %s = %s (%s)\n", s.Group, s.Name, s.Text(), s.Places[len(s.Places)-1])
		}
	}
	return b.String()
}

// GoString is String, so that no form of printing shows a secret.
func (c Config) GoString() string { return c.String() }

// all gives the assignments of an option from the strongest kind of source
// that has any, in order.
func (c *Config) all(k key) []assignment {
	ids := c.k.Ints(k.group + delimiter + k.name)
	// The environment has no lower case.
	if folded := strings.ToLower(k.name); folded != k.name {
		for _, id := range c.k.Ints(k.group + delimiter + folded) {
			if c.assignments[id].layer == envLayer {
				ids = append(ids, id)
			}
		}
		sort.Ints(ids)
	}
	var out []assignment
	for _, id := range ids {
		a := c.assignments[id]
		if len(out) > 0 && a.layer > out[0].layer {
			out = nil
		}
		out = append(out, a)
	}
	return out
}

// lookup gives the assignment that counts.
func (c *Config) lookup(k key) (assignment, bool) {
	as := c.all(k)
	if len(as) == 0 {
		return assignment{}, false
	}
	return as[len(as)-1], true
}

// optionNames lists the options that a value in the section may refer to.
func (c *Config) optionNames(group string) []string {
	names := map[string]bool{}
	for k := range known {
		if k.group == group || k.group == defaultGroup {
			names[k.name] = true
		}
	}
	for _, a := range c.assignments {
		if a.group == group || a.group == defaultGroup {
			names[a.name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// fill sets the fields from the table's options.
func (c *Config) fill() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	values := map[key]any{}
	for _, o := range table {
		k := key{groupKey(o.Group), o.Name}
		a, set := c.lookup(k)
		if o.unread || set && a.cut {
			continue
		}
		r := &reader{c: c}
		v, t, set, err := r.read(o.OptionSpec)
		switch {
		case err != nil:
			errs = append(errs, c.explain(a, err))
		case set && o.Default != nil && strings.TrimFunc(t.s, isSpace) == "" && (o.Type == tInt || o.Type == tSeconds || o.Type == tAuto):
			c.warn(t.pos(0), fmt.Sprintf("option %s is empty: its default %v is used", title(o.OptionSpec), o.Default))
		}
		values[k] = v
	}
	errs = append(errs, c.readGrants()...)
	errs = append(errs, c.readLimits()...)
	errs = append(errs, c.readLibraries()...)
	errs = append(errs, c.readSignatures()...)
	errs = append(errs, c.readBindings()...)
	errs = append(errs, c.readSegmentFlows()...)
	errs = append(errs, c.readTenantFlows()...)
	errs = append(errs, c.check(values)...)
	if len(errs) > 0 {
		return errs
	}
	c.Flows = map[recovery.FlowKind]recovery.Flow{}
	for _, k := range recovery.FlowKinds() {
		if f, ok := values[key{recovery.FlowSection, k.Option()}].(recovery.Flow); ok {
			c.Flows[k] = f
		}
	}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if group, ok := v.Type().Field(i).Tag.Lookup("section"); ok {
			setFields(v.Field(i), group, values)
		}
	}
	c.AuthToken.WWWAuthenticateURI = cmp.Or(c.AuthToken.WWWAuthenticateURI, c.AuthToken.AuthURL)
	return nil
}

// clusterForm keeps the name of the installation fit for the marks that Nova
// keeps, where it stands between blanks and brackets.
var clusterForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// check tells what types and limits alone cannot.
func (c *Config) check(values map[key]any) []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	bad := func(group, name, want string) {
		o := known[key{group, name}].OptionSpec
		t := text{s: fmt.Sprint(o.Default)}
		if a, ok := c.lookup(key{group, name}); ok {
			t = a.value
		} else if a, ok := c.lookup(key{group, name + "_max"}); ok {
			t.file, t.segs = a.value.file, a.value.segs // what made the default wrong
		}
		errs = append(errs, wrong(o, t, want))
	}
	const catalog = "nova_catalog_admin_info"
	if v, ok := values[key{defaultGroup, catalog}].(string); ok && strings.Count(v, ":") != 2 {
		bad(defaultGroup, catalog, "<service type>:<service name>:<interface>")
	}
	if v, ok := values[key{ownGroup, "cluster"}].(string); ok && !clusterForm.MatchString(v) {
		bad(ownGroup, "cluster", "at most 64 letters, digits and . _ -")
	}
	errs = append(errs, c.checkService(values)...)
	for _, name := range []string{"memory_mib", "cpu_units", "task_timeout"} {
		n, ok := values[key{ownGroup, name}].(int64)
		most, ok2 := values[key{ownGroup, name + "_max"}].(int64)
		if ok && ok2 && n > most {
			bad(ownGroup, name, fmt.Sprintf("at most %s_max, which is %d", name, most))
		}
	}
	return errs
}

// setFields sets the fields of one section.
func setFields(s reflect.Value, group string, values map[key]any) {
	for i := range s.NumField() {
		v, f := values[key{group, s.Type().Field(i).Tag.Get("option")}], s.Field(i)
		switch v := v.(type) {
		case string:
			if f.Kind() != reflect.Int { // else auto, which is 0
				f.SetString(v)
			}
		case bool:
			f.SetBool(v)
		case int64:
			if f.Type() == reflect.TypeFor[time.Duration]() {
				v *= int64(time.Second)
			}
			f.SetInt(v)
		case []string:
			if secrets, ok := f.Addr().Interface().(*[]Secret); ok {
				*secrets = nil
				for _, s := range v {
					*secrets = append(*secrets, Secret(s))
				}
				continue
			}
			f.Set(reflect.ValueOf(slices.Clone(v)))
		}
	}
}

// explain adds to an error of a flow what its neighbourhood in the file tells:
// a value that goes on in column 0 has become options of their own.
func (c *Config) explain(a assignment, err *recovery.ConfigError) *recovery.ConfigError {
	if !flowGroup(a.group) || a.layer != fileLayer {
		return err
	}
	for _, b := range c.assignments {
		if b.namePos.File != a.namePos.File || b.namePos.Line <= a.namePos.Line {
			continue
		}
		if b.group == a.group && isPhase(strings.Trim(b.name, `'"{ `)) {
			e := *err
			e.Hint = fmt.Sprintf("the lines in column 0 from line %d on are options of their own; indent them", b.namePos.Line)
			return &e
		}
		break
	}
	return err
}

// swallowedFlows finds flow options that became a part of the value above
// them, because they do not begin in column 0.
func (c *Config) swallowedFlows() []*recovery.ConfigError {
	var errs []*recovery.ConfigError
	for i, a := range c.assignments {
		if a.layer != fileLayer {
			continue
		}
		for off, line := range continuations(a.value.s) {
			name, ok := assigned(line)
			if !ok {
				continue
			}
			if k, isFlow := known[key{recovery.FlowSection, name}]; isFlow && k.Name != a.name {
				c.assignments[i].cut = true
				errs = append(errs, &recovery.ConfigError{
					Pos:    a.value.pos(off),
					Reason: fmt.Sprintf("option %s stands in the value of [%s] %s", name, a.section, quote(a.name)),
					Hint:   "an option begins in column 0: remove the blanks before its name; only the lines after it are indented",
				})
			}
		}
	}
	return errs
}

// continuations gives the lines of a value but for the first, with their
// offsets.
func continuations(s string) map[int]string {
	out := map[int]string{}
	for off, i := 0, strings.IndexByte(s, '\n'); i >= 0; i = strings.IndexByte(s[off:], '\n') {
		off += i + 1
		line, _, _ := strings.Cut(s[off:], "\n")
		out[off] = line
	}
	return out
}

// assigned gives the name when a line looks like "name = value".
func assigned(line string) (string, bool) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", false
	}
	name := strings.TrimFunc(line[:i], isSpace)
	return name, name != "" && !strings.ContainsFunc(name, isSpace)
}
