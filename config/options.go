package config

import (
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// defaultGroup is the section whose name is matched exactly.
const defaultGroup = "DEFAULT"

// option is one row of the table.
type option struct {
	recovery.OptionSpec
	// unread marks an option of Masakari or of an OpenStack library that has
	// no effect here. It is known so that it gives no warning and can be
	// referred to; its value is looked at only then.
	unread bool
	// service marks an option that only wasakari serve reads.
	service bool
	// deprecated says why the operator should drop it; empty when not so.
	deprecated string
}

// Specs lists every option that is known, with type, default and help: those
// that Wasakari reads and those of Masakari and OpenStack's libraries that are
// accepted without effect. Defaults of int, seconds and int_or_auto are int64, of list and
// multi []string, of flow recovery.Flow.
func Specs() []recovery.OptionSpec {
	specs := make([]recovery.OptionSpec, len(table))
	for i, o := range table {
		specs[i] = o.OptionSpec
	}
	return specs
}

// Reserved reports whether a section belongs to Wasakari, Masakari, an
// OpenStack library or another OpenStack service, so that no operator's task
// may have options of its own there.
func Reserved(group string) bool {
	g := groupKey(group)
	return strings.EqualFold(g, defaultGroup) || ownGroups[g] || strings.HasPrefix(g, flowsWord) || libraryGroup(g) || slices.Contains(serviceGroups, g)
}

// serviceGroups are sections in which OpenStack's services keep what they log
// in with, where one file serves several of them.
var serviceGroups = []string{
	"nova", "keystone", "placement", "neutron", "cinder", "glance", "ironic", "ironic_discover", "barbican", "vault",
	"key_manager", "service_user", "barbican_service_user", "api_database", "cache", "masakari",
}

// libraryGroup holds for sections of OpenStack's libraries, whose options are
// not all in the table.
func libraryGroup(group string) bool {
	return strings.HasPrefix(group, "oslo_") || slices.Contains(libraryGroups, group)
}

var libraryGroups = []string{
	"database", "cors", "keystone_authtoken", "ssl", "taskflow", "wsgi", "coordination", "osapi_v1", "healthcheck",
	"profiler", "audit_middleware_notifications", "service_catalog", "privsep",
}

// known finds a row of the table; ownGroups holds its sections.
var (
	known     = map[key]option{}
	ownGroups = map[string]bool{}
)

// lineGroups are the sections whose lines have names of the operator's choice.
var lineGroups = []string{grantsGroup, limitsGroup, librariesGroup, signaturesGroup, secretsGroup, tenantFlowsGroup}

func init() {
	for _, g := range lineGroups {
		ownGroups[g] = true
	}
	for _, o := range table {
		k := key{groupKey(o.Group), o.Name}
		if _, dup := known[k]; dup {
			panic("config: option " + title(o.OptionSpec) + " stands twice in the table")
		}
		known[k] = o
		ownGroups[k.group] = true
	}
}

// showable reports whether the value of an option may be quoted: it is known
// and no secret.
func showable(group, name string) bool {
	o, ok := known[key{group, name}]
	// The lines of a flow that begin in column 0 are options too.
	return ok && !o.Secret || flowGroup(group) && isPhase(strings.Trim(name, `'"{`))
}

// knownHarmless reports whether name is a key of a flow, or an option of some
// section and a secret in none.
func knownHarmless(name string) bool {
	if isPhase(strings.Trim(name, `'"{`)) {
		return true // a line of a flow
	}
	found := false
	for k, o := range known {
		if k.name == name {
			if o.Secret {
				return false
			}
			found = true
		}
	}
	return found
}

const (
	tString  = recovery.StringOption
	tBool    = recovery.BoolOption
	tInt     = recovery.IntOption
	tList    = recovery.ListOption
	tHost    = recovery.HostOption
	tURI     = recovery.URIOption
	tFlow    = recovery.FlowOption
	tMulti   = recovery.MultiOption
	tSeconds = recovery.SecondsOption
	tAuto    = recovery.IntOrAutoOption
)

// mod changes a row.
type mod func(*option)

func secret(o *option) { o.Secret = true }
func unread(o *option) { o.unread = true }

func service(o *option) { o.service = true }

func atLeast(n int64) mod { return func(o *option) { o.Min = &n } }
func within(lo, hi int64) mod {
	return func(o *option) { o.Min, o.Max = &lo, &hi }
}
func oneOf(c ...string) mod       { return func(o *option) { o.Choices = c } }
func deprecated(why string) mod   { return func(o *option) { o.deprecated = why } }
func rows(r ...[]option) []option { return slices.Concat(r...) }

// section gives the rows their group.
func section(group string, opts ...option) []option {
	for i := range opts {
		opts[i].Group = group
	}
	return opts
}

func row(name string, t recovery.OptionType, def any, help string, mods ...mod) option {
	if n, ok := def.(int); ok {
		def = int64(n)
	}
	o := option{OptionSpec: recovery.OptionSpec{Name: name, Type: t, Default: def, Help: help}}
	for _, m := range mods {
		m(&o)
	}
	return o
}

// strangers makes rows of strings for options that are accepted and unread.
// Values that may hold a password are named with a leading '*'.
func strangers(help string, names ...string) []option {
	var out []option
	for _, n := range names {
		bare := strings.TrimPrefix(n, "*")
		o := row(bare, tString, nil, help, unread)
		o.Secret = bare != n
		out = append(out, o)
	}
	return out
}

// flowDefault builds the default of a flow option.
func flowDefault(kind recovery.FlowKind, pre, main, post []string) recovery.Flow {
	refs := func(names []string) []recovery.TaskRef {
		out := []recovery.TaskRef{}
		for _, n := range names {
			out = append(out, recovery.TaskRef{Key: n})
		}
		return out
	}
	return recovery.Flow{Kind: kind, Pre: refs(pre), Main: refs(main), Post: refs(post)}
}

func flowRow(help string, f recovery.Flow) option { return row(f.Kind.Option(), tFlow, f, help) }

const (
	masakariOnly = "Read by Masakari only; no effect here."
	library      = "Option of an OpenStack library; no effect here."
)

// table holds every option. Names, types, defaults and limits outside
// [wasakari] and [grants] are Masakari's, but for the rows that say otherwise.
var table = rows(
	section(defaultGroup,
		row("duplicate_notification_detection_interval", tSeconds, 180, "A notification is a duplicate, answered with 409, when one of the same type, host and payload was accepted whose time is no more than this before its own.", atLeast(0), service),
		row("notification_delay_max", tSeconds, 5, "Masakari waits here, since its check for duplicates is no transaction. Ours is one; no effect here.", atLeast(0), unread),
		row("wait_period_after_service_update", tSeconds, 180, "Limit for Nova to show a disabled or failed service as such."),
		row("wait_period_after_evacuation", tSeconds, 90, "Limit for the evacuation of one server."),
		row("wait_period_after_power_off", tSeconds, 180, "Limit for a server to stop."),
		row("wait_period_after_power_on", tSeconds, 60, "Limit for a server to start."),
		row("verify_interval", tSeconds, 1, "Time between two looks at the state of a server or service."),
		row("host_failure_recovery_threads", tAuto, 3, "Servers evacuated at once in one host recovery; auto: as many as Nova answers quickly.", atLeast(1)),
		row("process_unfinished_notifications_interval", tSeconds, 120, "How often notifications in error, and those left new, are taken up again; negative: not at all.", service),
		row("retry_notification_new_status_interval", tSeconds, 60, "Age from which a notification counts as left new, counted from when it was accepted.", service),
		row("check_expired_notifications_interval", tSeconds, 600, "How often notifications are looked for that are too old; negative: not at all.", service),
		row("notifications_expired_interval", tSeconds, 86400, "Age, counted from when it was accepted, from which an unfinished notification becomes failed. A run at work is not stopped.", service),
		row("host", tHost, nil, "Name of this node, unless [engine] node gives one. Default: the name of the machine.", service),
		row("periodic_enable", tBool, true, "Look for notifications in error, left new or too old.", service),
		row("periodic_fuzzy_delay", tSeconds, 60, "Longest random wait before that is done for the first time, so that not all nodes do it at once.", atLeast(0), service),
		row("auth_strategy", tString, "keystone", "Who checks the callers of the API: Keystone by their tokens, or nobody (noauth2), which makes everybody an administrator and is for a loopback address.", oneOf("keystone", "noauth2"), service),
		row("masakari_api_listen", tHost, "0.0.0.0", "Address that the API listens on.", service),
		row("masakari_api_listen_port", tInt, 15868, "Port that the API listens on.", within(1, 65535), service),
		row("use_ssl", tBool, false, "Speak TLS only, with ssl_cert_file and ssl_key_file of [wsgi].", service),
		row("osapi_max_limit", tInt, 1000, "Most items of one answer to a list; a client asks for the next with marker.", atLeast(1), service),
		row("osapi_masakari_link_prefix", tString, nil, "What stands for scheme and host in the links of version documents, with the path of a proxy if there is one.", service),
		row("debug", tBool, false, "Log debug messages.", service),
		row("graceful_shutdown_timeout", tSeconds, 60, "How long requests and runs at work may take to come to a point where they can be left to another node, when this one is stopped; 0: for ever.", atLeast(0), service),

		row("os_privileged_user_name", tString, nil, "User for calls to Nova."),
		row("os_privileged_user_password", tString, nil, "Password of that user.", secret),
		row("os_privileged_user_tenant", tString, nil, "Name of the project to scope to."),
		row("os_privileged_user_auth_url", tURI, nil, "URL of Keystone."),
		row("os_user_domain_name", tString, "default", "Name of the domain of the user."),
		row("os_project_domain_name", tString, "default", "Name of the domain of the project."),
		row("os_system_scope", tString, nil, "Scope of a system-scoped token, such as all."),
		row("os_region_name", tString, nil, "Region in the catalogue."),
		row("nova_catalog_admin_info", tString, "compute:nova:publicURL", "<service type>:<service name>:<interface> of Nova in the catalogue."),
		row("nova_api_insecure", tBool, false, "Do not verify Nova's certificate."),
		row("nova_ca_certificates_file", tString, nil, "File of CA certificates for Nova."),

		row("periodic_interval_max", tInt, 300, masakariOnly, unread),
		row("notification_driver", tString, "taskflow_driver", masakariOnly, unread),
		row("masakari_topic", tString, "ha_engine", masakariOnly, unread, deprecated("no effect here")),
		row("engine_manager", tString, "masakari.engine.manager.MasakariManager", masakariOnly, unread),
		row("report_interval", tInt, 10, masakariOnly, unread),
		row("service_down_time", tInt, 60, masakariOnly, unread),
		row("masakari_api_workers", tInt, nil, masakariOnly, unread),
		row("use_forwarded_for", tBool, false, masakariOnly, unread, deprecated("no effect here")),
		row("state_path", tString, "$pybasedir", masakariOnly, unread),
		row("pybasedir", tString, nil, masakariOnly, unread),
		row("bindir", tString, nil, masakariOnly, unread),
		row("tempdir", tString, nil, masakariOnly, unread),
		row("fatal_exception_format_errors", tBool, false, masakariOnly, unread),
		row("monkey_patch", tBool, false, masakariOnly, unread),
		row("monkey_patch_modules", tList, []string{"masakari.api:masakari.cmd"}, masakariOnly, unread),
		row("rpc_response_timeout", tInt, 60, library, unread),
		row("control_exchange", tString, "masakari", library, unread),
		row("executor_thread_pool_size", tInt, 64, library, unread),
	),
	section(defaultGroup, strangers(library,
		"*transport_url", "rpc_backend", "rpc_conn_pool_size", "conn_pool_min_size", "conn_pool_ttl", "rpc_ping_enabled",
		"log_file", "log_dir", "log_config_append", "log_date_format", "watch_log_file", "use_syslog", "use_journal", "use_json",
		"syslog_log_facility", "use_stderr", "use_eventlog", "log_color", "log_rotate_interval", "log_rotate_interval_type",
		"max_logfile_count", "max_logfile_size_mb", "log_rotation_type", "logging_context_format_string",
		"logging_default_format_string", "logging_debug_format_suffix", "logging_exception_prefix", "logging_user_identity_format",
		"default_log_levels", "publish_errors", "instance_format", "instance_uuid_format", "rate_limit_interval", "rate_limit_burst",
		"rate_limit_except_level", "fatal_deprecations", "verbose", "backdoor_port", "backdoor_socket", "log_options",
		"run_external_periodic_tasks", "config_file", "config_dir", "config_source",
		"timeout", "cafile", "certfile", "keyfile", "insecure", "collect_timing", "split_loggers",
		"ssl_ca_file", "ssl_cert_file", "ssl_key_file", "enabled_apis", "processname",
	)...),
	section("host_failure",
		row("evacuate_all_instances", tBool, true, "Evacuate all servers, or only tagged ones."),
		row("ha_enabled_instance_metadata_key", tString, "HA_Enabled", "Metadata key of the tag."),
		row("ignore_instances_in_error_state", tBool, false, "Leave out servers in error."),
		row("add_reserved_host_to_aggregate", tBool, false, "Add the reserved host to the aggregates of the failed one."),
		row("service_disable_reason", tString, "Masakari detected host failed.", "Reason given to Nova for a disabled service."),
		row("other_states", tString, "evacuate", "What to do with servers that are paused, suspended, rescued or resized. Wasakari's own.", oneOf("evacuate", "skip")),
		row("lock_servers", tBool, true, "Lock a server while it is evacuated. Wasakari's own."),
		row("require_fence_proof", tBool, false, "Evacuate only when a task proved that the host is off. Wasakari's own."),
	),
	section("instance_failure",
		row("process_all_instances", tBool, false, "Recover all servers, or only tagged ones."),
		row("ha_enabled_instance_metadata_key", tString, "HA_Enabled", "Metadata key of the tag."),
	),
	section("process_failure",
		row("service_disable_reason", tString, "Masakari detected process failed.", "Reason given to Nova for a disabled service."),
	),
	section("host_repair",
		row("enabled", tBool, false, "Answer the notification that a host is back (COMPUTE_HOST, STARTED) with the flow host_repair_tasks, and take it for a host on maintenance, for which Masakari answers 409. Wasakari's own.", service),
		row("wait_period_for_service", tSeconds, 600, "Limit for nova-compute of a host that is back to have cleaned up after its servers, where the host is forced down, and for Nova to show it up, each; 0: none but that of the task. Wasakari's own.", atLeast(0)),
	),
	section(recovery.FlowSection,
		flowRow("Tasks of a host failure, recovery method auto.", flowDefault(recovery.HostAuto,
			[]string{"disable_compute_service_task"}, []string{"prepare_HA_enabled_instances_task"}, []string{"evacuate_instances_task"})),
		flowRow("Tasks of a host failure, recovery method reserved_host.", flowDefault(recovery.HostReserved,
			[]string{"disable_compute_service_task"}, []string{"prepare_HA_enabled_instances_task", "evacuate_instances_task"}, nil)),
		flowRow("Tasks of a server's failure.", flowDefault(recovery.InstanceFailure,
			[]string{"stop_instance_task"}, []string{"start_instance_task"}, []string{"confirm_instance_active_task"})),
		flowRow("Tasks of a failure of the process nova-compute.", flowDefault(recovery.ProcessFailure,
			[]string{"disable_compute_node_task"}, []string{"confirm_compute_node_disabled_task"}, nil)),
		flowRow("Tasks for a host that is back, with [host_repair] enabled. Wasakari's own.", flowDefault(recovery.HostRepair,
			nil, []string{"enable_compute_service_task"}, nil)),
	),
	section("coordination",
		row("backend_url", tString, nil, "Masakari locks notifications of a host here. Ours are accepted in one transaction of [store]; no effect here.", secret, unread),
	),
	section("keystone_authtoken",
		row("auth_type", tString, nil, "Keystone's authentication plug-in, also for calls to Nova: password, v3password or v3applicationcredential.", service),
		row("auth_url", tString, nil, "URL of Keystone, where the user below logs in and tokens of callers are checked.", service),
		row("www_authenticate_uri", tString, nil, "URL of Keystone as told to callers without a valid token. Default: auth_url.", service),
		row("username", tString, nil, "User who checks the tokens of callers; needs a role that may, such as service or admin.", service),
		row("password", tString, nil, "Password of that user.", secret, service),
		row("user_id", tString, nil, "Id of that user.", service),
		row("user_domain_name", tString, nil, "Name of the domain of the user.", service),
		row("user_domain_id", tString, nil, "Id of the domain of the user.", service),
		row("project_name", tString, nil, "Name of the project.", service),
		row("project_id", tString, nil, "Id of the project.", service),
		row("project_domain_name", tString, nil, "Name of the domain of the project.", service),
		row("project_domain_id", tString, nil, "Id of the domain of the project.", service),
		row("application_credential_id", tString, nil, "Id of an application credential.", service),
		row("application_credential_name", tString, nil, "Name of an application credential.", service),
		row("application_credential_secret", tString, nil, "Secret of an application credential.", secret, service),
		row("region_name", tString, nil, "Tokens are checked at auth_url, not where the catalogue says; no effect here.", unread),
		row("interface", tString, "internal", "Tokens are checked at auth_url, not where the catalogue says; no effect here.", unread),
		row("cafile", tString, nil, "File of CA certificates for Keystone.", service),
		row("certfile", tString, nil, "Client certificate shown to Keystone.", service),
		row("keyfile", tString, nil, "Key of the client certificate.", service),
		row("insecure", tBool, false, "Do not verify Keystone's certificate.", service),
		row("http_connect_timeout", tSeconds, nil, "Limit for one request to Keystone, answer included. Default: [wasakari] nova_timeout.", within(1, 3600), service),
		row("http_request_max_retries", tInt, 3, "Further tries of a request that Keystone did not answer.", within(0, 100), service),
		row("token_cache_time", tSeconds, 300, "How long a valid token is remembered while Keystone cannot be asked; otherwise it is checked again after 10 seconds, so that a revoked one is refused. -1: each request is checked.", atLeast(-1), service),
		row("service_token_roles", tList, []string{"service"}, "Roles of which the owner of a service token (X-Service-Token) needs one.", service),
		row("service_token_roles_required", tBool, false, "Refuse a request whose service token has none of these roles; otherwise such a token counts for nothing.", service),
		row("service_type", tString, nil, "Tokens bound to access rules are refused; no effect here.", unread),
		row("delay_auth_decision", tBool, false, library, unread),
		row("include_service_catalog", tBool, true, library, unread),
		row("enforce_token_bind", tString, "permissive", library, unread),
		row("memcache_security_strategy", tString, "None", library, unread),
	),
	section("keystone_authtoken", strangers(library,
		"*memcache_secret_key", "memcached_servers", "auth_section", "auth_uri", "auth_version", "auth_plugin", "identity_uri",
		"*admin_token", "admin_user", "*admin_password", "admin_tenant_name", "signing_dir", "default_domain_id",
		"default_domain_name", "trust_id", "system_scope", "tenant_name", "tenant_id", "user_name",
	)...),
	section("taskflow", row("connection", tString, nil, masakariOnly, unread, secret)),
	section("database",
		row("connection", tString, "sqlite:///$state_path/masakari.sqlite", masakariOnly, unread, secret),
		row("slave_connection", tString, nil, library, unread, secret),
		row("mysql_sql_mode", tString, "TRADITIONAL", library, unread),
	),
	section("database", strangers(library, "max_pool_size", "max_overflow", "pool_timeout", "connection_recycle_time",
		"max_retries", "retry_interval", "connection_debug", "connection_parameters")...),
	section("wsgi",
		row("api_paste_config", tString, "api-paste.ini", masakariOnly, unread),
		row("wsgi_log_format", tString, `%(client_ip)s "%(request_line)s" status: %(status_code)s len: %(body_length)s time: %(wall_seconds).7f`, masakariOnly, unread),
		row("ssl_ca_file", tString, nil, "File of CA certificates; with use_ssl, callers must show a certificate by one of them.", service),
		row("ssl_cert_file", tString, nil, "Certificate of the API, with those between it and its CA; read again when it changes.", service),
		row("ssl_key_file", tString, nil, "Key of that certificate.", service),
		row("secure_proxy_ssl_header", tString, nil, masakariOnly, unread, deprecated("no effect here")),
		row("tcp_keepidle", tInt, 600, masakariOnly, unread),
		row("default_pool_size", tInt, 1000, masakariOnly, unread),
		row("max_header_line", tInt, 16384, "Most bytes of all header lines of a request together; Masakari bounds each.", atLeast(1), service),
		row("keep_alive", tBool, true, "Let clients send several requests on one connection.", service),
		row("client_socket_timeout", tSeconds, 900, "Limit for an idle connection of a client; 0: none.", atLeast(0), service),
	),
	section("osapi_v1",
		row("extensions_blacklist", tList, []string{}, masakariOnly, unread, deprecated("no effect")),
		row("extensions_whitelist", tList, []string{}, masakariOnly, unread, deprecated("no effect")),
		row("project_id_regex", tString, nil, masakariOnly, unread, deprecated("no effect here")),
	),
	section("oslo_policy",
		row("policy_file", tString, "policy.yaml", "File of rules, YAML or JSON, that say who may do what at the API, instead of the built-in ones; a relative name is looked for in the folders of the configuration files, then in /etc/masakari and /etc/wasakari. It need not be there.", service),
		row("policy_dirs", tMulti, []string{"policy.d"}, "Directory whose files, by name, are read after policy_file; looked for likewise; may be given more than once.", service),
		row("policy_default_rule", tString, "default", "Rule that is asked where a rule of that name is missing. Without one, the request is refused.", service),
		row("enforce_scope", tBool, true, "Refuse tokens of another scope than a rule is for. No rule here is for one scope only, so this changes nothing.", service),
		row("enforce_new_defaults", tBool, true, library, unread),
	),
	section("oslo_middleware",
		row("max_request_body_size", tInt, 114688, "Longest body of a request, in bytes; longer ones get 413. Modules are bounded by [wasakari] module_mib.", atLeast(1), service),
		row("enable_proxy_headers_parsing", tBool, false, "Believe X-Forwarded-Proto, -Host, -Prefix and -For, in links and for the address of the caller; only behind a proxy that sets them.", service),
	),
	section("cors", row("allowed_origin", tList, nil, library, unread)),
	section("oslo_messaging_notifications",
		row("driver", tMulti, nil, library, unread),
		row("topics", tList, []string{"notifications"}, library, unread),
		row("transport_url", tString, nil, library, unread, secret),
	),
	section("oslo_concurrency", row("lock_path", tString, nil, library, unread)),
	section("ssl", strangers(masakariOnly, "ca_file", "cert_file", "key_file")...),
	section(ownGroup,
		row("task_dir", tMulti, nil, "Directory of task modules; may be given more than once."),
		row("modules", tList, nil, "Task modules in OCI registries, each oci://HOST[:PORT]/REPOSITORY@sha256:DIGEST. They are fetched once and kept in cache_dir. Wasakari's own."),
		row("state_dir", tString, nil, "Directory of what must outlive the process. Default: $XDG_STATE_HOME/wasakari, else ~/.local/state/wasakari."),
		row("cache_dir", tString, nil, "Directory of compiled modules. Default: under the user's cache directory."),
		row("cluster", tString, "default", "Name of this installation in the marks that Nova keeps."),
		row("nova_timeout", tSeconds, 30, "Limit for one request to Nova or Keystone.", within(1, 3600)),
		row("nova_outcome_wait", tSeconds, 60, "How long to look for a change whose answer was lost.", within(1, 3600)),
		row("memory_mib", tInt, 64, "Memory of a task in MiB, when it asks for none.", within(1, 4096)),
		row("memory_mib_max", tInt, 512, "Most memory that a task may ask for, in MiB.", within(1, 4096)),
		row("stack_mib", tInt, 1, "Call stack of a task, in MiB.", within(1, 8)),
		row("cpu_units", tInt, 10_000_000_000, "Computing of a task in units of about one simple instruction, when it asks for none.", within(1, 1<<53)),
		row("cpu_units_max", tInt, 600_000_000_000, "Most computing that a task may ask for, in units.", within(1, 1<<53)),
		row("task_timeout", tSeconds, 300, "Time limit of a task, when it asks for none.", within(1, 7*86400)),
		row("task_timeout_max", tSeconds, 21600, "Longest time limit that a task may ask for.", within(1, 7*86400)),
		row("module_mib", tInt, 16, "Largest module, in MiB.", within(1, 64)),
		row("compile_memory_mib", tInt, 1024, "Memory of the process that compiles a module, in MiB; machine code may have half of it.", within(64, 65536)),
		row("compile_seconds", tSeconds, 120, "Processor time of the process that compiles a module; by the clock five times as long.", within(1, 3600)),
		row("cache_mib", tInt, 1024, "Most that the directory of compiled modules keeps, in MiB; what was not used for the longest time goes first.", within(1, 1<<20)),
		row("host_calls_per_second", tInt, 1000, "Ops of a task per second.", within(1, 1000000)),
		row("tickets", tInt, 64, "Ops of a task in flight at once.", within(1, 1024)),
		row("request_kib", tInt, 256, "Longest request of an op, in KiB.", within(1, 16384)),
		row("answer_mib", tInt, 1, "Longest answer of an op, in MiB.", within(1, 16)),
		row("log_lines", tInt, 1000, "Most log lines of a task.", within(0, 1000000)),
		row("log_kib", tInt, 1024, "Most log text of a task, in KiB.", within(0, 65536)),
		row("sandboxes", tInt, 16, "Tasks of one tenant that run at once; more wait for their turn.", within(1, 256)),
		row("sandboxes_total", tInt, 64, "Tasks of all tenants, and the operator's, that run at once; tenants wait, the operator's tasks do not.", within(1, 4096)),
		row("kv_task_kib", tInt, 1024, "Most that a task may write into the key-value store, in KiB.", within(1, 65536)),
		row("kv_library_mib", tInt, 10, "Most that a library, or that of a tenant, may keep in the key-value store, in MiB.", within(1, 1024)),
	),
	section("store",
		row("endpoints", tList, nil, "URLs of the members of an etcd cluster, such as https://10.0.0.1:2379. Unset: a store of its own in dir, for one node. Wasakari's own."),
		row("username", tString, nil, "User of the etcd cluster. Wasakari's own."),
		row("password", tString, nil, "Password of that user. Wasakari's own.", secret),
		row("cafile", tString, nil, "File of CA certificates for the etcd cluster. Wasakari's own."),
		row("certfile", tString, nil, "Client certificate shown to the etcd cluster. Wasakari's own."),
		row("keyfile", tString, nil, "Key of that certificate. Wasakari's own."),
		row("dir", tString, nil, "Directory of the store without endpoints. Default: store in [wasakari] state_dir. Wasakari's own.", service),
		row("retention", tSeconds, 2592000, "How long notifications that are done with, and their runs, are kept. Wasakari's own.", within(3600, 10*366*86400), service),
		row("retention_runs", tInt, 10000, "Most runs that are kept; the oldest go first. Wasakari's own.", within(1, 1000000), service),
		row("quota_mib", tInt, 2048, "Most that the store of its own may have on disk, in MiB; a part of it is kept for accepting notifications. Wasakari's own.", within(64, 8192), service),
		row("lease_seconds", tSeconds, 15, "How long after its last sign of life a node's work is given to another. Wasakari's own.", within(5, 600), service),
	),
	section("engine",
		row("node", tString, nil, "Name of this node, unique in the cluster, at most 64 letters, digits and . _ -. Default: [DEFAULT] host. Wasakari's own.", service),
		row("hosts_at_once", tInt, 4, "Hosts whose recoveries this node runs at once; more wait in the queue. Wasakari's own.", within(1, 1000), service),
		row("servers_at_once", tInt, 32, "Servers whose own recoveries this node runs at once; more wait in the queue. Wasakari's own.", within(1, 10000), service),
		row("max_deliveries", tInt, 5, "Runs that are begun for one notification; after as many that did not come to an end it is failed. Wasakari's own.", within(1, 1000), service),
	),
	section("api",
		row("operator_roles", tList, []string{"wasakari_operator"}, "Roles of Keystone that make their owner an operator; see docs/api-roles.md. Wasakari's own.", service),
		row("author_roles", tList, []string{"wasakari_author"}, "Roles of Keystone that make their owner an author of tasks for his project. Wasakari's own.", service),
		row("monitor_roles", tList, []string{"wasakari_monitor"}, "Roles of Keystone that let their owner send notifications, and nothing else. Wasakari's own.", service),
		row("reader_roles", tList, []string{"wasakari_reader"}, "Roles of Keystone that let their owner read what an operator may read. Not reader: every user of the cloud may have that. Wasakari's own.", service),
	),
	section("webhooks",
		row("url", tMulti, nil, "URL that events of runs are sent to as POST; may be given more than once. Wasakari's own.", secret, service),
		row("secret", tString, nil, "What requests are signed with (HMAC-SHA256 of the body, in X-Wasakari-Signature); file: and the absolute path of a file that holds it will do; unset: they are not signed. Wasakari's own.", secret, service),
		row("timeout_seconds", tSeconds, 10, "Limit for one request. Wasakari's own.", within(1, 600), service),
		row("ca_file", tString, nil, "File of CA certificates that are trusted beside the system's. Wasakari's own.", service),
	),
	section("telemetry",
		row("metrics", tBool, true, "Serve metrics at /metrics, in the form of Prometheus, at metrics_listen. Wasakari's own.", service),
		row("metrics_listen", tString, "127.0.0.1:15869", "Address and port of the metrics. They are for everybody who gets there: neither token nor TLS. Wasakari's own.", service),
		row("otlp_endpoint", tURI, nil, "URL that traces are sent to by OTLP, such as http://collector:4318. Unset: what OTEL_EXPORTER_OTLP_ENDPOINT of the environment says, or none are made. Wasakari's own.", service),
		row("otlp_protocol", tString, "http", "How they are sent. Wasakari's own.", oneOf("http", "grpc"), service),
		row("otlp_headers", tList, nil, "Headers of these requests, as NAME=VALUE. Wasakari's own.", secret, service),
		row("otlp_ca_file", tString, nil, "File of CA certificates for that URL. Wasakari's own.", service),
		row("trace_percent", tInt, 100, "How many of the traces that begin here are kept; those that a caller began are as he says. Wasakari's own.", within(0, 100), service),
		row("audit_file", tString, nil, "File to which each change is added, as a line of JSON; -: standard output. Default: audit.log in [wasakari] state_dir. Wasakari's own."),
	),
	section("http",
		row("proxy", tString, nil, "Proxy for the requests of tasks, as http://[user:password@]host[:port]; it is asked for addresses, not for names. Variables such as HTTP_PROXY are not read. Wasakari's own.", secret),
		row("timeout_seconds", tSeconds, 30, "Longest time limit of one request of a task, redirects and answer included. Wasakari's own.", within(1, 600)),
		row("answer_kib", tInt, 512, "Longest body of an answer, decompressed, in KiB. Wasakari's own.", within(1, 16384)),
		row("ca_file", tString, nil, "File of CA certificates that the requests of tasks trust beside the system's. Wasakari's own."),
	),
	section("registries",
		row("ca_file", tString, nil, "File of CA certificates that OCI registries are trusted by, beside the system's. Wasakari's own."),
		row("credentials_file", tString, nil, "File in the form of Docker's config.json with what to log in with. Unset: nothing is sent. Wasakari's own."),
		row("plain_http", tList, nil, "Registries, each HOST[:PORT], that are spoken to without TLS. Wasakari's own."),
		row("timeout_seconds", tSeconds, 120, "Limit for fetching one module. Wasakari's own.", within(1, 3600)),
	),
	section("guards",
		row("hosts", tInt, 3, "Most hosts recovered within hosts_period; one more is held. 0: any number. Wasakari's own.", within(0, 1000000)),
		row("hosts_percent", tInt, 30, "Most of a segment of 4 hosts or more recovered within hosts_period, in percent, and at least one; one more is held. 0: all of it. From the command line it is a percentage of all compute hosts of the cloud. Wasakari's own.", within(0, 100)),
		row("hosts_period", tSeconds, 600, "Period in which recovered hosts are counted. Wasakari's own.", within(1, 30*86400)),
		row("servers_per_run", tInt, 1000, "Most servers that one run changes. 0: any number. Wasakari's own.", within(0, 1000000)),
		row("servers_per_hour", tInt, 3000, "Most servers that all runs together change within an hour. 0: any number. Wasakari's own.", within(0, 1000000)),
	),
)

// Sections of our own.
const (
	ownGroup       = "wasakari"
	grantsGroup    = "grants"
	limitsGroup    = "limits"
	librariesGroup = "libraries"
	secretsGroup   = "secrets"
	// signaturesGroup holds whose modules have to be signed, and with which keys.
	signaturesGroup = "signatures"
	// tenantFlowsGroup holds tenants' own flows of a server's failure, by the ids
	// of their projects.
	tenantFlowsGroup = "tenant_flows"
	// flowsWord begins the names of sections with the flows of one segment.
	flowsWord = "flows:"
)
