package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/reload"
)

// reloading reads configuration and task folders again when they change, or
// when SIGHUP comes, until ctx ends.
func (sv *daemon) reloading(ctx context.Context, before string) error {
	reload.Watch(ctx, reload.Config{
		Files: sv.watched, Before: before, Signals: sv.w.hangups, Load: sv.reload, Logger: sv.log.Named("reload"),
	})
	return ctx.Err()
}

// watched lists the files and folders that the current snapshot was read from.
func (sv *daemon) watched() []string {
	snap, release := sv.snapshots.newest()
	defer release()
	files := slices.Clone(snap.cfg.Files())
	files = append(files, sv.flags.configFiles...)
	files = append(files, sv.flags.configDirs...)
	folders, err := sv.flags.folders(snap.cfg)
	if err != nil {
		sv.log.Warn("task folders not watched", zap.Error(err))
	}
	for _, f := range folders {
		files = append(files, f.dir)
	}
	if snap.cfg.Policy.File != "" {
		files = append(files, snap.cfg.Policy.File)
	}
	files = append(files, snap.cfg.Policy.Dirs...)
	slices.Sort(files)
	return slices.Compact(files)
}

// reload makes a new snapshot current. Its error says that the former stays.
func (sv *daemon) reload(ctx context.Context, why string) (err error) {
	sv.notifier.Reloading()
	defer func() {
		sv.notifier.Ready("serving")
		sv.tel.Reloaded(err)
		rec := audit.Record{Kind: audit.Reload, Op: "config.reload", Outcome: audit.Done, Message: why}
		if err != nil {
			rec.Outcome, rec.Message = audit.Refused, err.Error()
		}
		sv.audit.Write(rec)
	}()
	src, err := sv.flags.sources(sv.w)
	if err != nil {
		return err
	}
	next, err := config.Load(src)
	if err != nil {
		return err
	}
	snap, release := sv.snapshots.newest()
	last := snap.cfg
	release()
	if err := sv.load(ctx, next); err != nil {
		return err
	}
	sv.engine.SetIntervals(intervals(next))
	if err := sv.callers.policy.Reload(); err != nil {
		return fmt.Errorf("policy: %w; the former one stays", err)
	}
	for _, option := range needRestart(last, next) {
		sv.log.Warn("option changed, and takes effect with the next start", zap.String("option", option))
	}
	return nil
}

// untilRestart are the sections and options that are read once. A name stands
// for one option, a section alone for all of its options.
var untilRestart = []string{
	"[store]", "[engine]", "[api]", "[webhooks]", "[telemetry]", "[keystone_authtoken]", "[wsgi]", "[oslo_middleware]", "[http] ca_file",
	"[DEFAULT] masakari_api_listen", "[DEFAULT] masakari_api_listen_port", "[DEFAULT] use_ssl", "[DEFAULT] auth_strategy",
	"[DEFAULT] osapi_max_limit", "[DEFAULT] osapi_masakari_link_prefix", "[DEFAULT] host", "[DEFAULT] duplicate_notification_detection_interval",
	"[DEFAULT] os_privileged_user_name", "[DEFAULT] os_privileged_user_password", "[DEFAULT] os_privileged_user_tenant",
	"[DEFAULT] os_privileged_user_auth_url", "[DEFAULT] os_user_domain_name", "[DEFAULT] os_project_domain_name", "[DEFAULT] os_system_scope",
	"[DEFAULT] os_region_name", "[DEFAULT] nova_catalog_admin_info", "[DEFAULT] nova_api_insecure", "[DEFAULT] nova_ca_certificates_file",
	"[oslo_policy]", "[wasakari] cluster", "[wasakari] state_dir", "[wasakari] cache_dir", "[wasakari] cache_mib", "[wasakari] nova_timeout",
	"[wasakari] compile_memory_mib", "[wasakari] compile_seconds", "[wasakari] module_mib", "[wasakari] sandboxes", "[wasakari] sandboxes_total",
	"[wasakari] memory_mib", "[wasakari] memory_mib_max", "[wasakari] stack_mib", "[wasakari] cpu_units", "[wasakari] cpu_units_max",
	"[wasakari] task_timeout", "[wasakari] task_timeout_max", "[wasakari] host_calls_per_second", "[wasakari] tickets", "[wasakari] request_kib",
	"[wasakari] answer_mib", "[wasakari] log_lines", "[wasakari] log_kib",
}

// needRestart lists the options that differ and are read once.
func needRestart(last, next *config.Config) []string {
	var out []string
	for _, spec := range config.Specs() {
		option := fmt.Sprintf("[%s] %s", spec.Group, spec.Name)
		section, _, _ := strings.Cut(option, " ")
		if !slices.Contains(untilRestart, option) && !slices.Contains(untilRestart, section) {
			continue
		}
		was, _, had := last.Raw(spec.Group, spec.Name)
		is, _, has := next.Raw(spec.Group, spec.Name)
		if was != is || had != has {
			out = append(out, option)
		}
	}
	return out
}
