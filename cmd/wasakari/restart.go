package main

import (
	"fmt"
	"maps"
	"strings"

	"github.com/wasakari/wasakari/config"
)

// fixed lists what the service takes at its start and keeps: sections, and
// single options as SECTION.NAME. All else is taken anew by each run that begins
// after a reload.
var fixed = func() map[string]bool {
	const list = `store engine webhooks telemetry keystone_authtoken wsgi oslo_middleware host_repair.enabled
		DEFAULT.host DEFAULT.auth_strategy DEFAULT.masakari_api_listen DEFAULT.masakari_api_listen_port DEFAULT.use_ssl
		DEFAULT.osapi_max_limit DEFAULT.osapi_masakari_link_prefix DEFAULT.graceful_shutdown_timeout
		DEFAULT.duplicate_notification_detection_interval DEFAULT.periodic_fuzzy_delay
		DEFAULT.os_privileged_user_name DEFAULT.os_privileged_user_password DEFAULT.os_privileged_user_tenant DEFAULT.os_privileged_user_auth_url
		DEFAULT.os_user_domain_name DEFAULT.os_project_domain_name DEFAULT.os_system_scope DEFAULT.os_region_name
		DEFAULT.nova_catalog_admin_info DEFAULT.nova_api_insecure DEFAULT.nova_ca_certificates_file
		wasakari.state_dir wasakari.cache_dir wasakari.cluster wasakari.nova_timeout
		wasakari.module_mib wasakari.compile_memory_mib wasakari.compile_seconds wasakari.cache_mib wasakari.sandboxes wasakari.sandboxes_total
		wasakari.memory_mib wasakari.memory_mib_max wasakari.stack_mib wasakari.cpu_units wasakari.cpu_units_max
		wasakari.task_timeout wasakari.task_timeout_max wasakari.host_calls_per_second wasakari.tickets
		wasakari.request_kib wasakari.answer_mib wasakari.log_lines wasakari.log_kib`
	m := map[string]bool{}
	for name := range strings.FieldsSeq(list) {
		m[name] = true
	}
	return m
}()

// restartsFor tells, a line each, which options of a configuration that was
// reloaded hold from the next start on.
func restartsFor(before, after *config.Config) []string {
	var out []string
	for _, s := range config.Changed(before, after) {
		if !fixed[s.Group] && !fixed[s.Group+"."+s.Name] {
			continue
		}
		where := ""
		if len(s.Places) > 0 {
			where = s.Places[len(s.Places)-1].String() + ": "
		}
		out = append(out, fmt.Sprintf("%soption [%s] %s was changed, and holds when the service is restarted", where, s.Group, s.Name))
	}
	if !maps.Equal(before.TenantSandboxes(), after.TenantSandboxes()) {
		out = append(out, "sandboxes of a tenant in [limits] were changed, and hold when the service is restarted; the other limits there hold now")
	}
	return out
}
