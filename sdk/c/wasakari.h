/* wasakari.h: recovery tasks in C, for Wasakari's ABI v1.
 *
 * The whole SDK is this file. It needs no libc, and works with one; C11 and C++11.
 *
 *     #include "wasakari.h"
 *
 *     static wsk_outcome run(wsk_task *t) {
 *         wsk_str host = wsk_input_str(t, "host_name");
 *         wsk_log_info(t, "host %.*s failed", WSK_P(host));
 *         return wsk_succeed(t);
 *     }
 *
 *     WSK_TASKS({"custom_pre_task", run, NULL})
 *
 * What functions give back lives in the task's memory, until the task ends or wsk_release frees it.
 * A function that may be refused returns a wsk_code, 0 when all is well; wsk_last_error tells the rest.
 *
 * Settings, to be defined before the file is included:
 *     WSK_ARENA_SIZE   bytes of the task's memory that stand in the module; default 64 KiB
 *     WSK_ARENA_MAX    bytes that it may grow to; default 16 MiB. Off wasm it does not grow.
 *     WSK_JSON_DEPTH   how deep a document may be nested; default 512
 */
#ifndef WASAKARI_H
#define WASAKARI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef WSK_ARENA_SIZE
#define WSK_ARENA_SIZE (64u << 10)
#endif
#ifndef WSK_ARENA_MAX
#define WSK_ARENA_MAX (16u << 20)
#endif
#ifndef WSK_JSON_DEPTH
#define WSK_JSON_DEPTH 512u
#endif

#ifdef __cplusplus
#define WSK_C extern "C"
extern "C" {
#else
#define WSK_C
#endif

#define WSK_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- Words ---- */

/* Text in UTF-8, without a zero at its end. */
typedef struct wsk_str {
    const char *p;
    size_t n;
} wsk_str;

typedef struct wsk_strs {
    const wsk_str *p;
    size_t n;
} wsk_strs;

/* For "%.*s" in a format. */
#define WSK_P(s) ((int)(s).n), ((s).p)

/* One value of a JSON document that was checked; n is 0 when it is not there. */
typedef struct wsk_json {
    const char *p;
    size_t n;
} wsk_json;

typedef enum wsk_kind { WSK_ABSENT, WSK_NULL, WSK_BOOL, WSK_NUMBER, WSK_STRING, WSK_ARRAY, WSK_OBJECT } wsk_kind;

/* A truth value of a request that may be left out, which 0 does: WSK_NO is a value. */
typedef enum wsk_maybe { WSK_UNSET = 0, WSK_YES = 1, WSK_NO = 2 } wsk_maybe;

/* A number of a request that may be left out, which a zeroed one is. */
typedef struct wsk_maybe_i64 {
    bool set;
    int64_t value;
} wsk_maybe_i64;

/* What run and revert return. */
typedef enum wsk_outcome { WSK_SUCCEEDED = 0, WSK_FAILED = 1, WSK_NOTHING = 2, WSK_IGNORED = 3 } wsk_outcome;

typedef struct wsk_task wsk_task;

/* generated:types */

/* What an op was refused for, as ABI v1 numbers it, and what the SDK itself cannot do. */
typedef enum wsk_code {
    WSK_OK = 0,
    WSK_INVALID = 1, /* The request is malformed: not JSON, an unknown field, a wrong type, an unknown op. */
    WSK_NOT_FOUND = 2, /* The thing named is not there; of wait: no ticket is outstanding. */
    WSK_CONFLICT = 3, /* The thing named is not in a state that allows it, or somebody else is at it. */
    WSK_FORBIDDEN = 4, /* The cloud or a guard of the host refuses it. */
    WSK_NOT_GRANTED = 5, /* The manifest does not ask for the op or the name, or the operator did not grant it. */
    WSK_UNAVAILABLE = 6, /* The cloud could not be reached or answered with an error of its own; the outcome of a change has been looked up before this is said. */
    WSK_TIMEOUT = 7, /* The time given ran out. */
    WSK_CANCELED = 8, /* The task was cancelled, or gave up waiting. */
    WSK_TOO_LARGE = 9, /* Request, answer or value is larger than its limit. */
    WSK_QUOTA = 10, /* A limit on count or rate was reached. */
    WSK_BAD_ANSWER = 100, /* The host's answer has another form. */
    WSK_NO_MEMORY = 101   /* The task's memory is full. */
} wsk_code;

/* The name of a code, such as not_found. */
static inline const char *wsk_code_name(wsk_code code) {
    switch ((int)code) {
    case 0: return "ok";
    case 1: return "invalid";
    case 2: return "not_found";
    case 3: return "conflict";
    case 4: return "forbidden";
    case 5: return "not_granted";
    case 6: return "unavailable";
    case 7: return "timeout";
    case 8: return "canceled";
    case 9: return "too_large";
    case 10: return "quota";
    case 100: return "bad_answer";
    case 101: return "no_memory";
    default: return "unknown";
    }
}

/* ErrorDocument: What take delivers after a negative status. */
typedef struct wsk_error_document {
    wsk_str code; /* One of the errno names. */
    wsk_str message; /* The reason, for a person. */
    int64_t status; /* HTTP status of Nova's answer; absent when no answer came or the error is not Nova's. */
    wsk_str request_id; /* Nova's x-openstack-request-id; absent when there is none. */
} wsk_error_document;

/* Fault: The last error that Nova recorded for a server. */
typedef struct wsk_fault {
    int64_t code; /* HTTP-like code. */
    wsk_str message; /* Nova's text. */
    wsk_str created; /* RFC 3339. */
} wsk_fault;

/* Server: A Nova server, trimmed to what a guest may see. Names and values are Nova's. */
typedef struct wsk_server {
    wsk_str id; /* UUID. */
    wsk_str name; /* Display name. */
    wsk_str status; /* Nova's status, such as ACTIVE, SHUTOFF, ERROR, REBUILD. */
    wsk_str tenant_id; /* Project that owns it. */
    wsk_str user_id; /* User that made it. */
    wsk_json metadata; /* Its owner's metadata. */
    wsk_strs tags; /* Its tags. */
    wsk_str created; /* RFC 3339. */
    wsk_str updated; /* RFC 3339. */
    wsk_str description; /* Its owner's text. */
    bool locked; /* True when somebody locked it. */
    wsk_str locked_reason; /* Who locked it and why. */
    wsk_json flavor; /* Nova's flavor document. */
    wsk_json image; /* Nova's image reference; an empty string for a server booted from a volume. */
    const wsk_fault *fault;
    wsk_str vm_state; /* active, stopped, error, paused, suspended, rescued, resized, building, deleted, soft-delete, shelved, shelved_offloaded. */
    wsk_str task_state; /* What Nova is doing with it; null when nothing. */
    int64_t power_state; /* 0 none, 1 running, 3 paused, 4 shut down, 6 crashed, 7 suspended. */
    wsk_str availability_zone; /* Availability zone. */
    wsk_str host; /* Compute host. Not shown to tenants. */
    wsk_str hypervisor_hostname; /* Hypervisor. Not shown to tenants. */
    wsk_str instance_name; /* Name at the hypervisor. Not shown to tenants. */
    wsk_str host_status; /* UP, UNKNOWN, DOWN or MAINTENANCE. Not shown to tenants. */
    wsk_json volumes_attached; /* Nova's list of attached volumes. */
    wsk_strs server_groups; /* UUIDs of its server groups. */
} wsk_server;

/* ComputeService: A row of Nova's os-services. */
typedef struct wsk_compute_service {
    wsk_str id; /* UUID. */
    wsk_str binary; /* Such as nova-compute. */
    wsk_str host; /* Compute host. */
    wsk_str zone; /* Availability zone. */
    wsk_str status; /* enabled or disabled. */
    wsk_str state; /* up or down. */
    wsk_str disabled_reason; /* Why it is disabled. */
    bool forced_down; /* True when it was forced down. */
    wsk_str updated_at; /* Last report. */
} wsk_compute_service;

/* Aggregate: A host aggregate. */
typedef struct wsk_aggregate {
    int64_t id; /* Id. */
    wsk_str name; /* Name. */
    wsk_str availability_zone; /* Availability zone. */
    wsk_strs hosts; /* Hosts in it. */
    wsk_json metadata; /* Metadata. */
} wsk_aggregate;

/* HypervisorService: The compute service of a hypervisor. */
typedef struct wsk_hypervisor_service {
    wsk_str id; /* UUID. */
    wsk_str host; /* Compute host. */
} wsk_hypervisor_service;

/* Hypervisor: A row of Nova's os-hypervisors. */
typedef struct wsk_hypervisor {
    wsk_str id; /* UUID. */
    wsk_str hypervisor_hostname; /* Name. */
    wsk_str hypervisor_type; /* Driver. */
    wsk_str state; /* up or down. */
    wsk_str status; /* enabled or disabled. */
    wsk_str host_ip; /* Address. */
    const wsk_hypervisor_service *service;
} wsk_hypervisor;

/* Migration: A row of Nova's os-migrations. */
typedef struct wsk_migration {
    int64_t id; /* Id. */
    wsk_str uuid; /* UUID. */
    wsk_str instance_uuid; /* Server. */
    wsk_str status; /* accepted, pre-migrating, done, completed, error, failed, ... */
    wsk_str migration_type; /* evacuation, migration, live-migration or resize. */
    wsk_str source_compute; /* Host it leaves. */
    wsk_str dest_compute; /* Host it goes to. */
    wsk_str created_at; /* RFC 3339. */
    wsk_str updated_at; /* RFC 3339. */
} wsk_migration;

/* Segment: The failover segment of the run. */
typedef struct wsk_segment {
    wsk_str uuid; /* UUID. */
    wsk_str name; /* Name. */
    wsk_str description; /* Text. */
    wsk_str service_type; /* Free text. */
    wsk_str recovery_method; /* auto, reserved_host, auto_priority or rh_priority. */
    bool enabled; /* False: failures are not acted on. */
} wsk_segment;

/* Host: A compute host of a segment. */
typedef struct wsk_host {
    wsk_str uuid; /* UUID. */
    wsk_str name; /* Host name of its nova-compute service. */
    wsk_str type; /* Free text. */
    wsk_str control_attributes; /* Free text. */
    bool reserved; /* A spare for evacuations. */
    bool on_maintenance; /* Failures of it are not acted on. */
    wsk_str failover_segment_id; /* Segment's UUID. */
} wsk_host;

/* VMove: The move of one server in a host recovery; the highest attempt of a server counts. */
typedef struct wsk_vmove {
    wsk_str uuid; /* UUID of the record. */
    wsk_str notification_uuid; /* Notification. */
    wsk_str instance_uuid; /* Server. */
    wsk_str instance_name; /* Server's name. */
    wsk_str type; /* evacuation. */
    wsk_str status; /* pending, ongoing, succeeded, failed or ignored. */
    wsk_str source_host; /* Host it was on. */
    wsk_str dest_host; /* Host it is on now. */
    wsk_str message; /* Why it failed or was left, what was done to it. */
    wsk_str start_time; /* RFC 3339. */
    wsk_str end_time; /* RFC 3339. */
    int64_t attempt; /* From 1; grows when main is repeated or another flow runs. */
} wsk_vmove;

/* TaskInput: Everything that a task may know about its run. */
typedef struct wsk_task_input {
    wsk_str key; /* The entry-point key under which the task runs. A module with several keys tells by it which task is wanted. */
    wsk_str flow; /* host-auto, host-rh, instance, process or host-repair. */
    wsk_str phase; /* pre, main or post. */
    wsk_str run_id; /* The run. */
    wsk_str notification_uuid; /* The notification. */
    int64_t attempt; /* 1 at first; more when the task is run again after an interruption. */
    int64_t round; /* 1 at first; grows when main is repeated with another reserved host or a fallback flow runs. */
    wsk_str idempotency_key; /* The same for every attempt at this place of this run: give it to systems that drop repeated requests. */
    bool reverting; /* True in revert. */
    wsk_str failure; /* In revert: why the flow failed. */
    wsk_json inputs; /* Flow inputs and values provided by earlier tasks: those that the manifest requires or lists as optional, and that are there. */
    wsk_json options; /* The options that the manifest lists, by group, typed; unset ones are null. */
} wsk_task_input;

/* ScriptFile: One file of a script task. */
typedef struct wsk_script_file {
    wsk_str name; /* Path inside the script. */
    wsk_str text; /* Contents. */
} wsk_script_file;

/* KVEntry: One key of a listing. */
typedef struct wsk_kv_entry {
    wsk_str name; /* Key. */
    int64_t version; /* Grows with every write. */
    int64_t size; /* Bytes of the value's JSON. */
} wsk_kv_entry;

/* Secret: Handle of an option that is a secret. The host puts the value in its place after the request left the guest, where the operator
 * bound it to. */
typedef struct wsk_secret {
    wsk_str name; /* group.option */
    wsk_str prefix; /* What stands before the value, such as 'Bearer '; in headers only. */
} wsk_secret;

/* Text: A string, or the handle of a secret. */
typedef struct wsk_text {
    wsk_str str;
    wsk_secret secret;
} wsk_text;

typedef struct wsk_named_text {
    wsk_str name;
    wsk_text text;
} wsk_named_text;

/* HTTPBasic: User and password of basic authentication. */
typedef struct wsk_http_basic {
    wsk_text user; /* User, without colons. */
    wsk_text password; /* Password. */
} wsk_http_basic;

/* HTTPTLS: Secrets in PEM that TLS works with. */
typedef struct wsk_http_tls {
    const wsk_secret *ca; /* CA certificates to trust instead of the system's. */
    const wsk_secret *cert; /* Client certificate; may hold the key too. */
    const wsk_secret *key; /* Key of the client certificate. */
} wsk_http_tls;

/* The answer of task.input. */
typedef wsk_task_input wsk_task_input_answer;

/* The answer of task.script. */
typedef struct wsk_task_script_answer {
    struct { const wsk_script_file *p; size_t n; } files; /* Its files. */
} wsk_task_script_answer;

/* The request of task.reason. */
typedef struct wsk_task_reason_request {
    wsk_str reason; /* At most 4096 bytes; longer ones are cut. */
} wsk_task_reason_request;

/* The request of task.sleep. */
typedef struct wsk_task_sleep_request {
    int64_t ms; /* Milliseconds. */
} wsk_task_sleep_request;

/* The request of task.cancel. */
typedef struct wsk_task_cancel_request {
    int64_t ticket; /* The ticket. */
} wsk_task_cancel_request;

/* The request of kv.get. */
typedef struct wsk_kv_get_request {
    wsk_str scope; /* Optional. run (default): of this run, how outputs pass from task to task. library: of the tenant and library, outlives the run. */
    wsk_str name; /* Key. */
} wsk_kv_get_request;

/* The answer of kv.get. */
typedef struct wsk_kv_get_answer {
    wsk_json value; /* The value. */
    int64_t version; /* Its version. */
} wsk_kv_get_answer;

/* The request of kv.put. */
typedef struct wsk_kv_put_request {
    wsk_str scope; /* Optional. run (default): of this run, how outputs pass from task to task. library: of the tenant and library, outlives the run. */
    wsk_str name; /* Key, at most 255 bytes. */
    wsk_json value; /* Any JSON. */
    wsk_maybe_i64 if_version; /* Optional. Scope library: write only when the key has this version; 0: only when it is not there. */
    int64_t ttl_s; /* Optional. Scope library: forget after so many seconds; 0 or absent: never. */
} wsk_kv_put_request;

/* The answer of kv.put. */
typedef struct wsk_kv_put_answer {
    int64_t version; /* Version now. */
} wsk_kv_put_answer;

/* The request of kv.delete. */
typedef struct wsk_kv_delete_request {
    wsk_str scope; /* Optional. run (default): of this run, how outputs pass from task to task. library: of the tenant and library, outlives the run. */
    wsk_str name; /* Key. */
    wsk_maybe_i64 if_version; /* Optional. Scope library: only when the key has this version. */
} wsk_kv_delete_request;

/* The request of kv.list. */
typedef struct wsk_kv_list_request {
    wsk_str scope; /* Optional. run (default): of this run, how outputs pass from task to task. library: of the tenant and library, outlives the run. */
    wsk_str prefix; /* Optional. Only keys that begin so. */
} wsk_kv_list_request;

/* The answer of kv.list. */
typedef struct wsk_kv_list_answer {
    struct { const wsk_kv_entry *p; size_t n; } entries; /* Sorted by name. */
} wsk_kv_list_answer;

/* The request of nova.server_get. */
typedef struct wsk_nova_server_get_request {
    wsk_str id; /* Server's UUID. */
    wsk_strs fields; /* Optional. Names of the fields to keep, as they stand in the answer's documents; empty: all that a guest may see. The host trims before it copies. */
} wsk_nova_server_get_request;

/* The answer of nova.server_get. */
typedef wsk_server wsk_nova_server_get_answer;

/* The request of nova.server_list. */
typedef struct wsk_nova_server_list_request {
    wsk_str host; /* Optional. Only those on this compute host. */
    wsk_str status; /* Optional. Only those in this status. */
    wsk_str name; /* Optional. Only those whose name matches Nova's regular expression. */
    wsk_str project_id; /* Optional. Only those of this project. */
    wsk_str changed_since; /* Optional. RFC 3339: only those changed since. */
    wsk_strs fields; /* Optional. Names of the fields to keep, as they stand in the answer's documents; empty: all that a guest may see. The host trims before it copies. */
} wsk_nova_server_list_request;

/* The answer of nova.server_list. */
typedef struct wsk_nova_server_list_answer {
    struct { const wsk_server *p; size_t n; } servers; /* In Nova's order. */
} wsk_nova_server_list_answer;

/* The request of nova.server_evacuate. */
typedef struct wsk_nova_server_evacuate_request {
    wsk_str id; /* Server's UUID. */
    wsk_str host; /* Optional. Target; absent: Nova's scheduler chooses. */
} wsk_nova_server_evacuate_request;

/* The answer of nova.server_evacuate. */
typedef struct wsk_nova_server_evacuate_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_evacuate_answer;

/* The request of nova.server_stop. */
typedef struct wsk_nova_server_stop_request {
    wsk_str id; /* Server's UUID. */
} wsk_nova_server_stop_request;

/* The answer of nova.server_stop. */
typedef struct wsk_nova_server_stop_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_stop_answer;

/* The request of nova.server_start. */
typedef struct wsk_nova_server_start_request {
    wsk_str id; /* Server's UUID. */
} wsk_nova_server_start_request;

/* The answer of nova.server_start. */
typedef struct wsk_nova_server_start_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_start_answer;

/* The request of nova.server_reboot. */
typedef struct wsk_nova_server_reboot_request {
    wsk_str id; /* Server's UUID. */
    wsk_str type; /* Optional. SOFT (default) or HARD. */
} wsk_nova_server_reboot_request;

/* The answer of nova.server_reboot. */
typedef struct wsk_nova_server_reboot_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_reboot_answer;

/* The request of nova.server_lock. */
typedef struct wsk_nova_server_lock_request {
    wsk_str id; /* Server's UUID. */
} wsk_nova_server_lock_request;

/* The answer of nova.server_lock. */
typedef struct wsk_nova_server_lock_answer {
    bool locked; /* True when the run holds the lock, false when somebody else does. */
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_lock_answer;

/* The request of nova.server_unlock. */
typedef struct wsk_nova_server_unlock_request {
    wsk_str id; /* Server's UUID. */
} wsk_nova_server_unlock_request;

/* The answer of nova.server_unlock. */
typedef struct wsk_nova_server_unlock_answer {
    bool unlocked; /* True when the run's lock was taken off. */
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_unlock_answer;

/* The request of nova.server_reset_state. */
typedef struct wsk_nova_server_reset_state_request {
    wsk_str id; /* Server's UUID. */
    wsk_str state; /* error or active. */
} wsk_nova_server_reset_state_request;

/* The answer of nova.server_reset_state. */
typedef struct wsk_nova_server_reset_state_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_reset_state_answer;

/* The request of nova.server_migrate. */
typedef struct wsk_nova_server_migrate_request {
    wsk_str id; /* Server's UUID. */
    wsk_str host; /* Optional. Target; absent: Nova chooses. */
} wsk_nova_server_migrate_request;

/* The answer of nova.server_migrate. */
typedef struct wsk_nova_server_migrate_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_migrate_answer;

/* The request of nova.server_live_migrate. */
typedef struct wsk_nova_server_live_migrate_request {
    wsk_str id; /* Server's UUID. */
    wsk_str host; /* Optional. Target; absent: Nova chooses. */
    wsk_str block_migration; /* Optional. auto (default), true or false. */
} wsk_nova_server_live_migrate_request;

/* The answer of nova.server_live_migrate. */
typedef struct wsk_nova_server_live_migrate_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_server_live_migrate_answer;

/* The request of nova.server_wait. */
typedef struct wsk_nova_server_wait_request {
    wsk_str id; /* Server's UUID. */
    wsk_str until; /* moved: away from from_host, with no task_state. vm_state: vm_state is one of vm_states and no task_state. task_clear: no task_state. */
    wsk_str from_host; /* Optional. With moved: the host it leaves, by default the failed host of the run. */
    wsk_strs vm_states; /* Optional. With vm_state: any of these. */
    int64_t timeout_s; /* Optional. Seconds; 0 or absent: as long as the task may run. */
    wsk_strs fields; /* Optional. Names of the fields to keep, as they stand in the answer's documents; empty: all that a guest may see. The host trims before it copies. */
} wsk_nova_server_wait_request;

/* The answer of nova.server_wait. */
typedef struct wsk_nova_server_wait_answer {
    wsk_str outcome; /* reached; error: Nova gave up (server in error, migration failed); deleted: the server is gone. */
    wsk_server server;
    wsk_str message; /* With error: Nova's reason. */
} wsk_nova_server_wait_answer;

/* The request of nova.service_list. */
typedef struct wsk_nova_service_list_request {
    wsk_str host; /* Optional. Only of this host. */
    wsk_str binary; /* Optional. Only of this binary. */
} wsk_nova_service_list_request;

/* The answer of nova.service_list. */
typedef struct wsk_nova_service_list_answer {
    struct { const wsk_compute_service *p; size_t n; } services;
} wsk_nova_service_list_answer;

/* The request of nova.service_disable. */
typedef struct wsk_nova_service_disable_request {
    wsk_str host; /* Compute host. */
    wsk_str binary; /* Optional. Default nova-compute. */
    wsk_str reason; /* Optional. Why. */
} wsk_nova_service_disable_request;

/* The answer of nova.service_disable. */
typedef struct wsk_nova_service_disable_answer {
    bool changed; /* False when this run had disabled it already. */
    wsk_compute_service service;
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_service_disable_answer;

/* The request of nova.service_enable. */
typedef struct wsk_nova_service_enable_request {
    wsk_str host; /* Compute host. */
    wsk_str binary; /* Optional. Default nova-compute. */
} wsk_nova_service_enable_request;

/* The answer of nova.service_enable. */
typedef struct wsk_nova_service_enable_answer {
    bool changed; /* False when it was enabled. */
    wsk_compute_service service;
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_service_enable_answer;

/* The request of nova.service_force_down. */
typedef struct wsk_nova_service_force_down_request {
    wsk_str host; /* Compute host. */
    wsk_str binary; /* Optional. Default nova-compute. */
    bool forced_down; /* True: it is off. */
} wsk_nova_service_force_down_request;

/* The answer of nova.service_force_down. */
typedef struct wsk_nova_service_force_down_answer {
    wsk_compute_service service;
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_service_force_down_answer;

/* The request of nova.service_wait. */
typedef struct wsk_nova_service_wait_request {
    wsk_str host; /* Compute host. */
    wsk_str binary; /* Optional. Default nova-compute. */
    wsk_str state; /* Optional. up or down. */
    wsk_str status; /* Optional. enabled or disabled. */
    int64_t timeout_s; /* Optional. Seconds; 0 or absent: as long as the task may run. */
} wsk_nova_service_wait_request;

/* The answer of nova.service_wait. */
typedef struct wsk_nova_service_wait_answer {
    wsk_compute_service service;
} wsk_nova_service_wait_answer;

/* The request of nova.aggregate_list. */
typedef struct wsk_nova_aggregate_list_request {
    wsk_str host; /* Optional. Only those that contain this host. */
} wsk_nova_aggregate_list_request;

/* The answer of nova.aggregate_list. */
typedef struct wsk_nova_aggregate_list_answer {
    struct { const wsk_aggregate *p; size_t n; } aggregates;
} wsk_nova_aggregate_list_answer;

/* The request of nova.aggregate_add_host. */
typedef struct wsk_nova_aggregate_add_host_request {
    int64_t id; /* Aggregate's id. */
    wsk_str host; /* Compute host. */
} wsk_nova_aggregate_add_host_request;

/* The answer of nova.aggregate_add_host. */
typedef struct wsk_nova_aggregate_add_host_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_aggregate_add_host_answer;

/* The request of nova.aggregate_remove_host. */
typedef struct wsk_nova_aggregate_remove_host_request {
    int64_t id; /* Aggregate's id. */
    wsk_str host; /* Compute host. */
} wsk_nova_aggregate_remove_host_request;

/* The answer of nova.aggregate_remove_host. */
typedef struct wsk_nova_aggregate_remove_host_answer {
    wsk_str request_id; /* Nova's request id of the change, empty when nothing had to be sent. */
} wsk_nova_aggregate_remove_host_answer;

/* The request of nova.hypervisor_list. */
typedef struct wsk_nova_hypervisor_list_request {
    wsk_str host; /* Optional. Only of this compute host. */
} wsk_nova_hypervisor_list_request;

/* The answer of nova.hypervisor_list. */
typedef struct wsk_nova_hypervisor_list_answer {
    struct { const wsk_hypervisor *p; size_t n; } hypervisors;
} wsk_nova_hypervisor_list_answer;

/* The request of nova.migration_list. */
typedef struct wsk_nova_migration_list_request {
    wsk_str instance_uuid; /* Optional. Only of this server. */
    wsk_str source_compute; /* Optional. Only away from this host. */
    wsk_str type; /* Optional. evacuation, migration, live-migration or resize. */
    wsk_str status; /* Optional. Only in this status. */
} wsk_nova_migration_list_request;

/* The answer of nova.migration_list. */
typedef struct wsk_nova_migration_list_answer {
    struct { const wsk_migration *p; size_t n; } migrations; /* Newest first. */
} wsk_nova_migration_list_answer;

/* The answer of ha.segment_get. */
typedef wsk_segment wsk_ha_segment_get_answer;

/* The request of ha.host_list. */
typedef struct wsk_ha_host_list_request {
    wsk_maybe reserved; /* Optional. Only those that are (or are not) reserved. */
    wsk_maybe on_maintenance; /* Optional. Only those that are (or are not) on maintenance. */
} wsk_ha_host_list_request;

/* The answer of ha.host_list. */
typedef struct wsk_ha_host_list_answer {
    struct { const wsk_host *p; size_t n; } hosts;
} wsk_ha_host_list_answer;

/* The request of ha.host_update. */
typedef struct wsk_ha_host_update_request {
    wsk_str name; /* Host's name. */
    wsk_maybe reserved; /* Optional. New value. */
    wsk_maybe on_maintenance; /* Optional. New value. */
} wsk_ha_host_update_request;

/* The answer of ha.host_update. */
typedef wsk_host wsk_ha_host_update_answer;

/* The request of ha.vmove_list. */
typedef struct wsk_ha_vmove_list_request {
    wsk_str status; /* Optional. Only in this status. */
    bool latest; /* Optional. True: only the latest attempt of each server. */
} wsk_ha_vmove_list_request;

/* The answer of ha.vmove_list. */
typedef struct wsk_ha_vmove_list_answer {
    struct { const wsk_vmove *p; size_t n; } vmoves; /* In the order in which they were made. */
} wsk_ha_vmove_list_answer;

/* The request of ha.vmove_put. */
typedef struct wsk_ha_vmove_put_request {
    wsk_str instance_uuid; /* Server. */
    wsk_str instance_name; /* Optional. Server's name. */
    wsk_str status; /* New status. One of pending, ongoing, succeeded, failed, ignored. */
    wsk_str source_host; /* Optional. Compute host. */
    wsk_str dest_host; /* Optional. Host it is on now. */
    wsk_str message; /* Optional. At most 4096 bytes; longer ones are cut. */
} wsk_ha_vmove_put_request;

/* The answer of ha.vmove_put. */
typedef wsk_vmove wsk_ha_vmove_put_answer;

/* The request of http.request. */
typedef struct wsk_http_request_request {
    wsk_str method; /* Method. One of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS. */
    wsk_str url; /* https or http URL in ASCII, without user and fragment. */
    struct { const wsk_named_text *p; size_t n; } headers; /* Optional. Values by name. Host, Content-Length, Accept-Encoding and the headers of a connection are the host's to set. */
    wsk_str body; /* Optional. Body as text. At most one of the three bodies is given. */
    wsk_str body_base64; /* Optional. Body as bytes, in standard base64. */
    wsk_json body_json; /* Optional. Body as JSON; objects that are handles of secrets are replaced by their strings. Sent as application/json unless headers say otherwise. */
    const wsk_http_basic *basic; /* Optional. Basic authentication. */
    const wsk_http_tls *tls; /* Optional. What TLS works with. */
    int64_t timeout_seconds; /* Optional. Limit for the whole exchange, redirects and body included; default and most: [http] timeout_seconds. */
    int64_t max_redirects; /* Optional. Redirects to follow, at most 5; default: none. What needs the same body sent again to another origin, and a redirect of PUT, PATCH or DELETE by 301 or 302, is not followed: the redirect is the answer. */
} wsk_http_request_request;

/* The answer of http.request. */
typedef struct wsk_http_request_answer {
    int64_t status; /* HTTP status. */
    wsk_str url; /* URL that answered, after redirects. */
    wsk_json headers; /* Values by name in canonical case, several joined by commas, those of Set-Cookie by line feeds. */
    wsk_str body; /* Body when it is UTF-8, decompressed; secrets are masked. */
    wsk_str body_base64; /* Body when it is not UTF-8. */
    bool dry_run; /* True when nothing was sent: a dry run takes the request to have been answered by an empty 200. */
} wsk_http_request_answer;

/* /generated:types */

/* ---- Errors ---- */

/* Why an op was refused. Texts may be empty. */
typedef struct wsk_error {
    wsk_str op; /* such as nova.server_evacuate */
    wsk_code code;
    wsk_str message;    /* the reason, for a person */
    int64_t status;     /* HTTP status of Nova's answer; 0 when the error is not Nova's or no answer came */
    wsk_str request_id; /* Nova's request id */
} wsk_error;

/* ---- Imports ---- */

#ifdef __wasm__
#define WSK_IMPORT(m, f) __attribute__((import_module(m), import_name(f)))
#define WSK_EXPORT(f) WSK_C __attribute__((export_name(f)))
#else /* The test brings these functions. */
#define WSK_IMPORT(m, f)
#define WSK_EXPORT(f) WSK_C
#endif

WSK_IMPORT("wasakari_v1", "call")
int64_t wsk_import_call(const char *op, size_t op_len, const char *req, size_t req_len, char *out, size_t out_cap);
WSK_IMPORT("wasakari_v1", "take")
int64_t wsk_import_take(char *out, size_t out_cap);
WSK_IMPORT("wasakari_v1", "submit")
int64_t wsk_import_submit(const char *op, size_t op_len, const char *req, size_t req_len);
WSK_IMPORT("wasakari_v1", "wait")
int64_t wsk_import_wait(int32_t timeout_ms, char *out, size_t out_cap);
WSK_IMPORT("wasakari_v1", "log")
void wsk_import_log(int32_t level, const char *msg, size_t len);
WSK_IMPORT("wasakari_v1", "progress")
void wsk_import_progress(int32_t permille, const char *msg, size_t len);
WSK_IMPORT("wasi_snapshot_preview1", "clock_time_get")
int32_t wsk_import_clock(int32_t clock, int64_t precision, uint64_t *time);

/* Without a libc the compiler still wants these four. */
#if defined(__wasm__) && !defined(__wasi__) && !defined(WSK_NO_MEM)
#if defined(__clang__)
#define WSK_MEM __attribute__((weak, no_builtin))
#else
#define WSK_MEM __attribute__((weak))
#endif
WSK_MEM void *memcpy(void *to, const void *from, size_t n) {
    char *d = (char *)to;
    const char *s = (const char *)from;
    while (n--) *d++ = *s++;
    return to;
}
WSK_MEM void *memmove(void *to, const void *from, size_t n) {
    char *d = (char *)to;
    const char *s = (const char *)from;
    if (d < s) {
        while (n--) *d++ = *s++;
    } else {
        while (n--) d[n] = s[n];
    }
    return to;
}
WSK_MEM void *memset(void *to, int c, size_t n) {
    char *d = (char *)to;
    while (n--) *d++ = (char)c;
    return to;
}
WSK_MEM int memcmp(const void *a, const void *b, size_t n) {
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    for (; n--; x++, y++) {
        if (*x != *y) return *x < *y ? -1 : 1;
    }
    return 0;
}
#endif

/* ---- Small things ---- */

static inline size_t wsk__len(const char *z) {
    size_t n = 0;
    while (z && z[n]) n++;
    return n;
}

/* The text of a C string, which NULL has none of. */
static inline wsk_str wsk_s(const char *z) {
    wsk_str s = {z, wsk__len(z)};
    return s;
}

static inline void wsk__copy(char *to, const char *from, size_t n) {
    if (n) __builtin_memcpy(to, from, n);
}

static inline bool wsk__same(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) return false;
    }
    return true;
}

static inline bool wsk_str_equal(wsk_str a, wsk_str b) { return a.n == b.n && wsk__same(a.p, b.p, a.n); }

/* Whether the text is that C string. */
static inline bool wsk_is(wsk_str a, const char *z) { return wsk_str_equal(a, wsk_s(z)); }

/* ---- Clocks ---- */

static inline int64_t wsk__clock_ms(int32_t clock) {
    uint64_t ns = 0;
    (void)wsk_import_clock(clock, 1, &ns);
    return (int64_t)(ns / 1000000u);
}

/* Milliseconds since 1970, UTC. */
static inline int64_t wsk_now_ms(void) { return wsk__clock_ms(0); }

/* Milliseconds of a clock that never goes back, for measuring. */
static inline int64_t wsk_ticks_ms(void) { return wsk__clock_ms(1); }

/* ---- The task and its memory ---- */

typedef struct wsk_chunk {
    struct wsk_chunk *next;
    size_t size, used; /* of the bytes behind this head */
    size_t pad;        /* they are aligned */
} wsk_chunk;

/* One op in flight, and one thing of wsk_parallel. Begin with a zeroed one; it must stay where it is while its op is open. */
typedef struct wsk_item {
    /* For the task's own use; wsk_parallel sets index and counts stage. */
    size_t index;
    int stage;
    void *data;
    /* The SDK's. */
    const char *op;
    int32_t ticket;
    bool open, done, canceled;
    wsk_error error;
    wsk_json answer;
    struct wsk_item *next;
} wsk_item;

struct wsk_task {
    wsk_task_input in;      /* everything that it was given */
    wsk_error error;        /* see wsk_last_error */
    int32_t ticket_wait_ms; /* how long a begin waits while as many ops are open as may be; then it says WSK_QUOTA. Negative, as at first: for ever */
    /* The SDK's. */
    wsk_str reason;
    wsk_chunk *first, *now;
    size_t total, max;
    wsk_item *open, *ended, **last;
    size_t n_open, canceled; /* ops that are open, and how many of them were given up */
    bool full; /* the memory was, since somebody last looked */
};

static inline char *wsk__bytes(wsk_chunk *c) { return (char *)(c + 1); }

/* Gives the task this memory instead of its own. It does not grow. False when it is smaller than 4 KiB. What was given before stays valid. */
static inline bool wsk_use_memory(wsk_task *t, void *memory, size_t size) {
    size_t skip = (size_t)(-(uintptr_t)memory) & 15u;
    if (!memory || size < 4096) return false;
    wsk_chunk *c = (wsk_chunk *)(void *)((char *)memory + skip);
    c->next = NULL;
    c->size = size - skip - sizeof *c;
    c->used = 0;
    t->first = t->now = c;
    t->total = size;
    t->max = 0;
    return true;
}

static inline wsk_chunk *wsk__grow(wsk_task *t, size_t n) {
#ifdef __wasm__
    size_t want = (n < (256u << 10) ? (256u << 10) : n) + sizeof(wsk_chunk);
    size_t pages = (want + 65535u) >> 16;
    if (t->total > t->max || pages > (t->max - t->total) >> 16) {
        pages = (n + sizeof(wsk_chunk) + 65535u) >> 16;
        if (t->total > t->max || pages > (t->max - t->total) >> 16) return NULL;
    }
    size_t at = __builtin_wasm_memory_grow(0, pages);
    if (at == (size_t)-1) return NULL;
    wsk_chunk *c = (wsk_chunk *)(at << 16);
    c->size = (pages << 16) - sizeof *c;
    c->used = 0;
    t->total += pages << 16;
    return c;
#else
    (void)t;
    (void)n;
    return NULL;
#endif
}

/* Makes the chunk that is in use one with n free bytes. */
static inline bool wsk__room(wsk_task *t, size_t n) {
    while (t->now->size - t->now->used < n) {
        wsk_chunk *next = t->now->next;
        if (!next || next->size < n) {
            wsk_chunk *more = n < (size_t)1 << 30 ? wsk__grow(t, n) : NULL;
            if (!more) return false;
            more->next = next;
            t->now->next = next = more;
        }
        next->used = 0;
        t->now = next;
    }
    return true;
}

/* n zeroed bytes of the task's memory; NULL when it is full. */
static inline void *wsk_alloc(wsk_task *t, size_t n) {
    bool fits = n <= (size_t)1 << 30;
    n = (n + 15u) & ~(size_t)15u;
    if (!fits || !wsk__room(t, n)) {
        t->full = true;
        return NULL;
    }
    char *p = wsk__bytes(t->now) + t->now->used;
    t->now->used += n;
    if (n) __builtin_memset(p, 0, n);
    return p;
}

/* A place in the task's memory. */
typedef struct wsk_mark {
    wsk_chunk *chunk;
    size_t used;
} wsk_mark;

static inline wsk_mark wsk_mark_memory(wsk_task *t) {
    wsk_mark m = {t->now, t->now->used};
    return m;
}

/* The lowest text so far in a piece of memory. */
typedef struct wsk__low {
    const char *from, *to;
    const char **p;
    size_t n;
} wsk__low;

static inline void wsk__lower(wsk__low *low, const char **p, size_t n) {
    if (n && *p >= low->from && *p < low->to && (!low->p || *p < *low->p)) low->p = p, low->n = n;
}

/* Frees all that was given since the mark, wsk_last_error too. Loops with many ops want this. The outcome's reason, and answers that came meanwhile
 * and that neither wsk_wait nor wsk_end gave yet, stay: they move to the mark. */
static inline void wsk_release(wsk_task *t, wsk_mark m) {
    wsk_chunk *to = m.chunk, *last = t->now;
    size_t used = m.used;
    for (wsk_chunk *c = to; c; c = c == last ? NULL : c->next) {
        wsk__low low = {wsk__bytes(c) + (c == m.chunk ? m.used : 0), wsk__bytes(c) + c->used, NULL, 0};
        for (;; low.from += low.n) {
            low.p = NULL;
            wsk__lower(&low, &t->reason.p, t->reason.n);
            for (wsk_item *it = t->ended; it; it = it->next) {
                wsk__lower(&low, &it->answer.p, it->answer.n);
                wsk__lower(&low, &it->error.message.p, it->error.message.n);
                wsk__lower(&low, &it->error.request_id.p, it->error.request_id.n);
            }
            if (!low.p) break;
            for (; to != c && to->size - used < low.n; used = 0) to = to->next;
            low.from = *low.p;
            *low.p = (char *)__builtin_memmove(wsk__bytes(to) + used, low.from, low.n);
            used += low.n;
        }
    }
    t->now = to;
    t->now->used = used + 15u > to->size ? to->size : (used + 15u) & ~(size_t)15u;
    wsk_error none = {{NULL, 0}, WSK_OK, {NULL, 0}, 0, {NULL, 0}};
    t->error = none;
}

/* ---- Errors ---- */

/* The error of the last function that returned something else than WSK_OK. */
static inline const wsk_error *wsk_last_error(const wsk_task *t) { return &t->error; }

static inline wsk_code wsk__refuse(wsk_task *t, const char *op, wsk_code code, const char *message) {
    wsk_error e = {wsk_s(op), code, wsk_s(message), 0, {NULL, 0}};
    t->error = e;
    return code;
}

static inline wsk_code wsk__full(wsk_task *t, const char *op) {
    return wsk__refuse(t, op, WSK_NO_MEMORY, "the task's memory is full");
}

static inline wsk_code wsk__misread(wsk_task *t, const char *op) {
    return t->full ? wsk__full(t, op) : wsk__refuse(t, op, WSK_BAD_ANSWER, "the answer has another form");
}

/* ---- Reading JSON ---- */

static inline bool wsk__space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static inline bool wsk__digit(char c) { return c >= '0' && c <= '9'; }

static inline int wsk__hex(char c) {
    if (wsk__digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The end of the string that begins at p, NULL when it is none. */
static inline const char *wsk__check_string(const char *p, const char *end) {
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if ((unsigned char)*p < 0x20) return NULL;
        if (*p != '\\') continue;
        if (++p == end) return NULL;
        switch (*p) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            break;
        case 'u':
            if (end - p < 5) return NULL;
            for (int i = 1; i < 5; i++) {
                if (wsk__hex(p[i]) < 0) return NULL;
            }
            p += 4;
            break;
        default:
            return NULL;
        }
    }
    return NULL;
}

static inline const char *wsk__check_digits(const char *p, const char *end) {
    if (p == end || !wsk__digit(*p)) return NULL;
    while (p < end && wsk__digit(*p)) p++;
    return p;
}

static inline const char *wsk__check_number(const char *p, const char *end) {
    if (p < end && *p == '-') p++;
    if (p < end && *p == '0') {
        p++;
    } else if (!(p = wsk__check_digits(p, end))) {
        return NULL;
    }
    if (p < end && *p == '.' && !(p = wsk__check_digits(p + 1, end))) return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        p = wsk__check_digits(p, end);
    }
    return p;
}

static inline const char *wsk__check_word(const char *p, const char *end, const char *word) {
    for (; *word; word++, p++) {
        if (p == end || *p != *word) return NULL;
    }
    return p;
}

/* Checks that the text is one JSON document, nested at most WSK_JSON_DEPTH deep, and gives its value. Nothing is copied. */
static inline bool wsk_json_parse(wsk_str text, wsk_json *out) {
    unsigned char objects[(WSK_JSON_DEPTH + 7u) / 8u]; /* a bit for each level: is it an object? */
    size_t depth = 0;
    const char *p = text.p, *end = text.p + text.n, *begin;
    bool object;
    out->p = NULL;
    out->n = 0;
    while (p < end && wsk__space(*p)) p++;
    begin = p;
value:
    while (p < end && wsk__space(*p)) p++;
    if (p == end) return false;
    switch (*p) {
    case '{': case '[':
        if (depth == WSK_JSON_DEPTH) return false;
        object = *p == '{';
        if (object) {
            objects[depth / 8] = (unsigned char)(depth % 8 ? objects[depth / 8] | 1u << depth % 8 : 1u);
        } else {
            objects[depth / 8] = (unsigned char)(depth % 8 ? objects[depth / 8] & ~(1u << depth % 8) : 0u);
        }
        depth++;
        p++;
        while (p < end && wsk__space(*p)) p++;
        if (p < end && *p == (object ? '}' : ']')) {
            p++;
            depth--;
            goto after;
        }
        if (object) goto key;
        goto value;
    case '"': p = wsk__check_string(p, end); break;
    case 't': p = wsk__check_word(p, end, "true"); break;
    case 'f': p = wsk__check_word(p, end, "false"); break;
    case 'n': p = wsk__check_word(p, end, "null"); break;
    default: p = wsk__check_number(p, end); break;
    }
    if (!p) return false;
after:
    if (depth == 0) {
        const char *stop = p;
        while (p < end && wsk__space(*p)) p++;
        if (p != end) return false;
        out->p = begin;
        out->n = (size_t)(stop - begin);
        return true;
    }
    while (p < end && wsk__space(*p)) p++;
    if (p == end) return false;
    object = objects[(depth - 1) / 8] >> (depth - 1) % 8 & 1;
    if (*p == (object ? '}' : ']')) {
        p++;
        depth--;
        goto after;
    }
    if (*p++ != ',') return false;
    if (!object) goto value;
key:
    while (p < end && wsk__space(*p)) p++;
    if (p == end || *p != '"' || !(p = wsk__check_string(p, end))) return false;
    while (p < end && wsk__space(*p)) p++;
    if (p == end || *p++ != ':') return false;
    goto value;
}

static inline wsk_kind wsk_kind_of(wsk_json v) {
    if (!v.n) return WSK_ABSENT;
    switch (*v.p) {
    case '{': return WSK_OBJECT;
    case '[': return WSK_ARRAY;
    case '"': return WSK_STRING;
    case 't': case 'f': return WSK_BOOL;
    case 'n': return WSK_NULL;
    default: return WSK_NUMBER;
    }
}

/* Whether the value is not there or null. */
static inline bool wsk_none(wsk_json v) { return wsk_kind_of(v) <= WSK_NULL; }

/* The end of the string that begins at p, of checked text. */
static inline const char *wsk__skip_string(const char *p, const char *end) {
    for (p++; p < end; p++) {
        if (*p == '"') return p + 1;
        if (*p == '\\') p++;
    }
    return end;
}

/* The end of the value that begins at p, of checked text. */
static inline const char *wsk__skip(const char *p, const char *end) {
    size_t depth = 0;
    while (p < end) {
        switch (*p) {
        case '"':
            p = wsk__skip_string(p, end);
            if (!depth) return p;
            continue;
        case '{': case '[':
            depth++;
            break;
        case '}': case ']':
            if (depth < 2) return depth ? p + 1 : p;
            depth--;
            break;
        case ',': case ':':
            if (!depth) return p;
            break;
        default:
            if (!depth && wsk__space(*p)) return p;
        }
        p++;
    }
    return end;
}

/* Goes over the elements of an array or the members of an object:
 *     for (wsk_iter it = wsk_each(v); wsk_next(&it);) ... it.key, it.value ...
 * Over anything else it goes not once. */
typedef struct wsk_iter {
    wsk_json key; /* a string; absent in arrays */
    wsk_json value;
    size_t index;
    const char *p, *end; /* the SDK's */
    bool object;
} wsk_iter;

static inline wsk_iter wsk_each(wsk_json v) {
    wsk_iter it = {{NULL, 0}, {NULL, 0}, (size_t)-1, NULL, NULL, false};
    wsk_kind k = wsk_kind_of(v);
    if (k >= WSK_ARRAY) {
        it.p = v.p + 1;
        it.end = v.p + v.n - 1;
        it.object = k == WSK_OBJECT;
    }
    return it;
}

static inline bool wsk_next(wsk_iter *it) {
    const char *p = it->p;
    while (p < it->end && (wsk__space(*p) || *p == ',')) p++;
    if (p >= it->end) return false;
    if (it->object) {
        it->key.p = p;
        p = wsk__skip_string(p, it->end);
        it->key.n = (size_t)(p - it->key.p);
        while (p < it->end && (wsk__space(*p) || *p == ':')) p++;
    }
    it->value.p = p;
    p = wsk__skip(p, it->end);
    it->value.n = (size_t)(p - it->value.p);
    it->p = p;
    it->index++;
    return true;
}

static inline size_t wsk_len(wsk_json v) {
    size_t n = 0;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) n++;
    return n;
}

static inline size_t wsk__utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3f));
        to[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3f));
    to[2] = (char)(0x80 | (c >> 6 & 0x3f));
    to[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static inline uint32_t wsk__hex4(const char *p, const char *end) {
    uint32_t c = 0;
    if (end - p < 4) return 0x10000;
    for (int i = 0; i < 4; i++) {
        int h = wsk__hex(p[i]);
        if (h < 0) return 0x10000;
        c = c << 4 | (uint32_t)h;
    }
    return c;
}

/* Writes what the escape at *p (its backslash) stands for, 1 to 4 bytes, and steps over it. Half a surrogate pair is U+FFFD. */
static inline size_t wsk__unescape(const char **p, const char *end, char *to) {
    const char *q = *p + 1;
    if (q >= end) {
        *p = end;
        return 0;
    }
    char c = *q++;
    *p = q;
    switch (c) {
    case 'b': to[0] = '\b'; return 1;
    case 'f': to[0] = '\f'; return 1;
    case 'n': to[0] = '\n'; return 1;
    case 'r': to[0] = '\r'; return 1;
    case 't': to[0] = '\t'; return 1;
    case 'u': break;
    default: to[0] = c; return 1;
    }
    uint32_t u = wsk__hex4(q, end);
    if (u > 0xffff) return wsk__utf8(to, 0xfffd);
    *p = q += 4;
    if (u >= 0xd800 && u < 0xe000) {
        uint32_t low = u < 0xdc00 && end - q >= 6 && q[0] == '\\' && q[1] == 'u' ? wsk__hex4(q + 2, end) : 0;
        if (low < 0xdc00 || low >= 0xe000) return wsk__utf8(to, 0xfffd);
        *p = q + 6;
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
    }
    return wsk__utf8(to, u);
}

/* Whether a value is that string. */
static inline bool wsk_json_is(wsk_json v, wsk_str s) {
    if (wsk_kind_of(v) != WSK_STRING || v.n < 2) return false;
    const char *p = v.p + 1, *end = v.p + v.n - 1;
    size_t at = 0;
    while (p < end) {
        char u[4];
        size_t n = 1;
        if (*p == '\\') {
            n = wsk__unescape(&p, end, u);
        } else {
            u[0] = *p++;
        }
        if (s.n - at < n || !wsk__same(u, s.p + at, n)) return false;
        at += n;
    }
    return at == s.n;
}

/* The member of an object; of several with the key, the last. Absent when there is none, and when v is no object. */
static inline wsk_json wsk_get(wsk_json v, const char *key) {
    wsk_json found = {NULL, 0};
    if (wsk_kind_of(v) != WSK_OBJECT) return found;
    wsk_str k = wsk_s(key);
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (wsk_json_is(it.key, k)) found = it.value;
    }
    return found;
}

/* The element of an array, absent beyond its end. */
static inline wsk_json wsk_at(wsk_json v, size_t index) {
    wsk_json none = {NULL, 0};
    if (wsk_kind_of(v) != WSK_ARRAY) return none;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (it.index == index) return it.value;
    }
    return none;
}

/* The string that a value is. False when it is none, or the memory is full. Text without escapes is not copied. */
static inline bool wsk_to_str(wsk_task *t, wsk_json v, wsk_str *out) {
    if (wsk_kind_of(v) != WSK_STRING || v.n < 2) return false;
    const char *p = v.p + 1, *end = v.p + v.n - 1, *q = p;
    while (q < end && *q != '\\') q++;
    if (q == end) {
        out->p = p;
        out->n = (size_t)(end - p);
        return true;
    }
    char *to = (char *)wsk_alloc(t, v.n); /* an escape is never shorter than what it stands for */
    if (!to) return false;
    size_t n = 0;
    while (p < end) {
        if (*p == '\\') {
            n += wsk__unescape(&p, end, to + n);
        } else {
            to[n++] = *p++;
        }
    }
    out->p = to;
    out->n = n;
    return true;
}

static inline bool wsk_to_bool(wsk_json v, bool *out) {
    if (wsk_kind_of(v) != WSK_BOOL) return false;
    *out = *v.p == 't';
    return true;
}

static inline bool wsk_to_u64(wsk_json v, uint64_t *out) {
    uint64_t u = 0;
    if (!v.n) return false;
    for (size_t i = 0; i < v.n; i++) {
        if (!wsk__digit(v.p[i])) return false;
        unsigned d = (unsigned)(v.p[i] - '0');
        if (u > UINT64_MAX / 10 || u * 10 > UINT64_MAX - d) return false;
        u = u * 10 + d;
    }
    *out = u;
    return true;
}

/* The integer that a value is, without loss. False for fractions, exponents, and what needs more than 64 bits. */
static inline bool wsk_to_i64(wsk_json v, int64_t *out) {
    bool minus = v.n && *v.p == '-';
    wsk_json digits = {v.p + minus, v.n - minus};
    uint64_t u;
    if (!wsk_to_u64(digits, &u) || u > (uint64_t)INT64_MAX + minus) return false;
    *out = minus ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

/* A large number, for exact conversions of decimal numbers: limbs of 32 bits, the lowest first. */
#define WSK__LIMBS 192
typedef struct wsk__big {
    uint32_t limb[WSK__LIMBS];
    unsigned n;
} wsk__big;

static inline void wsk__big_mul(wsk__big *b, uint32_t by, uint32_t add) {
    uint64_t carry = add;
    for (unsigned i = 0; i < b->n; i++) {
        carry += (uint64_t)b->limb[i] * by;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && b->n < WSK__LIMBS) b->limb[b->n++] = (uint32_t)carry;
}

static inline uint32_t wsk__big_div(wsk__big *b, uint32_t by) {
    uint64_t rest = 0;
    for (unsigned i = b->n; i--;) {
        rest = rest << 32 | b->limb[i];
        b->limb[i] = (uint32_t)(rest / by);
        rest %= by;
    }
    while (b->n && !b->limb[b->n - 1]) b->n--;
    return (uint32_t)rest;
}

static inline void wsk__big_shift(wsk__big *b, unsigned bits) {
    unsigned limbs = bits / 32;
    if (b->n + limbs > WSK__LIMBS) return;
    for (unsigned i = b->n; i--;) b->limb[i + limbs] = b->limb[i];
    for (unsigned i = 0; i < limbs; i++) b->limb[i] = 0;
    b->n += limbs;
    for (bits %= 32; bits; bits--) wsk__big_mul(b, 2, 0);
}

/* The double nearest to b * 2^exp, ties to even; more says that b is a little too small. */
static inline double wsk__big_double(const wsk__big *b, int exp, bool more) {
    if (!b->n) return 0;
    int top = 31;
    while (!(b->limb[b->n - 1] >> top)) top--;
    int len = (int)(b->n - 1) * 32 + top + 1; /* bits */
    int keep = 53;
    if (len + exp < -1021) keep = 53 - (-1021 - (len + exp)); /* a small double has fewer */
    if (keep < 0) return 0;
    uint64_t m = 0;
    bool half = false, rest = more;
    for (int i = 1; i <= len; i++) {
        bool bit = b->limb[(len - i) / 32] >> (len - i) % 32 & 1;
        if (i <= keep) m = m << 1 | bit;
        else if (i == keep + 1) half = bit;
        else if (bit) {
            rest = true;
            break;
        }
    }
    if (len < keep) {
        m <<= keep - len;
    }
    if (half && (rest || (m & 1))) m++;
    int e = len - keep + exp;
    if (m >> 53) {
        m >>= 1;
        e++;
    }
    union {
        uint64_t u;
        double d;
    } as;
    if (!(m >> 52)) {
        as.u = m; /* a small one, e is -1074 */
    } else if (e > 971) {
        as.u = (uint64_t)0x7ff << 52;
    } else {
        as.u = (uint64_t)(e + 1075) << 52 | (m & (((uint64_t)1 << 52) - 1));
    }
    return as.d;
}

/* The double nearest to a number. False when the value is no number, or too large for a double. */
static inline bool wsk_to_double(wsk_json v, double *out) {
    if (wsk_kind_of(v) != WSK_NUMBER) return false;
    const char *p = v.p, *end = v.p + v.n;
    bool minus = *p == '-', point = false, more = false;
    int64_t exp = 0;
    unsigned digits = 0;
    wsk__big b;
    b.n = 0;
    for (p += minus; p < end && (wsk__digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (digits >= 800) { /* more tell nothing but that there are more */
            more = more || *p != '0';
            exp += !point;
            continue;
        }
        digits += digits || *p != '0';
        wsk__big_mul(&b, 10, (uint32_t)(*p - '0'));
        exp -= point;
    }
    if (p < end) { /* e */
        p++;
        bool less = p < end && *p == '-';
        if (p < end && !wsk__digit(*p)) p++;
        int64_t x = 0;
        for (; p < end; p++) {
            if (!wsk__digit(*p)) return false;
            if (x < 100000000) x = x * 10 + (*p - '0');
        }
        exp += less ? -x : x;
    }
    double d = 0;
    if (digits && exp + (int64_t)digits > 310) return false;
    if (digits && exp + (int64_t)digits > -330) {
        int shift = 0;
        for (; exp > 0; exp--) wsk__big_mul(&b, 10, 0);
        if (exp < 0) {
            shift = (int)(-exp * 10 / 3) + 72; /* more bits than the division takes away */
            unsigned have = b.n * 32;
            shift = shift > (int)have ? shift - (int)have + 64 : 64;
            wsk__big_shift(&b, (unsigned)shift);
            for (; exp <= -9; exp += 9) more = wsk__big_div(&b, 1000000000u) || more;
            for (; exp < 0; exp++) more = wsk__big_div(&b, 10) || more;
        }
        d = wsk__big_double(&b, -shift, more);
        if (d > 1.7976931348623157e308) return false;
    }
    *out = minus ? -d : d;
    return true;
}

/* ---- Writing JSON ---- */

/* Collects text in the task's memory. Begin with wsk_write. */
typedef struct wsk_out {
    wsk_task *t;
    char *p;
    size_t n, cap;
    bool comma; /* a value stands before */
    bool bad;   /* the memory is full, or what was put is no JSON */
} wsk_out;

static inline wsk_out wsk_write(wsk_task *t) {
    wsk_out o = {t, NULL, 0, 0, false, false};
    return o;
}

static inline char *wsk__more(wsk_out *o, size_t n) {
    if (o->bad) return NULL;
    if (o->cap - o->n < n) {
        size_t cap = o->cap < 128 ? 256 : o->cap * 2;
        if (cap < o->n + n) cap = o->n + n;
        char *p = n < (size_t)1 << 30 ? (char *)wsk_alloc(o->t, cap) : NULL;
        if (!p) {
            o->bad = true;
            return NULL;
        }
        wsk__copy(p, o->p, o->n);
        o->p = p;
        o->cap = cap;
    }
    char *to = o->p ? o->p + o->n : NULL;
    o->n += n;
    return to;
}

static inline void wsk__add(wsk_out *o, const char *p, size_t n) {
    char *to = n ? wsk__more(o, n) : NULL;
    if (to) wsk__copy(to, p, n);
}

static inline void wsk__addc(wsk_out *o, char c) { wsk__add(o, &c, 1); }

static inline void wsk__value(wsk_out *o) {
    if (o->comma) wsk__addc(o, ',');
    o->comma = true;
}

static inline void wsk_begin_object(wsk_out *o) {
    wsk__value(o);
    wsk__addc(o, '{');
    o->comma = false;
}

static inline void wsk_end_object(wsk_out *o) {
    wsk__addc(o, '}');
    o->comma = true;
}

static inline void wsk_begin_array(wsk_out *o) {
    wsk__value(o);
    wsk__addc(o, '[');
    o->comma = false;
}

static inline void wsk_end_array(wsk_out *o) {
    wsk__addc(o, ']');
    o->comma = true;
}

/* Bytes of the UTF-8 character at p, 0 when it is none. */
static inline size_t wsk__char(const char *p, size_t n) {
    const unsigned char *s = (const unsigned char *)p;
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (len > n) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    if (len == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) return 0;
    if (len == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))) return 0;
    return len;
}

/* Puts a string. What is no UTF-8 in it becomes U+FFFD. */
static inline void wsk_put_str(wsk_out *o, wsk_str s) {
    static const char hex[] = "0123456789abcdef";
    wsk__value(o);
    wsk__addc(o, '"');
    for (size_t i = 0, from = 0;; ) {
        unsigned char c = i < s.n ? (unsigned char)s.p[i] : 0;
        size_t len = i < s.n ? wsk__char(s.p + i, s.n - i) : 0;
        if (len && c >= 0x20 && c != '"' && c != '\\') {
            i += len;
            continue;
        }
        if (i > from) wsk__add(o, s.p + from, i - from);
        if (i == s.n) break;
        if (!len) {
            wsk__add(o, "\xef\xbf\xbd", 3);
        } else if (c < 0x20) {
            char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            wsk__add(o, u, 6);
        } else {
            char u[2] = {'\\', (char)c};
            wsk__add(o, u, 2);
        }
        from = ++i;
    }
    wsk__addc(o, '"');
}

static inline void wsk_put_text(wsk_out *o, const char *z) { wsk_put_str(o, wsk_s(z)); }

/* The key of the member whose value is put next. */
static inline void wsk_key_str(wsk_out *o, wsk_str key) {
    wsk_put_str(o, key);
    wsk__addc(o, ':');
    o->comma = false;
}

static inline void wsk_key(wsk_out *o, const char *key) { wsk_key_str(o, wsk_s(key)); }

static inline void wsk__add_u64(wsk_out *o, uint64_t u, unsigned base) {
    char d[20];
    size_t n = sizeof d;
    do {
        d[--n] = "0123456789abcdef"[u % base];
        u /= base;
    } while (u);
    wsk__add(o, d + n, sizeof d - n);
}

static inline void wsk__add_i64(wsk_out *o, int64_t i) {
    if (i < 0) wsk__addc(o, '-');
    wsk__add_u64(o, i < 0 ? 0 - (uint64_t)i : (uint64_t)i, 10);
}

static inline void wsk_put_i64(wsk_out *o, int64_t i) {
    wsk__value(o);
    wsk__add_i64(o, i);
}

static inline void wsk_put_u64(wsk_out *o, uint64_t u) {
    wsk__value(o);
    wsk__add_u64(o, u, 10);
}

static inline void wsk_put_bool(wsk_out *o, bool b) {
    wsk__value(o);
    wsk__add(o, b ? "true" : "false", b ? 4 : 5);
}

static inline void wsk_put_null(wsk_out *o) {
    wsk__value(o);
    wsk__add(o, "null", 4);
}

/* Puts a value that was read; null for one that is absent. */
static inline void wsk_put_json(wsk_out *o, wsk_json v) {
    if (!v.n) {
        wsk_put_null(o);
        return;
    }
    wsk__value(o);
    wsk__add(o, v.p, v.n);
}

/* Puts a number with the fewest digits, at most 17, that read as the same double. JSON has no infinities and no NaN: they spoil the document. */
static inline void wsk_put_double(wsk_out *o, double d) {
    union {
        double d;
        uint64_t u;
    } as;
    as.d = d;
    int e = (int)(as.u >> 52 & 0x7ff);
    uint64_t m = as.u & (((uint64_t)1 << 52) - 1);
    if (e == 0x7ff) {
        o->bad = true;
        return;
    }
    if (e) m |= (uint64_t)1 << 52;
    else e = 1;
    e -= 1075;
    wsk__value(o);
    if (as.u >> 63) wsk__addc(o, '-');
    if (!m) {
        wsk__addc(o, '0');
        return;
    }
    /* All decimal digits of m * 2^e, of which point stand before the point. */
    wsk__big b;
    char digit[800];
    unsigned n = 0;
    int point;
    b.limb[0] = (uint32_t)m;
    b.limb[1] = (uint32_t)(m >> 32);
    b.n = b.limb[1] ? 2 : 1;
    if (e >= 0) {
        wsk__big_shift(&b, (unsigned)e);
        point = 0;
    } else { /* m * 5^-e, and the point -e digits from the right */
        for (int i = 0; i < -e; i++) wsk__big_mul(&b, 5, 0);
        point = e;
    }
    while (b.n && n < sizeof digit) digit[n++] = (char)wsk__big_div(&b, 10);
    for (unsigned i = 0; i < n / 2; i++) {
        char c = digit[i];
        digit[i] = digit[n - 1 - i];
        digit[n - 1 - i] = c;
    }
    point += (int)n;
    char text[32];
    size_t len = 0;
    for (unsigned want = 1; want <= 17; want++) {
        char r[18];
        int at = point;
        unsigned k = want < n ? want : n;
        for (unsigned i = 0; i < k; i++) r[i + 1] = digit[i];
        r[0] = 0;
        bool up = false;
        if (k < n) {
            up = digit[k] > 5;
            for (unsigned i = k + 1; digit[k] == 5 && i < n && !up; i++) up = digit[i] != 0;
            up = up || (digit[k] == 5 && r[k] % 2);
        }
        for (unsigned i = k; up; i--) {
            up = r[i] == 9;
            r[i] = (char)(up ? 0 : r[i] + 1);
        }
        const char *first = r + 1;
        if (r[0]) {
            first = r;
            at++;
        }
        unsigned last = k - 1;
        while (last && !first[last]) last--;
        len = 0;
        if (at > 21 || at < -5) { /* as d.ddde-n */
            text[len++] = (char)('0' + first[0]);
            if (last) text[len++] = '.';
            for (unsigned i = 1; i <= last; i++) text[len++] = (char)('0' + first[i]);
            text[len++] = 'e';
            if (--at < 0) text[len++] = '-';
            unsigned a = (unsigned)(at < 0 ? -at : at);
            if (a >= 100) text[len++] = (char)('0' + a / 100);
            if (a >= 10) text[len++] = (char)('0' + a / 10 % 10);
            text[len++] = (char)('0' + a % 10);
        } else {
            if (at <= 0) {
                text[len++] = '0';
                text[len++] = '.';
                for (int i = at; i < 0; i++) text[len++] = '0';
            }
            for (unsigned i = 0; i <= last || (int)i < at; i++) {
                if (i && (int)i == at) text[len++] = '.';
                text[len++] = (char)('0' + (i <= last ? first[i] : 0));
            }
        }
        wsk_json v = {text, len};
        double back;
        if (wsk_to_double(v, &back) && (back == d || back == -d)) break;
    }
    wsk__add(o, text, len);
}

/* The document that was put; absent when the memory was full or what was put is no JSON. */
static inline wsk_json wsk_done(wsk_out *o) {
    wsk_json v = {NULL, 0};
    wsk_str s = {o->p, o->n};
    if (o->bad || !o->n || !wsk_json_parse(s, &v)) o->bad = true;
    return v;
}

static inline wsk_json wsk_json_str(wsk_task *t, wsk_str s) {
    wsk_out o = wsk_write(t);
    wsk_put_str(&o, s);
    return wsk_done(&o);
}

static inline wsk_json wsk_json_i64(wsk_task *t, int64_t i) {
    wsk_out o = wsk_write(t);
    wsk_put_i64(&o, i);
    return wsk_done(&o);
}

static inline wsk_json wsk_json_bool(bool b) {
    wsk_json v = {b ? "true" : "false", b ? 4u : 5u};
    return v;
}

/* ---- Text ---- */

/* Formats as printf does, with %s, %.*s, %c, %d, %i, %u, %x, %%, and l, ll, z before the numbers. The text is empty when the memory is full. A zero
 * stands behind it, so that its p is a C string. */
static inline wsk_str wsk_vformat(wsk_task *t, const char *format, va_list args) {
    wsk_out o = wsk_write(t);
    for (const char *f = format; *f; f++) {
        const char *from = f;
        while (*f && *f != '%') f++;
        wsk__add(&o, from, (size_t)(f - from));
        if (!*f) break;
        from = f++;
        int max = -1, longs = 0;
        if (f[0] == '.' && f[1] == '*') {
            max = va_arg(args, int);
            f += 2;
        }
        while (*f == 'l') longs++, f++;
        bool size = *f == 'z';
        f += size;
        switch (*f) {
        case 's': {
            const char *z = va_arg(args, const char *);
            size_t n = 0;
            if (!z && max < 0) z = "(null)";
            while ((max < 0 || n < (size_t)max) && (z && z[n])) n++;
            wsk__add(&o, z, n);
            break;
        }
        case 'c': wsk__addc(&o, (char)va_arg(args, int)); break;
        case 'd': case 'i':
            wsk__add_i64(&o, size ? (int64_t)va_arg(args, ptrdiff_t) : longs > 1 ? va_arg(args, long long) : longs ? va_arg(args, long) : va_arg(args, int));
            break;
        case 'u': case 'x':
            wsk__add_u64(&o, size ? va_arg(args, size_t) : longs > 1 ? va_arg(args, unsigned long long) : longs ? va_arg(args, unsigned long) : va_arg(args, unsigned),
                         *f == 'x' ? 16 : 10);
            break;
        case '%': wsk__addc(&o, '%'); break;
        default: /* as it stands there */
            wsk__add(&o, from, (size_t)(f - from) + (*f != 0));
            if (!*f) f--;
        }
    }
    wsk__addc(&o, 0);
    wsk_str s = {o.bad ? "" : o.p, o.bad ? 0 : o.n - 1};
    return s;
}

WSK_PRINTF(2, 3) static inline wsk_str wsk_format(wsk_task *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    wsk_str s = wsk_vformat(t, format, args);
    va_end(args);
    return s;
}

/* A list of C strings, which ends with NULL: wsk_list(t, "id", "name", NULL). */
__attribute__((sentinel)) static inline wsk_strs wsk_list(wsk_task *t, ...) {
    wsk_strs l = {NULL, 0};
    size_t n = 0;
    va_list args;
    va_start(args, t);
    while (va_arg(args, const char *)) n++;
    va_end(args);
    wsk_str *p = (wsk_str *)wsk_alloc(t, n * sizeof *p);
    if (!p) return l;
    va_start(args, t);
    for (size_t i = 0; i < n; i++) p[i] = wsk_s(va_arg(args, const char *));
    va_end(args);
    l.p = p;
    l.n = n;
    return l;
}

/* Op, code, reason, and what Nova said. */
static inline wsk_str wsk_error_text(wsk_task *t, const wsk_error *e) {
    wsk_out o = wsk_write(t);
    if (e->op.n) {
        wsk__add(&o, e->op.p, e->op.n);
        wsk__add(&o, ": ", 2);
    }
    for (const char *c = wsk_code_name(e->code); *c; c++) wsk__addc(&o, *c == '_' ? ' ' : *c);
    wsk_str m = e->message; /* the host's reasons name the op as well */
    if (e->op.n && m.n >= e->op.n + 2 && wsk__same(m.p, e->op.p, e->op.n) && m.p[e->op.n] == ':' && m.p[e->op.n + 1] == ' ') {
        m.p += e->op.n + 2;
        m.n -= e->op.n + 2;
    }
    if (m.n) {
        wsk__add(&o, ": ", 2);
        wsk__add(&o, m.p, m.n);
    }
    if (e->status || e->request_id.n) {
        wsk__add(&o, " (", 2);
        if (e->status) {
            wsk__add(&o, "HTTP ", 5);
            wsk__add_i64(&o, e->status);
        }
        if (e->status && e->request_id.n) wsk__add(&o, ", ", 2);
        wsk__add(&o, e->request_id.p, e->request_id.n);
        wsk__addc(&o, ')');
    }
    wsk_str s = {o.p, o.n};
    return s;
}

/* ---- Codecs of documents ---- */

static inline bool wsk__key_is(wsk_json key, const char *lit, size_t n) {
    if (key.n == n + 2 && wsk__same(key.p + 1, lit, n)) return true;
    if (key.n <= n + 2) return false; /* escapes make it longer */
    wsk_str s = {lit, n};
    return wsk_json_is(key, s);
}
#define WSK__KEY(k, lit) wsk__key_is(k, lit, sizeof(lit) - 1)

/* Null is left out, as if it were not there. */
static inline bool wsk__get_str(wsk_task *t, wsk_json v, wsk_str *out) { return wsk_none(v) || wsk_to_str(t, v, out); }
static inline bool wsk__get_bool(wsk_task *t, wsk_json v, bool *out) { return (void)t, wsk_none(v) || wsk_to_bool(v, out); }
static inline bool wsk__get_i64(wsk_task *t, wsk_json v, int64_t *out) { return (void)t, wsk_none(v) || wsk_to_i64(v, out); }
static inline bool wsk__get_any(wsk_task *t, wsk_json v, wsk_json *out) { return (void)t, *out = v, true; }

/* Room for the elements of an array, and their number. */
static inline void *wsk__array(wsk_task *t, wsk_json v, size_t size, size_t *n) {
    *n = wsk_len(v);
    return wsk_alloc(t, *n < ((size_t)1 << 30) / size ? *n * size : (size_t)-1);
}

static inline bool wsk__get_strs(wsk_task *t, wsk_json v, wsk_strs *out) {
    if (wsk_none(v)) return true;
    if (wsk_kind_of(v) != WSK_ARRAY) return false;
    size_t n;
    wsk_str *p = (wsk_str *)wsk__array(t, v, sizeof *p, &n);
    if (!p) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (!wsk__get_str(t, it.value, &p[it.index])) return false;
    }
    out->p = p;
    out->n = n;
    return true;
}

static inline void wsk__put_strs(wsk_out *o, const char *key, wsk_strs l) {
    wsk_key(o, key);
    wsk_begin_array(o);
    for (size_t i = 0; i < l.n; i++) wsk_put_str(o, l.p[i]);
    wsk_end_array(o);
}

static inline void wsk__put_text_value(wsk_out *o, wsk_text x) {
    if (!x.secret.name.n) {
        wsk_put_str(o, x.str);
        return;
    }
    wsk_begin_object(o);
    wsk_key(o, "$secret");
    wsk_put_str(o, x.secret.name);
    if (x.secret.prefix.n) {
        wsk_key(o, "prefix");
        wsk_put_str(o, x.secret.prefix);
    }
    wsk_end_object(o);
}

static inline void wsk__put_texts(wsk_out *o, const wsk_named_text *p, size_t n) {
    wsk_begin_object(o);
    for (size_t i = 0; i < n; i++) {
        wsk_key_str(o, p[i].name);
        wsk__put_text_value(o, p[i].text);
    }
    wsk_end_object(o);
}

/* generated:codecs */

static inline bool wsk__get_task_input(wsk_task *t, wsk_json v, wsk_task_input *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "key")) {
            if (!wsk__get_str(t, it.value, &out->key)) return false;
        } else if (WSK__KEY(it.key, "flow")) {
            if (!wsk__get_str(t, it.value, &out->flow)) return false;
        } else if (WSK__KEY(it.key, "phase")) {
            if (!wsk__get_str(t, it.value, &out->phase)) return false;
        } else if (WSK__KEY(it.key, "run_id")) {
            if (!wsk__get_str(t, it.value, &out->run_id)) return false;
        } else if (WSK__KEY(it.key, "notification_uuid")) {
            if (!wsk__get_str(t, it.value, &out->notification_uuid)) return false;
        } else if (WSK__KEY(it.key, "attempt")) {
            if (!wsk__get_i64(t, it.value, &out->attempt)) return false;
        } else if (WSK__KEY(it.key, "round")) {
            if (!wsk__get_i64(t, it.value, &out->round)) return false;
        } else if (WSK__KEY(it.key, "idempotency_key")) {
            if (!wsk__get_str(t, it.value, &out->idempotency_key)) return false;
        } else if (WSK__KEY(it.key, "reverting")) {
            if (!wsk__get_bool(t, it.value, &out->reverting)) return false;
        } else if (WSK__KEY(it.key, "failure")) {
            if (!wsk__get_str(t, it.value, &out->failure)) return false;
        } else if (WSK__KEY(it.key, "inputs")) {
            if (!wsk__get_any(t, it.value, &out->inputs)) return false;
        } else if (WSK__KEY(it.key, "options")) {
            if (!wsk__get_any(t, it.value, &out->options)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_script_file(wsk_task *t, wsk_json v, wsk_script_file *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "name")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "text")) {
            if (!wsk__get_str(t, it.value, &out->text)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_kv_entry(wsk_task *t, wsk_json v, wsk_kv_entry *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "name")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "version")) {
            if (!wsk__get_i64(t, it.value, &out->version)) return false;
        } else if (WSK__KEY(it.key, "size")) {
            if (!wsk__get_i64(t, it.value, &out->size)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_fault(wsk_task *t, wsk_json v, wsk_fault *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "code")) {
            if (!wsk__get_i64(t, it.value, &out->code)) return false;
        } else if (WSK__KEY(it.key, "message")) {
            if (!wsk__get_str(t, it.value, &out->message)) return false;
        } else if (WSK__KEY(it.key, "created")) {
            if (!wsk__get_str(t, it.value, &out->created)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_server(wsk_task *t, wsk_json v, wsk_server *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "id")) {
            if (!wsk__get_str(t, it.value, &out->id)) return false;
        } else if (WSK__KEY(it.key, "name")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_str(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "tenant_id")) {
            if (!wsk__get_str(t, it.value, &out->tenant_id)) return false;
        } else if (WSK__KEY(it.key, "user_id")) {
            if (!wsk__get_str(t, it.value, &out->user_id)) return false;
        } else if (WSK__KEY(it.key, "metadata")) {
            if (!wsk__get_any(t, it.value, &out->metadata)) return false;
        } else if (WSK__KEY(it.key, "tags")) {
            if (!wsk__get_strs(t, it.value, &out->tags)) return false;
        } else if (WSK__KEY(it.key, "created")) {
            if (!wsk__get_str(t, it.value, &out->created)) return false;
        } else if (WSK__KEY(it.key, "updated")) {
            if (!wsk__get_str(t, it.value, &out->updated)) return false;
        } else if (WSK__KEY(it.key, "description")) {
            if (!wsk__get_str(t, it.value, &out->description)) return false;
        } else if (WSK__KEY(it.key, "locked")) {
            if (!wsk__get_bool(t, it.value, &out->locked)) return false;
        } else if (WSK__KEY(it.key, "locked_reason")) {
            if (!wsk__get_str(t, it.value, &out->locked_reason)) return false;
        } else if (WSK__KEY(it.key, "flavor")) {
            if (!wsk__get_any(t, it.value, &out->flavor)) return false;
        } else if (WSK__KEY(it.key, "image")) {
            if (!wsk__get_any(t, it.value, &out->image)) return false;
        } else if (WSK__KEY(it.key, "fault")) {
            if (wsk_none(it.value)) continue;
            wsk_fault *p = (wsk_fault *)wsk_alloc(t, sizeof *p);
            if (!p || !wsk__get_fault(t, it.value, p)) return false;
            out->fault = p;
        } else if (WSK__KEY(it.key, "OS-EXT-STS:vm_state")) {
            if (!wsk__get_str(t, it.value, &out->vm_state)) return false;
        } else if (WSK__KEY(it.key, "OS-EXT-STS:task_state")) {
            if (!wsk__get_str(t, it.value, &out->task_state)) return false;
        } else if (WSK__KEY(it.key, "OS-EXT-STS:power_state")) {
            if (!wsk__get_i64(t, it.value, &out->power_state)) return false;
        } else if (WSK__KEY(it.key, "OS-EXT-AZ:availability_zone")) {
            if (!wsk__get_str(t, it.value, &out->availability_zone)) return false;
        } else if (WSK__KEY(it.key, "OS-EXT-SRV-ATTR:host")) {
            if (!wsk__get_str(t, it.value, &out->host)) return false;
        } else if (WSK__KEY(it.key, "OS-EXT-SRV-ATTR:hypervisor_hostname")) {
            if (!wsk__get_str(t, it.value, &out->hypervisor_hostname)) return false;
        } else if (WSK__KEY(it.key, "OS-EXT-SRV-ATTR:instance_name")) {
            if (!wsk__get_str(t, it.value, &out->instance_name)) return false;
        } else if (WSK__KEY(it.key, "host_status")) {
            if (!wsk__get_str(t, it.value, &out->host_status)) return false;
        } else if (WSK__KEY(it.key, "os-extended-volumes:volumes_attached")) {
            if (!wsk__get_any(t, it.value, &out->volumes_attached)) return false;
        } else if (WSK__KEY(it.key, "server_groups")) {
            if (!wsk__get_strs(t, it.value, &out->server_groups)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_compute_service(wsk_task *t, wsk_json v, wsk_compute_service *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "id")) {
            if (!wsk__get_str(t, it.value, &out->id)) return false;
        } else if (WSK__KEY(it.key, "binary")) {
            if (!wsk__get_str(t, it.value, &out->binary)) return false;
        } else if (WSK__KEY(it.key, "host")) {
            if (!wsk__get_str(t, it.value, &out->host)) return false;
        } else if (WSK__KEY(it.key, "zone")) {
            if (!wsk__get_str(t, it.value, &out->zone)) return false;
        } else if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_str(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "state")) {
            if (!wsk__get_str(t, it.value, &out->state)) return false;
        } else if (WSK__KEY(it.key, "disabled_reason")) {
            if (!wsk__get_str(t, it.value, &out->disabled_reason)) return false;
        } else if (WSK__KEY(it.key, "forced_down")) {
            if (!wsk__get_bool(t, it.value, &out->forced_down)) return false;
        } else if (WSK__KEY(it.key, "updated_at")) {
            if (!wsk__get_str(t, it.value, &out->updated_at)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_aggregate(wsk_task *t, wsk_json v, wsk_aggregate *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "id")) {
            if (!wsk__get_i64(t, it.value, &out->id)) return false;
        } else if (WSK__KEY(it.key, "name")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "availability_zone")) {
            if (!wsk__get_str(t, it.value, &out->availability_zone)) return false;
        } else if (WSK__KEY(it.key, "hosts")) {
            if (!wsk__get_strs(t, it.value, &out->hosts)) return false;
        } else if (WSK__KEY(it.key, "metadata")) {
            if (!wsk__get_any(t, it.value, &out->metadata)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_hypervisor_service(wsk_task *t, wsk_json v, wsk_hypervisor_service *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "id")) {
            if (!wsk__get_str(t, it.value, &out->id)) return false;
        } else if (WSK__KEY(it.key, "host")) {
            if (!wsk__get_str(t, it.value, &out->host)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_hypervisor(wsk_task *t, wsk_json v, wsk_hypervisor *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "id")) {
            if (!wsk__get_str(t, it.value, &out->id)) return false;
        } else if (WSK__KEY(it.key, "hypervisor_hostname")) {
            if (!wsk__get_str(t, it.value, &out->hypervisor_hostname)) return false;
        } else if (WSK__KEY(it.key, "hypervisor_type")) {
            if (!wsk__get_str(t, it.value, &out->hypervisor_type)) return false;
        } else if (WSK__KEY(it.key, "state")) {
            if (!wsk__get_str(t, it.value, &out->state)) return false;
        } else if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_str(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "host_ip")) {
            if (!wsk__get_str(t, it.value, &out->host_ip)) return false;
        } else if (WSK__KEY(it.key, "service")) {
            if (wsk_none(it.value)) continue;
            wsk_hypervisor_service *p = (wsk_hypervisor_service *)wsk_alloc(t, sizeof *p);
            if (!p || !wsk__get_hypervisor_service(t, it.value, p)) return false;
            out->service = p;
        }
    }
    return true;
}

static inline bool wsk__get_migration(wsk_task *t, wsk_json v, wsk_migration *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "id")) {
            if (!wsk__get_i64(t, it.value, &out->id)) return false;
        } else if (WSK__KEY(it.key, "uuid")) {
            if (!wsk__get_str(t, it.value, &out->uuid)) return false;
        } else if (WSK__KEY(it.key, "instance_uuid")) {
            if (!wsk__get_str(t, it.value, &out->instance_uuid)) return false;
        } else if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_str(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "migration_type")) {
            if (!wsk__get_str(t, it.value, &out->migration_type)) return false;
        } else if (WSK__KEY(it.key, "source_compute")) {
            if (!wsk__get_str(t, it.value, &out->source_compute)) return false;
        } else if (WSK__KEY(it.key, "dest_compute")) {
            if (!wsk__get_str(t, it.value, &out->dest_compute)) return false;
        } else if (WSK__KEY(it.key, "created_at")) {
            if (!wsk__get_str(t, it.value, &out->created_at)) return false;
        } else if (WSK__KEY(it.key, "updated_at")) {
            if (!wsk__get_str(t, it.value, &out->updated_at)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_segment(wsk_task *t, wsk_json v, wsk_segment *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "uuid")) {
            if (!wsk__get_str(t, it.value, &out->uuid)) return false;
        } else if (WSK__KEY(it.key, "name")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "description")) {
            if (!wsk__get_str(t, it.value, &out->description)) return false;
        } else if (WSK__KEY(it.key, "service_type")) {
            if (!wsk__get_str(t, it.value, &out->service_type)) return false;
        } else if (WSK__KEY(it.key, "recovery_method")) {
            if (!wsk__get_str(t, it.value, &out->recovery_method)) return false;
        } else if (WSK__KEY(it.key, "enabled")) {
            if (!wsk__get_bool(t, it.value, &out->enabled)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_host(wsk_task *t, wsk_json v, wsk_host *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "uuid")) {
            if (!wsk__get_str(t, it.value, &out->uuid)) return false;
        } else if (WSK__KEY(it.key, "name")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "type")) {
            if (!wsk__get_str(t, it.value, &out->type)) return false;
        } else if (WSK__KEY(it.key, "control_attributes")) {
            if (!wsk__get_str(t, it.value, &out->control_attributes)) return false;
        } else if (WSK__KEY(it.key, "reserved")) {
            if (!wsk__get_bool(t, it.value, &out->reserved)) return false;
        } else if (WSK__KEY(it.key, "on_maintenance")) {
            if (!wsk__get_bool(t, it.value, &out->on_maintenance)) return false;
        } else if (WSK__KEY(it.key, "failover_segment_id")) {
            if (!wsk__get_str(t, it.value, &out->failover_segment_id)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_vmove(wsk_task *t, wsk_json v, wsk_vmove *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "uuid")) {
            if (!wsk__get_str(t, it.value, &out->uuid)) return false;
        } else if (WSK__KEY(it.key, "notification_uuid")) {
            if (!wsk__get_str(t, it.value, &out->notification_uuid)) return false;
        } else if (WSK__KEY(it.key, "instance_uuid")) {
            if (!wsk__get_str(t, it.value, &out->instance_uuid)) return false;
        } else if (WSK__KEY(it.key, "instance_name")) {
            if (!wsk__get_str(t, it.value, &out->instance_name)) return false;
        } else if (WSK__KEY(it.key, "type")) {
            if (!wsk__get_str(t, it.value, &out->type)) return false;
        } else if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_str(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "source_host")) {
            if (!wsk__get_str(t, it.value, &out->source_host)) return false;
        } else if (WSK__KEY(it.key, "dest_host")) {
            if (!wsk__get_str(t, it.value, &out->dest_host)) return false;
        } else if (WSK__KEY(it.key, "message")) {
            if (!wsk__get_str(t, it.value, &out->message)) return false;
        } else if (WSK__KEY(it.key, "start_time")) {
            if (!wsk__get_str(t, it.value, &out->start_time)) return false;
        } else if (WSK__KEY(it.key, "end_time")) {
            if (!wsk__get_str(t, it.value, &out->end_time)) return false;
        } else if (WSK__KEY(it.key, "attempt")) {
            if (!wsk__get_i64(t, it.value, &out->attempt)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_error_document(wsk_task *t, wsk_json v, wsk_error_document *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "code")) {
            if (!wsk__get_str(t, it.value, &out->code)) return false;
        } else if (WSK__KEY(it.key, "message")) {
            if (!wsk__get_str(t, it.value, &out->message)) return false;
        } else if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_i64(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline bool wsk__get_secret(wsk_task *t, wsk_json v, wsk_secret *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "$secret")) {
            if (!wsk__get_str(t, it.value, &out->name)) return false;
        } else if (WSK__KEY(it.key, "prefix")) {
            if (!wsk__get_str(t, it.value, &out->prefix)) return false;
        }
    }
    return true;
}

static inline void wsk__put_secret(wsk_out *o, const wsk_secret *r) {
    wsk_begin_object(o);
    wsk_key(o, "$secret"), wsk_put_str(o, r->name);
    if (r->prefix.n) wsk_key(o, "prefix"), wsk_put_str(o, r->prefix);
    wsk_end_object(o);
}

static inline void wsk__put_http_basic(wsk_out *o, const wsk_http_basic *r) {
    wsk_begin_object(o);
    wsk_key(o, "user"), wsk__put_text_value(o, r->user);
    wsk_key(o, "password"), wsk__put_text_value(o, r->password);
    wsk_end_object(o);
}

static inline void wsk__put_http_tls(wsk_out *o, const wsk_http_tls *r) {
    wsk_begin_object(o);
    if (r->ca) wsk_key(o, "ca"), wsk__put_secret(o, r->ca);
    if (r->cert) wsk_key(o, "cert"), wsk__put_secret(o, r->cert);
    if (r->key) wsk_key(o, "key"), wsk__put_secret(o, r->key);
    wsk_end_object(o);
}

static inline bool wsk__get_kv_get_answer(wsk_task *t, wsk_json v, wsk_kv_get_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "value")) {
            if (!wsk__get_any(t, it.value, &out->value)) return false;
        } else if (WSK__KEY(it.key, "version")) {
            if (!wsk__get_i64(t, it.value, &out->version)) return false;
        }
    }
    return true;
}

static inline void wsk__put_kv_get_request(wsk_out *o, const wsk_kv_get_request *r) {
    wsk_begin_object(o);
    if (r->scope.n) wsk_key(o, "scope"), wsk_put_str(o, r->scope);
    wsk_key(o, "name"), wsk_put_str(o, r->name);
    wsk_end_object(o);
}

static inline bool wsk__get_kv_put_answer(wsk_task *t, wsk_json v, wsk_kv_put_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "version")) {
            if (!wsk__get_i64(t, it.value, &out->version)) return false;
        }
    }
    return true;
}

static inline void wsk__put_kv_put_request(wsk_out *o, const wsk_kv_put_request *r) {
    wsk_begin_object(o);
    if (r->scope.n) wsk_key(o, "scope"), wsk_put_str(o, r->scope);
    wsk_key(o, "name"), wsk_put_str(o, r->name);
    wsk_key(o, "value"), wsk_put_json(o, r->value);
    if (r->if_version.set) wsk_key(o, "if_version"), wsk_put_i64(o, r->if_version.value);
    if (r->ttl_s) wsk_key(o, "ttl_s"), wsk_put_i64(o, r->ttl_s);
    wsk_end_object(o);
}

static inline void wsk__put_kv_delete_request(wsk_out *o, const wsk_kv_delete_request *r) {
    wsk_begin_object(o);
    if (r->scope.n) wsk_key(o, "scope"), wsk_put_str(o, r->scope);
    wsk_key(o, "name"), wsk_put_str(o, r->name);
    if (r->if_version.set) wsk_key(o, "if_version"), wsk_put_i64(o, r->if_version.value);
    wsk_end_object(o);
}

static inline bool wsk__get_kv_list_answer(wsk_task *t, wsk_json v, wsk_kv_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "entries")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_kv_entry *p = (wsk_kv_entry *)wsk__array(t, it.value, sizeof *p, &out->entries.n);
            if (!p) return false;
            out->entries.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_kv_entry(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_kv_list_request(wsk_out *o, const wsk_kv_list_request *r) {
    wsk_begin_object(o);
    if (r->scope.n) wsk_key(o, "scope"), wsk_put_str(o, r->scope);
    if (r->prefix.n) wsk_key(o, "prefix"), wsk_put_str(o, r->prefix);
    wsk_end_object(o);
}

static inline void wsk__put_nova_server_get_request(wsk_out *o, const wsk_nova_server_get_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    if (r->fields.n) wsk__put_strs(o, "fields", r->fields);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_list_answer(wsk_task *t, wsk_json v, wsk_nova_server_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "servers")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_server *p = (wsk_server *)wsk__array(t, it.value, sizeof *p, &out->servers.n);
            if (!p) return false;
            out->servers.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_server(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_nova_server_list_request(wsk_out *o, const wsk_nova_server_list_request *r) {
    wsk_begin_object(o);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->status.n) wsk_key(o, "status"), wsk_put_str(o, r->status);
    if (r->name.n) wsk_key(o, "name"), wsk_put_str(o, r->name);
    if (r->project_id.n) wsk_key(o, "project_id"), wsk_put_str(o, r->project_id);
    if (r->changed_since.n) wsk_key(o, "changed_since"), wsk_put_str(o, r->changed_since);
    if (r->fields.n) wsk__put_strs(o, "fields", r->fields);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_evacuate_answer(wsk_task *t, wsk_json v, wsk_nova_server_evacuate_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_evacuate_request(wsk_out *o, const wsk_nova_server_evacuate_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_stop_answer(wsk_task *t, wsk_json v, wsk_nova_server_stop_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_stop_request(wsk_out *o, const wsk_nova_server_stop_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_start_answer(wsk_task *t, wsk_json v, wsk_nova_server_start_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_start_request(wsk_out *o, const wsk_nova_server_start_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_reboot_answer(wsk_task *t, wsk_json v, wsk_nova_server_reboot_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_reboot_request(wsk_out *o, const wsk_nova_server_reboot_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    if (r->type.n) wsk_key(o, "type"), wsk_put_str(o, r->type);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_lock_answer(wsk_task *t, wsk_json v, wsk_nova_server_lock_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "locked")) {
            if (!wsk__get_bool(t, it.value, &out->locked)) return false;
        } else if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_lock_request(wsk_out *o, const wsk_nova_server_lock_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_unlock_answer(wsk_task *t, wsk_json v, wsk_nova_server_unlock_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "unlocked")) {
            if (!wsk__get_bool(t, it.value, &out->unlocked)) return false;
        } else if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_unlock_request(wsk_out *o, const wsk_nova_server_unlock_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_reset_state_answer(wsk_task *t, wsk_json v, wsk_nova_server_reset_state_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_reset_state_request(wsk_out *o, const wsk_nova_server_reset_state_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    wsk_key(o, "state"), wsk_put_str(o, r->state);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_migrate_answer(wsk_task *t, wsk_json v, wsk_nova_server_migrate_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_migrate_request(wsk_out *o, const wsk_nova_server_migrate_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_live_migrate_answer(wsk_task *t, wsk_json v, wsk_nova_server_live_migrate_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_live_migrate_request(wsk_out *o, const wsk_nova_server_live_migrate_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->block_migration.n) wsk_key(o, "block_migration"), wsk_put_str(o, r->block_migration);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_server_wait_answer(wsk_task *t, wsk_json v, wsk_nova_server_wait_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "outcome")) {
            if (!wsk__get_str(t, it.value, &out->outcome)) return false;
        } else if (WSK__KEY(it.key, "server")) {
            if (!wsk__get_server(t, it.value, &out->server)) return false;
        } else if (WSK__KEY(it.key, "message")) {
            if (!wsk__get_str(t, it.value, &out->message)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_server_wait_request(wsk_out *o, const wsk_nova_server_wait_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_str(o, r->id);
    wsk_key(o, "until"), wsk_put_str(o, r->until);
    if (r->from_host.n) wsk_key(o, "from_host"), wsk_put_str(o, r->from_host);
    if (r->vm_states.n) wsk__put_strs(o, "vm_states", r->vm_states);
    if (r->timeout_s) wsk_key(o, "timeout_s"), wsk_put_i64(o, r->timeout_s);
    if (r->fields.n) wsk__put_strs(o, "fields", r->fields);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_service_list_answer(wsk_task *t, wsk_json v, wsk_nova_service_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "services")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_compute_service *p = (wsk_compute_service *)wsk__array(t, it.value, sizeof *p, &out->services.n);
            if (!p) return false;
            out->services.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_compute_service(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_nova_service_list_request(wsk_out *o, const wsk_nova_service_list_request *r) {
    wsk_begin_object(o);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->binary.n) wsk_key(o, "binary"), wsk_put_str(o, r->binary);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_service_disable_answer(wsk_task *t, wsk_json v, wsk_nova_service_disable_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "changed")) {
            if (!wsk__get_bool(t, it.value, &out->changed)) return false;
        } else if (WSK__KEY(it.key, "service")) {
            if (!wsk__get_compute_service(t, it.value, &out->service)) return false;
        } else if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_service_disable_request(wsk_out *o, const wsk_nova_service_disable_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->binary.n) wsk_key(o, "binary"), wsk_put_str(o, r->binary);
    if (r->reason.n) wsk_key(o, "reason"), wsk_put_str(o, r->reason);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_service_enable_answer(wsk_task *t, wsk_json v, wsk_nova_service_enable_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "changed")) {
            if (!wsk__get_bool(t, it.value, &out->changed)) return false;
        } else if (WSK__KEY(it.key, "service")) {
            if (!wsk__get_compute_service(t, it.value, &out->service)) return false;
        } else if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_service_enable_request(wsk_out *o, const wsk_nova_service_enable_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->binary.n) wsk_key(o, "binary"), wsk_put_str(o, r->binary);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_service_force_down_answer(wsk_task *t, wsk_json v, wsk_nova_service_force_down_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "service")) {
            if (!wsk__get_compute_service(t, it.value, &out->service)) return false;
        } else if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_service_force_down_request(wsk_out *o, const wsk_nova_service_force_down_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->binary.n) wsk_key(o, "binary"), wsk_put_str(o, r->binary);
    wsk_key(o, "forced_down"), wsk_put_bool(o, r->forced_down);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_service_wait_answer(wsk_task *t, wsk_json v, wsk_nova_service_wait_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "service")) {
            if (!wsk__get_compute_service(t, it.value, &out->service)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_service_wait_request(wsk_out *o, const wsk_nova_service_wait_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "host"), wsk_put_str(o, r->host);
    if (r->binary.n) wsk_key(o, "binary"), wsk_put_str(o, r->binary);
    if (r->state.n) wsk_key(o, "state"), wsk_put_str(o, r->state);
    if (r->status.n) wsk_key(o, "status"), wsk_put_str(o, r->status);
    if (r->timeout_s) wsk_key(o, "timeout_s"), wsk_put_i64(o, r->timeout_s);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_aggregate_list_answer(wsk_task *t, wsk_json v, wsk_nova_aggregate_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "aggregates")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_aggregate *p = (wsk_aggregate *)wsk__array(t, it.value, sizeof *p, &out->aggregates.n);
            if (!p) return false;
            out->aggregates.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_aggregate(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_nova_aggregate_list_request(wsk_out *o, const wsk_nova_aggregate_list_request *r) {
    wsk_begin_object(o);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_aggregate_add_host_answer(wsk_task *t, wsk_json v, wsk_nova_aggregate_add_host_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_aggregate_add_host_request(wsk_out *o, const wsk_nova_aggregate_add_host_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_i64(o, r->id);
    wsk_key(o, "host"), wsk_put_str(o, r->host);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_aggregate_remove_host_answer(wsk_task *t, wsk_json v, wsk_nova_aggregate_remove_host_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "request_id")) {
            if (!wsk__get_str(t, it.value, &out->request_id)) return false;
        }
    }
    return true;
}

static inline void wsk__put_nova_aggregate_remove_host_request(wsk_out *o, const wsk_nova_aggregate_remove_host_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "id"), wsk_put_i64(o, r->id);
    wsk_key(o, "host"), wsk_put_str(o, r->host);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_hypervisor_list_answer(wsk_task *t, wsk_json v, wsk_nova_hypervisor_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "hypervisors")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_hypervisor *p = (wsk_hypervisor *)wsk__array(t, it.value, sizeof *p, &out->hypervisors.n);
            if (!p) return false;
            out->hypervisors.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_hypervisor(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_nova_hypervisor_list_request(wsk_out *o, const wsk_nova_hypervisor_list_request *r) {
    wsk_begin_object(o);
    if (r->host.n) wsk_key(o, "host"), wsk_put_str(o, r->host);
    wsk_end_object(o);
}

static inline bool wsk__get_nova_migration_list_answer(wsk_task *t, wsk_json v, wsk_nova_migration_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "migrations")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_migration *p = (wsk_migration *)wsk__array(t, it.value, sizeof *p, &out->migrations.n);
            if (!p) return false;
            out->migrations.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_migration(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_nova_migration_list_request(wsk_out *o, const wsk_nova_migration_list_request *r) {
    wsk_begin_object(o);
    if (r->instance_uuid.n) wsk_key(o, "instance_uuid"), wsk_put_str(o, r->instance_uuid);
    if (r->source_compute.n) wsk_key(o, "source_compute"), wsk_put_str(o, r->source_compute);
    if (r->type.n) wsk_key(o, "type"), wsk_put_str(o, r->type);
    if (r->status.n) wsk_key(o, "status"), wsk_put_str(o, r->status);
    wsk_end_object(o);
}

static inline bool wsk__get_ha_host_list_answer(wsk_task *t, wsk_json v, wsk_ha_host_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "hosts")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_host *p = (wsk_host *)wsk__array(t, it.value, sizeof *p, &out->hosts.n);
            if (!p) return false;
            out->hosts.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_host(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_ha_host_list_request(wsk_out *o, const wsk_ha_host_list_request *r) {
    wsk_begin_object(o);
    if (r->reserved) wsk_key(o, "reserved"), wsk_put_bool(o, r->reserved == WSK_YES);
    if (r->on_maintenance) wsk_key(o, "on_maintenance"), wsk_put_bool(o, r->on_maintenance == WSK_YES);
    wsk_end_object(o);
}

static inline void wsk__put_ha_host_update_request(wsk_out *o, const wsk_ha_host_update_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "name"), wsk_put_str(o, r->name);
    if (r->reserved) wsk_key(o, "reserved"), wsk_put_bool(o, r->reserved == WSK_YES);
    if (r->on_maintenance) wsk_key(o, "on_maintenance"), wsk_put_bool(o, r->on_maintenance == WSK_YES);
    wsk_end_object(o);
}

static inline bool wsk__get_ha_vmove_list_answer(wsk_task *t, wsk_json v, wsk_ha_vmove_list_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "vmoves")) {
            if (wsk_none(it.value)) continue;
            if (wsk_kind_of(it.value) != WSK_ARRAY) return false;
            wsk_vmove *p = (wsk_vmove *)wsk__array(t, it.value, sizeof *p, &out->vmoves.n);
            if (!p) return false;
            out->vmoves.p = p;
            for (wsk_iter e = wsk_each(it.value); wsk_next(&e); p++) {
                if (!wsk__get_vmove(t, e.value, p)) return false;
            }
        }
    }
    return true;
}

static inline void wsk__put_ha_vmove_list_request(wsk_out *o, const wsk_ha_vmove_list_request *r) {
    wsk_begin_object(o);
    if (r->status.n) wsk_key(o, "status"), wsk_put_str(o, r->status);
    if (r->latest) wsk_key(o, "latest"), wsk_put_bool(o, r->latest);
    wsk_end_object(o);
}

static inline void wsk__put_ha_vmove_put_request(wsk_out *o, const wsk_ha_vmove_put_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "instance_uuid"), wsk_put_str(o, r->instance_uuid);
    if (r->instance_name.n) wsk_key(o, "instance_name"), wsk_put_str(o, r->instance_name);
    wsk_key(o, "status"), wsk_put_str(o, r->status);
    if (r->source_host.n) wsk_key(o, "source_host"), wsk_put_str(o, r->source_host);
    if (r->dest_host.n) wsk_key(o, "dest_host"), wsk_put_str(o, r->dest_host);
    if (r->message.n) wsk_key(o, "message"), wsk_put_str(o, r->message);
    wsk_end_object(o);
}

static inline bool wsk__get_http_request_answer(wsk_task *t, wsk_json v, wsk_http_request_answer *out) {
    (void)t;
    if (wsk_kind_of(v) != WSK_OBJECT) return false;
    for (wsk_iter it = wsk_each(v); wsk_next(&it);) {
        if (WSK__KEY(it.key, "status")) {
            if (!wsk__get_i64(t, it.value, &out->status)) return false;
        } else if (WSK__KEY(it.key, "url")) {
            if (!wsk__get_str(t, it.value, &out->url)) return false;
        } else if (WSK__KEY(it.key, "headers")) {
            if (!wsk__get_any(t, it.value, &out->headers)) return false;
        } else if (WSK__KEY(it.key, "body")) {
            if (!wsk__get_str(t, it.value, &out->body)) return false;
        } else if (WSK__KEY(it.key, "body_base64")) {
            if (!wsk__get_str(t, it.value, &out->body_base64)) return false;
        } else if (WSK__KEY(it.key, "dry_run")) {
            if (!wsk__get_bool(t, it.value, &out->dry_run)) return false;
        }
    }
    return true;
}

static inline void wsk__put_http_request_request(wsk_out *o, const wsk_http_request_request *r) {
    wsk_begin_object(o);
    wsk_key(o, "method"), wsk_put_str(o, r->method);
    wsk_key(o, "url"), wsk_put_str(o, r->url);
    if (r->headers.n) wsk_key(o, "headers"), wsk__put_texts(o, r->headers.p, r->headers.n);
    if (r->body.n) wsk_key(o, "body"), wsk_put_str(o, r->body);
    if (r->body_base64.n) wsk_key(o, "body_base64"), wsk_put_str(o, r->body_base64);
    if (r->body_json.n) wsk_key(o, "body_json"), wsk_put_json(o, r->body_json);
    if (r->basic) wsk_key(o, "basic"), wsk__put_http_basic(o, r->basic);
    if (r->tls) wsk_key(o, "tls"), wsk__put_http_tls(o, r->tls);
    if (r->timeout_seconds) wsk_key(o, "timeout_seconds"), wsk_put_i64(o, r->timeout_seconds);
    if (r->max_redirects) wsk_key(o, "max_redirects"), wsk_put_i64(o, r->max_redirects);
    wsk_end_object(o);
}

/* /generated:codecs */

/* ---- Ops ---- */

/* Reads what the host gave: n is the length of an answer or -errno. */
static inline wsk_code wsk__fetch(wsk_task *t, const char *op, int64_t n, char *out, size_t cap, wsk_json *answer) {
    bool refused = n < 0;
    wsk_code code = refused ? (wsk_code)-n : WSK_OK;
    wsk_str doc = {out, 0};
    bool full = false;
    for (int64_t size = refused ? wsk_import_take(out, cap) : n;;) {
        if (size < 0) {
            if (!refused) return wsk__refuse(t, op, (wsk_code)-size, "the answer could not be fetched");
            break; /* an error without a document */
        }
        if ((uint64_t)size <= cap) {
            doc.p = out;
            doc.n = (size_t)size;
            if (out == wsk__bytes(t->now) + t->now->used) t->now->used += (doc.n + 15u) & ~(size_t)15u;
            if (t->now->used > t->now->size) t->now->used = t->now->size;
            break;
        }
        if (size > 1 << 30 || !wsk__room(t, ((size_t)size + 15u) & ~(size_t)15u)) {
            full = true;
            break;
        }
        out = wsk__bytes(t->now) + t->now->used;
        cap = t->now->size - t->now->used;
        size = wsk_import_take(out, cap);
    }
    if (!refused) {
        if (full) return wsk__full(t, op);
        if (!wsk_json_parse(doc, answer)) return wsk__refuse(t, op, WSK_BAD_ANSWER, "the answer is no JSON, or nested too deep");
        return WSK_OK;
    }
    wsk__refuse(t, op, code, full ? "the task's memory is too full for the reason" : NULL);
    wsk_json v;
    wsk_error_document d;
    __builtin_memset(&d, 0, sizeof d);
    if (doc.n && wsk_json_parse(doc, &v) && wsk__get_error_document(t, v, &d)) {
        t->error.message = d.message;
        t->error.status = d.status;
        t->error.request_id = d.request_id;
    }
    return code;
}

/* Does an op and comes back when it is done. An absent request stands for {}. */
static inline wsk_code wsk_call(wsk_task *t, const char *op, wsk_json req, wsk_json *answer) {
    wsk_json unread;
    if (!wsk__room(t, 1024)) return wsk__full(t, op);
    char *out = wsk__bytes(t->now) + t->now->used;
    size_t cap = t->now->size - t->now->used;
    int64_t n = wsk_import_call(op, wsk__len(op), req.p, req.n, out, cap);
    return wsk__fetch(t, op, n, out, cap, answer ? answer : &unread);
}

static inline void wsk__ended(wsk_task *t, wsk_item *it) {
    t->n_open--;
    if (it->canceled) t->canceled--;
    it->open = false;
    it->done = true;
    it->next = NULL;
    if (!t->ended) t->last = &t->ended;
    *t->last = it;
    t->last = &it->next;
}

/* Waits for one ticket, at most so long; a negative time is for ever. */
static inline wsk_code wsk__wait(wsk_task *t, int32_t timeout_ms) {
    if (!wsk__room(t, 1024)) return wsk__full(t, NULL);
    char *out = wsk__bytes(t->now) + t->now->used;
    size_t cap = t->now->size - t->now->used;
    int64_t r = wsk_import_wait(timeout_ms, out, cap);
    if (r < 0) {
        wsk_code code = (wsk_code)-r;
        if (code != WSK_TIMEOUT) { /* the task is being stopped, or the host lost the tickets: nothing will come any more */
            while (t->open) {
                wsk_item *it = t->open;
                t->open = it->next;
                wsk__refuse(t, it->op, code, "the host stopped waiting");
                it->error = t->error;
                wsk__ended(t, it);
            }
        }
        return wsk__refuse(t, NULL, code, NULL);
    }
    int32_t ticket = (int32_t)(r >> 32);
    int64_t low = r & 0xffffffff;
    if (low >> 31) low = -(low & 0x7fffffff);
    wsk_item **at = &t->open;
    while (*at && (*at)->ticket != ticket) at = &(*at)->next;
    wsk_item *it = *at;
    if (!it) return WSK_OK; /* nobody's */
    *at = it->next;
    it->error.code = wsk__fetch(t, it->op, low, out, cap, &it->answer);
    if (it->error.code) it->error = t->error;
    wsk__ended(t, it);
    return WSK_OK;
}

/* Starts an op and comes back at once; wsk_end gives its answer. When as many are open as the task may have, waits until one of them is done,
 * ticket_wait_ms at most. */
static inline wsk_code wsk_begin(wsk_task *t, wsk_item *it, const char *op, wsk_json req) {
    if (it->open || it->done) return wsk__refuse(t, op, WSK_CONFLICT, "the item's op before was not ended");
    for (;;) {
        int64_t r = wsk_import_submit(op, wsk__len(op), req.p, req.n);
        if (r == -WSK_QUOTA && t->open && t->ticket_wait_ms) {
            wsk_code code = wsk__wait(t, t->ticket_wait_ms);
            if (code && code != WSK_TIMEOUT) {
                t->error.op = wsk_s(op);
                return code;
            }
            if (!code) continue;
        }
        if (r <= 0) {
            const char *why = r == -WSK_INVALID     ? "the host does not know the op or does not take the request"
                              : r == -WSK_QUOTA     ? "the task may have no more calls open"
                              : r == -WSK_TOO_LARGE ? "the request is larger than the task's limit"
                                                    : NULL;
            return wsk__refuse(t, op, (wsk_code)-r, why);
        }
        wsk_error none = {{NULL, 0}, WSK_OK, {NULL, 0}, 0, {NULL, 0}};
        wsk_json absent = {NULL, 0};
        it->op = op;
        it->ticket = (int32_t)r;
        it->open = true;
        it->canceled = false;
        it->error = none;
        it->answer = absent;
        it->next = t->open;
        t->open = it;
        t->n_open++;
        return WSK_OK;
    }
}

/* The next item whose op is done, however it ended: wsk_end tells. NULL after timeout_ms milliseconds (negative: never), and when none is open;
 * the last error is then WSK_TIMEOUT or WSK_NOT_FOUND. */
static inline wsk_item *wsk_wait(wsk_task *t, int32_t timeout_ms) {
    while (!t->ended) {
        if (!t->open) {
            wsk__refuse(t, NULL, WSK_NOT_FOUND, "no op is open");
            return NULL;
        }
        if (wsk__wait(t, timeout_ms) && !t->ended) return NULL;
    }
    wsk_item *it = t->ended;
    t->ended = it->next;
    it->next = NULL;
    return it;
}

/* Waits until the item's op is done, at most timeout_ms milliseconds: then it is WSK_TIMEOUT, and the op still open. Whoever gives up says so with
 * wsk_cancel. */
static inline wsk_code wsk_await(wsk_task *t, wsk_item *it, int32_t timeout_ms) {
    int64_t until = wsk_ticks_ms() + timeout_ms;
    while (it->open) {
        int64_t left = until - wsk_ticks_ms();
        wsk_code code = wsk__wait(t, left > 0 ? (int32_t)left : 0);
        if (!it->open) break;
        if (code && (code != WSK_TIMEOUT || left <= 0)) return code;
    }
    return WSK_OK;
}

/* Waits until the item's op is done and gives its answer. The item may then begin another. */
static inline wsk_code wsk_end(wsk_task *t, wsk_item *it, wsk_json *answer) {
    if (!it->open && !it->done) return wsk__refuse(t, NULL, WSK_NOT_FOUND, "the item has no op");
    while (it->open) {
        wsk_code code = wsk__wait(t, -1);
        if (code && it->open) return code;
    }
    for (wsk_item **at = &t->ended; *at; at = &(*at)->next) {
        if (*at != it) continue;
        if (t->last == &it->next) t->last = at;
        *at = it->next;
        break;
    }
    it->next = NULL;
    it->done = false;
    if (it->error.code) {
        t->error = it->error;
        return it->error.code;
    }
    if (answer) *answer = it->answer;
    return WSK_OK;
}

/* Gives up waiting: a read is cancelled, a change goes on. The op still ends, soon, with WSK_CANCELED; the task may end without
 * waiting for it, but until then the item stays where it is. */
static inline wsk_code wsk_cancel(wsk_task *t, wsk_item *it) {
    if (!it->open) return WSK_OK;
    wsk_out o = wsk_write(t);
    wsk_begin_object(&o);
    wsk_key(&o, "ticket");
    wsk_put_i64(&o, it->ticket);
    wsk_end_object(&o);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "task.cancel");
    wsk_code code = wsk_call(t, "task.cancel", req, NULL);
    if (!code && !it->canceled) {
        it->canceled = true;
        t->canceled++;
    }
    return code;
}

/* One step of an item: it->stage is 0 at first, and 1 more whenever the op that the step began is done. A step that begins none has finished
 * its item. Anything but WSK_OK keeps new items from being begun. */
typedef wsk_code (*wsk_step)(wsk_task *t, wsk_item *it);

/* Works on n items, at most at_once at the same time (0: as many as the host takes), and returns when all that were begun are finished; what it
 * returns is the first error of a step. Items must be zeroed but for data. */
static inline wsk_code wsk_parallel(wsk_task *t, wsk_item *items, size_t n, size_t at_once, wsk_step step) {
    wsk_code first = WSK_OK;
    wsk_error why = t->error;
    size_t next = 0, busy = 0;
    for (;;) {
        wsk_item *it = NULL;
        if (!first && next < n && (!at_once || busy < at_once)) {
            it = &items[next];
            it->index = next++;
            it->stage = 0;
            busy++;
        } else if (busy) {
            it = wsk_wait(t, -1);
            if (!it) return t->error.code;
            if (it < items || it >= items + n) continue; /* begun outside; whoever began it ends it */
            it->stage++;
        } else {
            break;
        }
        wsk_code code = step(t, it);
        if (code && !first) {
            first = code;
            why = t->error;
        }
        if (it->open) continue;
        it->done = false;
        busy--;
    }
    t->error = why;
    return first;
}

/* generated:ops */

/* Does kv.get. Reads a value. In scope run: what the manifest requires or lists as optional, what this task put or had provided, and keys
 * under scratch/ of its own. Errors: invalid, not_found, not_granted. */
static inline wsk_code wsk__do_kv_get(wsk_task *t, const wsk_kv_get_request *r, wsk_kv_get_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_kv_get_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "kv.get");
    wsk_json doc;
    wsk_code code = wsk_call(t, "kv.get", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_kv_get_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "kv.get");
}

/* Does kv.put. Writes a value. In scope run: a name that the manifest provides (staged, visible to later tasks when this one succeeds),
 * or a key under scratch/ (written at once, kept for later attempts of this task). Errors: invalid, conflict, not_granted, quota,
 * too_large. */
static inline wsk_code wsk__do_kv_put(wsk_task *t, const wsk_kv_put_request *r, wsk_kv_put_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_kv_put_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "kv.put");
    wsk_json doc;
    wsk_code code = wsk_call(t, "kv.put", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_kv_put_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "kv.put");
}

/* Does kv.delete. Removes a key that the task may write. Errors: invalid, conflict, not_found, not_granted. */
static inline wsk_code wsk__do_kv_delete(wsk_task *t, const wsk_kv_delete_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_kv_delete_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "kv.delete");
    return wsk_call(t, "kv.delete", req, NULL);
}

/* Does kv.list. Lists the keys that the task may read. Errors: invalid, not_granted. */
static inline wsk_code wsk__do_kv_list(wsk_task *t, const wsk_kv_list_request *r, wsk_kv_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_kv_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "kv.list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "kv.list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_kv_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "kv.list");
}

/* Does nova.server_get. Reads a server. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_get(wsk_task *t, const wsk_nova_server_get_request *r, wsk_nova_server_get_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_get_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_get");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_get", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_server(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_get");
}

/* Starts nova.server_get; wsk_nova_server_get_end gives its answer. */
static inline wsk_code wsk_nova_server_get_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_get_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_get_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_get");
    return wsk_begin(t, it, "nova.server_get", req);
}

static inline wsk_code wsk_nova_server_get_end(wsk_task *t, wsk_item *it, wsk_nova_server_get_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_server(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_get");
}

/* Does nova.server_list. Lists servers of all projects, every page. Errors: invalid, not_granted, not_found, forbidden, conflict,
 * unavailable, timeout, canceled, too_large. */
static inline wsk_code wsk_nova_server_list(wsk_task *t, const wsk_nova_server_list_request *r, wsk_nova_server_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_list");
}

/* Starts nova.server_list; wsk_nova_server_list_end gives its answer. */
static inline wsk_code wsk_nova_server_list_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_list_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_list");
    return wsk_begin(t, it, "nova.server_list", req);
}

static inline wsk_code wsk_nova_server_list_end(wsk_task *t, wsk_item *it, wsk_nova_server_list_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_list");
}

/* Does nova.server_evacuate. Rebuilds a server of the failed host on another one. Refused with conflict when the server is not on the
 * failed host of the run any more, is being rebuilt, or an evacuation of it is open. Returns when Nova took the request; wait with
 * nova.server_wait. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_evacuate(wsk_task *t, const wsk_nova_server_evacuate_request *r, wsk_nova_server_evacuate_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_evacuate_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_evacuate");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_evacuate", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_evacuate_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_evacuate");
}

/* Starts nova.server_evacuate; wsk_nova_server_evacuate_end gives its answer. */
static inline wsk_code wsk_nova_server_evacuate_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_evacuate_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_evacuate_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_evacuate");
    return wsk_begin(t, it, "nova.server_evacuate", req);
}

static inline wsk_code wsk_nova_server_evacuate_end(wsk_task *t, wsk_item *it, wsk_nova_server_evacuate_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_evacuate_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_evacuate");
}

/* Does nova.server_stop. Stops a server. One that is stopped already is left alone. Errors: invalid, not_granted, not_found, forbidden,
 * conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_stop(wsk_task *t, const wsk_nova_server_stop_request *r, wsk_nova_server_stop_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_stop_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_stop");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_stop", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_stop_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_stop");
}

/* Starts nova.server_stop; wsk_nova_server_stop_end gives its answer. */
static inline wsk_code wsk_nova_server_stop_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_stop_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_stop_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_stop");
    return wsk_begin(t, it, "nova.server_stop", req);
}

static inline wsk_code wsk_nova_server_stop_end(wsk_task *t, wsk_item *it, wsk_nova_server_stop_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_stop_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_stop");
}

/* Does nova.server_start. Starts a server. One that is active already is left alone. Errors: invalid, not_granted, not_found, forbidden,
 * conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_start(wsk_task *t, const wsk_nova_server_start_request *r, wsk_nova_server_start_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_start_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_start");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_start", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_start_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_start");
}

/* Starts nova.server_start; wsk_nova_server_start_end gives its answer. */
static inline wsk_code wsk_nova_server_start_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_start_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_start_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_start");
    return wsk_begin(t, it, "nova.server_start", req);
}

static inline wsk_code wsk_nova_server_start_end(wsk_task *t, wsk_item *it, wsk_nova_server_start_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_start_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_start");
}

/* Does nova.server_reboot. Reboots a server. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout,
 * canceled. */
static inline wsk_code wsk_nova_server_reboot(wsk_task *t, const wsk_nova_server_reboot_request *r, wsk_nova_server_reboot_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_reboot_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_reboot");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_reboot", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_reboot_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_reboot");
}

/* Starts nova.server_reboot; wsk_nova_server_reboot_end gives its answer. */
static inline wsk_code wsk_nova_server_reboot_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_reboot_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_reboot_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_reboot");
    return wsk_begin(t, it, "nova.server_reboot", req);
}

static inline wsk_code wsk_nova_server_reboot_end(wsk_task *t, wsk_item *it, wsk_nova_server_reboot_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_reboot_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_reboot");
}

/* Does nova.server_lock. Locks a server for the run, so that its owner does not act on it meanwhile; unlocked when the run ends, whatever
 * happens. One that somebody else locked is left as it is. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable,
 * timeout, canceled. */
static inline wsk_code wsk_nova_server_lock(wsk_task *t, const wsk_nova_server_lock_request *r, wsk_nova_server_lock_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_lock_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_lock");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_lock", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_lock_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_lock");
}

/* Starts nova.server_lock; wsk_nova_server_lock_end gives its answer. */
static inline wsk_code wsk_nova_server_lock_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_lock_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_lock_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_lock");
    return wsk_begin(t, it, "nova.server_lock", req);
}

static inline wsk_code wsk_nova_server_lock_end(wsk_task *t, wsk_item *it, wsk_nova_server_lock_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_lock_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_lock");
}

/* Does nova.server_unlock. Takes the run's own lock off a server; a lock of somebody else stays. Errors: invalid, not_granted, not_found,
 * forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_unlock(wsk_task *t, const wsk_nova_server_unlock_request *r, wsk_nova_server_unlock_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_unlock_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_unlock");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_unlock", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_unlock_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_unlock");
}

/* Starts nova.server_unlock; wsk_nova_server_unlock_end gives its answer. */
static inline wsk_code wsk_nova_server_unlock_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_unlock_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_unlock_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_unlock");
    return wsk_begin(t, it, "nova.server_unlock", req);
}

static inline wsk_code wsk_nova_server_unlock_end(wsk_task *t, wsk_item *it, wsk_nova_server_unlock_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_unlock_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_unlock");
}

/* Does nova.server_reset_state. Sets vm_state without doing anything to the guest. Refused with conflict while the server is being
 * rebuilt. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_reset_state(wsk_task *t, const wsk_nova_server_reset_state_request *r, wsk_nova_server_reset_state_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_reset_state_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_reset_state");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_reset_state", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_reset_state_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_reset_state");
}

/* Starts nova.server_reset_state; wsk_nova_server_reset_state_end gives its answer. */
static inline wsk_code wsk_nova_server_reset_state_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_reset_state_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_reset_state_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_reset_state");
    return wsk_begin(t, it, "nova.server_reset_state", req);
}

static inline wsk_code wsk_nova_server_reset_state_end(wsk_task *t, wsk_item *it, wsk_nova_server_reset_state_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_reset_state_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_reset_state");
}

/* Does nova.server_migrate. Cold-migrates a server. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout,
 * canceled. */
static inline wsk_code wsk_nova_server_migrate(wsk_task *t, const wsk_nova_server_migrate_request *r, wsk_nova_server_migrate_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_migrate_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_migrate");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_migrate", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_migrate_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_migrate");
}

/* Starts nova.server_migrate; wsk_nova_server_migrate_end gives its answer. */
static inline wsk_code wsk_nova_server_migrate_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_migrate_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_migrate_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_migrate");
    return wsk_begin(t, it, "nova.server_migrate", req);
}

static inline wsk_code wsk_nova_server_migrate_end(wsk_task *t, wsk_item *it, wsk_nova_server_migrate_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_migrate_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_migrate");
}

/* Does nova.server_live_migrate. Live-migrates a server. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable,
 * timeout, canceled. */
static inline wsk_code wsk_nova_server_live_migrate(wsk_task *t, const wsk_nova_server_live_migrate_request *r, wsk_nova_server_live_migrate_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_live_migrate_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_live_migrate");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_live_migrate", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_live_migrate_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_live_migrate");
}

/* Starts nova.server_live_migrate; wsk_nova_server_live_migrate_end gives its answer. */
static inline wsk_code wsk_nova_server_live_migrate_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_live_migrate_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_live_migrate_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_live_migrate");
    return wsk_begin(t, it, "nova.server_live_migrate", req);
}

static inline wsk_code wsk_nova_server_live_migrate_end(wsk_task *t, wsk_item *it, wsk_nova_server_live_migrate_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_live_migrate_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_live_migrate");
}

/* Does nova.server_wait. Waits on the host's side, with one list request per compute host for all who wait. Errors: invalid, not_granted,
 * not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_server_wait(wsk_task *t, const wsk_nova_server_wait_request *r, wsk_nova_server_wait_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_wait_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_wait");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.server_wait", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_wait_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_wait");
}

/* Starts nova.server_wait; wsk_nova_server_wait_end gives its answer. */
static inline wsk_code wsk_nova_server_wait_begin(wsk_task *t, wsk_item *it, const wsk_nova_server_wait_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_server_wait_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.server_wait");
    return wsk_begin(t, it, "nova.server_wait", req);
}

static inline wsk_code wsk_nova_server_wait_end(wsk_task *t, wsk_item *it, wsk_nova_server_wait_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_server_wait_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.server_wait");
}

/* Does nova.service_list. Lists compute services. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout,
 * canceled. */
static inline wsk_code wsk_nova_service_list(wsk_task *t, const wsk_nova_service_list_request *r, wsk_nova_service_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.service_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_list");
}

/* Starts nova.service_list; wsk_nova_service_list_end gives its answer. */
static inline wsk_code wsk_nova_service_list_begin(wsk_task *t, wsk_item *it, const wsk_nova_service_list_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_list");
    return wsk_begin(t, it, "nova.service_list", req);
}

static inline wsk_code wsk_nova_service_list_end(wsk_task *t, wsk_item *it, wsk_nova_service_list_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_list");
}

/* Does nova.service_disable. Disables a service. The run's mark is added to the reason; a service that bears another run's mark is
 * refused with conflict. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_service_disable(wsk_task *t, const wsk_nova_service_disable_request *r, wsk_nova_service_disable_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_disable_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_disable");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.service_disable", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_disable_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_disable");
}

/* Starts nova.service_disable; wsk_nova_service_disable_end gives its answer. */
static inline wsk_code wsk_nova_service_disable_begin(wsk_task *t, wsk_item *it, const wsk_nova_service_disable_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_disable_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_disable");
    return wsk_begin(t, it, "nova.service_disable", req);
}

static inline wsk_code wsk_nova_service_disable_end(wsk_task *t, wsk_item *it, wsk_nova_service_disable_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_disable_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_disable");
}

/* Does nova.service_enable. Enables a service. A reserved host is disabled again at the end of the run when nothing moved to it. Errors:
 * invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_service_enable(wsk_task *t, const wsk_nova_service_enable_request *r, wsk_nova_service_enable_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_enable_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_enable");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.service_enable", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_enable_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_enable");
}

/* Starts nova.service_enable; wsk_nova_service_enable_end gives its answer. */
static inline wsk_code wsk_nova_service_enable_begin(wsk_task *t, wsk_item *it, const wsk_nova_service_enable_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_enable_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_enable");
    return wsk_begin(t, it, "nova.service_enable", req);
}

static inline wsk_code wsk_nova_service_enable_end(wsk_task *t, wsk_item *it, wsk_nova_service_enable_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_enable_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_enable");
}

/* Does nova.service_force_down. Tells Nova that a host is surely off. Refused with forbidden without a fence proof for the host in this
 * run. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_service_force_down(wsk_task *t, const wsk_nova_service_force_down_request *r, wsk_nova_service_force_down_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_force_down_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_force_down");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.service_force_down", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_force_down_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_force_down");
}

/* Starts nova.service_force_down; wsk_nova_service_force_down_end gives its answer. */
static inline wsk_code wsk_nova_service_force_down_begin(wsk_task *t, wsk_item *it, const wsk_nova_service_force_down_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_force_down_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_force_down");
    return wsk_begin(t, it, "nova.service_force_down", req);
}

static inline wsk_code wsk_nova_service_force_down_end(wsk_task *t, wsk_item *it, wsk_nova_service_force_down_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_force_down_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_force_down");
}

/* Does nova.service_wait. Waits until a service is as wanted; one list request per compute host for all who wait. A conflict when the
 * nova-compute of the failed host was disabled by another run. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable,
 * timeout, canceled. */
static inline wsk_code wsk_nova_service_wait(wsk_task *t, const wsk_nova_service_wait_request *r, wsk_nova_service_wait_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_wait_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_wait");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.service_wait", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_wait_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_wait");
}

/* Starts nova.service_wait; wsk_nova_service_wait_end gives its answer. */
static inline wsk_code wsk_nova_service_wait_begin(wsk_task *t, wsk_item *it, const wsk_nova_service_wait_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_service_wait_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.service_wait");
    return wsk_begin(t, it, "nova.service_wait", req);
}

static inline wsk_code wsk_nova_service_wait_end(wsk_task *t, wsk_item *it, wsk_nova_service_wait_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_service_wait_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.service_wait");
}

/* Does nova.aggregate_list. Lists host aggregates. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout,
 * canceled. */
static inline wsk_code wsk_nova_aggregate_list(wsk_task *t, const wsk_nova_aggregate_list_request *r, wsk_nova_aggregate_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_aggregate_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.aggregate_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.aggregate_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_aggregate_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.aggregate_list");
}

/* Starts nova.aggregate_list; wsk_nova_aggregate_list_end gives its answer. */
static inline wsk_code wsk_nova_aggregate_list_begin(wsk_task *t, wsk_item *it, const wsk_nova_aggregate_list_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_aggregate_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.aggregate_list");
    return wsk_begin(t, it, "nova.aggregate_list", req);
}

static inline wsk_code wsk_nova_aggregate_list_end(wsk_task *t, wsk_item *it, wsk_nova_aggregate_list_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_aggregate_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.aggregate_list");
}

/* Does nova.aggregate_add_host. Adds a host to an aggregate; conflict when it is there already. Errors: invalid, not_granted, not_found,
 * forbidden, conflict, unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_aggregate_add_host(wsk_task *t, const wsk_nova_aggregate_add_host_request *r, wsk_nova_aggregate_add_host_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_aggregate_add_host_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.aggregate_add_host");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.aggregate_add_host", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_aggregate_add_host_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.aggregate_add_host");
}

/* Starts nova.aggregate_add_host; wsk_nova_aggregate_add_host_end gives its answer. */
static inline wsk_code wsk_nova_aggregate_add_host_begin(wsk_task *t, wsk_item *it, const wsk_nova_aggregate_add_host_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_aggregate_add_host_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.aggregate_add_host");
    return wsk_begin(t, it, "nova.aggregate_add_host", req);
}

static inline wsk_code wsk_nova_aggregate_add_host_end(wsk_task *t, wsk_item *it, wsk_nova_aggregate_add_host_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_aggregate_add_host_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.aggregate_add_host");
}

/* Does nova.aggregate_remove_host. Removes a host from an aggregate. Errors: invalid, not_granted, not_found, forbidden, conflict,
 * unavailable, timeout, canceled. */
static inline wsk_code wsk_nova_aggregate_remove_host(wsk_task *t, const wsk_nova_aggregate_remove_host_request *r, wsk_nova_aggregate_remove_host_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_aggregate_remove_host_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.aggregate_remove_host");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.aggregate_remove_host", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_aggregate_remove_host_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.aggregate_remove_host");
}

/* Starts nova.aggregate_remove_host; wsk_nova_aggregate_remove_host_end gives its answer. */
static inline wsk_code wsk_nova_aggregate_remove_host_begin(wsk_task *t, wsk_item *it, const wsk_nova_aggregate_remove_host_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_aggregate_remove_host_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.aggregate_remove_host");
    return wsk_begin(t, it, "nova.aggregate_remove_host", req);
}

static inline wsk_code wsk_nova_aggregate_remove_host_end(wsk_task *t, wsk_item *it, wsk_nova_aggregate_remove_host_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_aggregate_remove_host_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.aggregate_remove_host");
}

/* Does nova.hypervisor_list. Lists hypervisors. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout,
 * canceled. */
static inline wsk_code wsk_nova_hypervisor_list(wsk_task *t, const wsk_nova_hypervisor_list_request *r, wsk_nova_hypervisor_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_hypervisor_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.hypervisor_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.hypervisor_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_hypervisor_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.hypervisor_list");
}

/* Starts nova.hypervisor_list; wsk_nova_hypervisor_list_end gives its answer. */
static inline wsk_code wsk_nova_hypervisor_list_begin(wsk_task *t, wsk_item *it, const wsk_nova_hypervisor_list_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_hypervisor_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.hypervisor_list");
    return wsk_begin(t, it, "nova.hypervisor_list", req);
}

static inline wsk_code wsk_nova_hypervisor_list_end(wsk_task *t, wsk_item *it, wsk_nova_hypervisor_list_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_hypervisor_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.hypervisor_list");
}

/* Does nova.migration_list. Lists migrations. Errors: invalid, not_granted, not_found, forbidden, conflict, unavailable, timeout,
 * canceled. */
static inline wsk_code wsk_nova_migration_list(wsk_task *t, const wsk_nova_migration_list_request *r, wsk_nova_migration_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_migration_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.migration_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "nova.migration_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_migration_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.migration_list");
}

/* Starts nova.migration_list; wsk_nova_migration_list_end gives its answer. */
static inline wsk_code wsk_nova_migration_list_begin(wsk_task *t, wsk_item *it, const wsk_nova_migration_list_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_nova_migration_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "nova.migration_list");
    return wsk_begin(t, it, "nova.migration_list", req);
}

static inline wsk_code wsk_nova_migration_list_end(wsk_task *t, wsk_item *it, wsk_nova_migration_list_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_nova_migration_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "nova.migration_list");
}

/* Does ha.segment_get. Reads the failover segment of the run. Errors: invalid, not_granted, not_found, conflict. */
static inline wsk_code wsk_ha_segment_get(wsk_task *t, wsk_ha_segment_get_answer *a) {
    wsk_json req = {NULL, 0};
    wsk_json doc;
    wsk_code code = wsk_call(t, "ha.segment_get", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_segment(t, doc, a) ? WSK_OK : wsk__misread(t, "ha.segment_get");
}

/* Does ha.host_list. Lists the hosts of the segment. Errors: invalid, not_granted, not_found, conflict. */
static inline wsk_code wsk_ha_host_list(wsk_task *t, const wsk_ha_host_list_request *r, wsk_ha_host_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_ha_host_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "ha.host_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "ha.host_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_ha_host_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "ha.host_list");
}

/* Does ha.host_update. Changes a host's record, at once. Errors: invalid, not_granted, not_found, conflict. */
static inline wsk_code wsk_ha_host_update(wsk_task *t, const wsk_ha_host_update_request *r, wsk_ha_host_update_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_ha_host_update_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "ha.host_update");
    wsk_json doc;
    wsk_code code = wsk_call(t, "ha.host_update", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_host(t, doc, a) ? WSK_OK : wsk__misread(t, "ha.host_update");
}

/* Does ha.vmove_list. Lists the vmoves of the notification. Errors: invalid, not_granted, not_found, conflict. */
static inline wsk_code wsk_ha_vmove_list(wsk_task *t, const wsk_ha_vmove_list_request *r, wsk_ha_vmove_list_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_ha_vmove_list_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "ha.vmove_list");
    wsk_json doc;
    wsk_code code = wsk_call(t, "ha.vmove_list", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_ha_vmove_list_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "ha.vmove_list");
}

/* Does ha.vmove_put. Makes or changes, at once, the vmove of a server in the present round. Absent fields keep their values. Errors:
 * invalid, not_granted, not_found, conflict, too_large. */
static inline wsk_code wsk_ha_vmove_put(wsk_task *t, const wsk_ha_vmove_put_request *r, wsk_ha_vmove_put_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_ha_vmove_put_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "ha.vmove_put");
    wsk_json doc;
    wsk_code code = wsk_call(t, "ha.vmove_put", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_vmove(t, doc, a) ? WSK_OK : wsk__misread(t, "ha.vmove_put");
}

/* Does http.request. Sends one HTTP request, once, to where the manifest's http names and the operator granted it. Whatever status comes
 * is an answer. An error unavailable or timeout of a request that is no GET or HEAD says whether it may have arrived; it is never
 * repeated by the host. A dry run sends GET and HEAD only. Errors: invalid, not_granted, forbidden, unavailable, timeout, canceled,
 * too_large, quota. */
static inline wsk_code wsk_http_request(wsk_task *t, const wsk_http_request_request *r, wsk_http_request_answer *a) {
    wsk_out o = wsk_write(t);
    wsk__put_http_request_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "http.request");
    wsk_json doc;
    wsk_code code = wsk_call(t, "http.request", req, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_http_request_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "http.request");
}

/* Starts http.request; wsk_http_request_end gives its answer. */
static inline wsk_code wsk_http_request_begin(wsk_task *t, wsk_item *it, const wsk_http_request_request *r) {
    wsk_out o = wsk_write(t);
    wsk__put_http_request_request(&o, r);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "http.request");
    return wsk_begin(t, it, "http.request", req);
}

static inline wsk_code wsk_http_request_end(wsk_task *t, wsk_item *it, wsk_http_request_answer *a) {
    wsk_json doc;
    wsk_code code = wsk_end(t, it, &doc);
    if (code || !a) return code;
    __builtin_memset(a, 0, sizeof *a);
    t->full = false;
    return wsk__get_http_request_answer(t, doc, a) ? WSK_OK : wsk__misread(t, "http.request");
}

/* /generated:ops */

/* ---- What the task was given ---- */

/* An input: a value that the manifest requires or lists as optional. Absent when it is not there. */
static inline wsk_json wsk_input(wsk_task *t, const char *name) { return wsk_get(t->in.inputs, name); }

/* A string as it is, other values as JSON, nothing for what is absent or null. */
static inline wsk_str wsk_plain(wsk_task *t, wsk_json v) {
    wsk_str s = {NULL, 0};
    if (wsk_none(v)) return s;
    s.p = v.p;
    s.n = v.n;
    if (wsk_kind_of(v) == WSK_STRING && !wsk_to_str(t, v, &s)) s.n = 0;
    return s;
}

/* ---- Log, progress, outcomes ---- */

static inline void wsk__log(wsk_task *t, int level, const char *format, va_list args) {
    wsk_mark m = wsk_mark_memory(t);
    wsk_error keep = t->error;
    wsk_str s = wsk_vformat(t, format, args);
    wsk_import_log(level, s.p, s.n);
    wsk_release(t, m);
    t->error = keep;
}

#define WSK__LOG(name, level)                                                          \
    WSK_PRINTF(2, 3) static inline void name(wsk_task *t, const char *format, ...) { \
        va_list args;                                                                  \
        va_start(args, format);                                                        \
        wsk__log(t, level, format, args);                                              \
        va_end(args);                                                                  \
    }
WSK__LOG(wsk_log_debug, 0)
WSK__LOG(wsk_log_info, 1)
WSK__LOG(wsk_log_warn, 2)
WSK__LOG(wsk_log_error, 3)

/* Tells how far the task is, from 0 to 1000, and what it is doing. */
WSK_PRINTF(3, 4) static inline void wsk_progress(wsk_task *t, int permille, const char *format, ...) {
    wsk_mark m = wsk_mark_memory(t);
    wsk_error keep = t->error;
    va_list args;
    va_start(args, format);
    wsk_str s = wsk_vformat(t, format, args);
    va_end(args);
    wsk_import_progress(permille < 0 ? 0 : permille > 1000 ? 1000 : permille, s.p, s.n);
    wsk_release(t, m);
    t->error = keep;
}

#define WSK__OUTCOME(name, outcome)                                                           \
    WSK_PRINTF(2, 3) static inline wsk_outcome name(wsk_task *t, const char *format, ...) { \
        va_list args;                                                                         \
        va_start(args, format);                                                               \
        t->reason = wsk_vformat(t, format, args);                                             \
        va_end(args);                                                                         \
        return outcome;                                                                       \
    }
/* The task failed, for this reason. */
WSK__OUTCOME(wsk_fail, WSK_FAILED)
/* There is nothing to do: the whole flow ends, well. In a revert: there was nothing to undo. */
WSK__OUTCOME(wsk_nothing, WSK_NOTHING)
/* The flow ends, and the notification is left ignored. */
WSK__OUTCOME(wsk_ignore, WSK_IGNORED)

static inline wsk_outcome wsk_succeed(wsk_task *t) {
    t->reason.n = 0;
    return WSK_SUCCEEDED;
}

/* The task failed, for the reason of the last error. */
static inline wsk_outcome wsk_fail_last(wsk_task *t) {
    t->reason = wsk_error_text(t, &t->error);
    return WSK_FAILED;
}

static inline void wsk__send_reason(wsk_task *t, wsk_str reason) {
    wsk_out o = wsk_write(t);
    wsk_begin_object(&o);
    wsk_key(&o, "reason");
    wsk_put_str(&o, reason);
    wsk_end_object(&o);
    wsk_json req = wsk_done(&o);
    /* A full memory leaves the reason out: it is worth less than the outcome. */
    if (req.n) (void)wsk_call(t, "task.reason", req, NULL);
}

#ifndef WSK_TRAP
#define WSK_TRAP() __builtin_trap()
#endif

/* Ends the task at once as failed, for mistakes of its author. */
WSK_PRINTF(2, 3) static inline void wsk_panic(wsk_task *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    wsk_str s = wsk_vformat(t, format, args);
    va_end(args);
    wsk_import_log(3, s.p, s.n);
    wsk__send_reason(t, s);
    WSK_TRAP();
}

/* An input as text: a string as it is, other values as JSON. One that is not there ends the task: an empty name of a host would mean all hosts. For inputs
   that are optional there is wsk_input_str_or. */
static inline wsk_str wsk_input_str(wsk_task *t, const char *name) {
    wsk_json v = wsk_input(t, name);
    if (!v.n) wsk_panic(t, "input %s is not there: a name that the manifest requires is always there; wsk_input_str_or is for an optional one", name);
    return wsk_plain(t, v);
}

/* wsk_input_str for an input that may not be there. */
static inline wsk_str wsk_input_str_or(wsk_task *t, const char *name, const char *otherwise) {
    wsk_json v = wsk_input(t, name);
    return v.n ? wsk_plain(t, v) : wsk_s(otherwise);
}

/* ---- Options ---- */

/* An option; null when it is not set, absent when the manifest does not list it. */
static inline wsk_json wsk_option(wsk_task *t, const char *group, const char *name) { return wsk_get(wsk_get(t->in.options, group), name); }

/* Whether an option is set or has a default. */
static inline bool wsk_has_option(wsk_task *t, const char *group, const char *name) { return !wsk_none(wsk_option(t, group, name)); }

/* Options that the manifest does not list, or lists with another type, end the task: the module contradicts itself. */
static inline wsk_json wsk__option(wsk_task *t, const char *group, const char *name) {
    wsk_json v = wsk_option(t, group, name);
    if (!v.n) wsk_panic(t, "option [%s] %s: not found: the manifest does not list it", group, name);
    return v;
}

static inline void wsk__option_type(wsk_task *t, const char *group, const char *name) {
    wsk_panic(t, "option [%s] %s: it has another type", group, name);
}

/* An option as text, empty when it is not set. */
static inline wsk_str wsk_option_str(wsk_task *t, const char *group, const char *name) { return wsk_plain(t, wsk_option(t, group, name)); }

/* An option of type int or seconds, 0 when it is not set. */
static inline int64_t wsk_option_i64(wsk_task *t, const char *group, const char *name) {
    int64_t i = 0;
    if (!wsk__get_i64(t, wsk__option(t, group, name), &i)) wsk__option_type(t, group, name);
    return i;
}

/* An option of type float, int or seconds, 0 when it is not set. */
static inline double wsk_option_double(wsk_task *t, const char *group, const char *name) {
    double d = 0;
    wsk_json v = wsk__option(t, group, name);
    if (!wsk_none(v) && !wsk_to_double(v, &d)) wsk__option_type(t, group, name);
    return d;
}

/* An option of type bool, false when it is not set. */
static inline bool wsk_option_bool(wsk_task *t, const char *group, const char *name) {
    bool b = false;
    if (!wsk__get_bool(t, wsk__option(t, group, name), &b)) wsk__option_type(t, group, name);
    return b;
}

/* An option of type list, empty when it is not set. */
static inline wsk_strs wsk_option_list(wsk_task *t, const char *group, const char *name) {
    wsk_strs l = {NULL, 0};
    if (!wsk__get_strs(t, wsk__option(t, group, name), &l)) wsk__option_type(t, group, name);
    return l;
}

/* The handle of an option that is a secret, whose value the task never sees: it names it where the value belongs. Empty when it is not set. */
static inline wsk_secret wsk_option_secret(wsk_task *t, const char *group, const char *name) {
    wsk_secret s;
    __builtin_memset(&s, 0, sizeof s);
    wsk_json v = wsk__option(t, group, name);
    if (!wsk_none(v) && !wsk__get_secret(t, v, &s)) wsk__option_type(t, group, name);
    return s;
}

/* What a request may hold in the place of a string. */
static inline wsk_text wsk_text_str(wsk_str s) {
    wsk_text x;
    __builtin_memset(&x, 0, sizeof x);
    x.str = s;
    return x;
}

/* A secret as text; the prefix, such as "Bearer ", is for headers only. */
static inline wsk_text wsk_text_secret(wsk_secret s, const char *prefix) {
    wsk_text x;
    __builtin_memset(&x, 0, sizeof x);
    x.secret = s;
    if (prefix) x.secret.prefix = wsk_s(prefix);
    return x;
}

/* ---- Sleep ---- */

/* Waits on the host. */
static inline wsk_code wsk_sleep(wsk_task *t, int64_t ms) {
    if (ms <= 0) return WSK_OK;
    wsk_out o = wsk_write(t);
    wsk_begin_object(&o);
    wsk_key(&o, "ms");
    wsk_put_i64(&o, ms);
    wsk_end_object(&o);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "task.sleep");
    return wsk_call(t, "task.sleep", req, NULL);
}

/* A timer among the other ops: it is done after ms milliseconds. */
static inline wsk_code wsk_sleep_begin(wsk_task *t, wsk_item *it, int64_t ms) {
    wsk_out o = wsk_write(t);
    wsk_begin_object(&o);
    wsk_key(&o, "ms");
    wsk_put_i64(&o, ms < 0 ? 0 : ms);
    wsk_end_object(&o);
    wsk_json req = wsk_done(&o);
    if (!req.n) return wsk__full(t, "task.sleep");
    return wsk_begin(t, it, "task.sleep", req);
}

/* ---- Values ---- */

static inline wsk_code wsk__kv_get(wsk_task *t, const char *scope, const char *name, wsk_json *value, int64_t *version) {
    wsk_kv_get_request r;
    wsk_kv_get_answer a;
    __builtin_memset(&r, 0, sizeof r);
    __builtin_memset(&a, 0, sizeof a);
    r.scope = wsk_s(scope);
    r.name = wsk_s(name);
    wsk_code code = wsk__do_kv_get(t, &r, &a);
    if (!code && value) *value = a.value;
    if (!code && version) *version = a.version;
    return code;
}

static inline wsk_code wsk__kv_put(wsk_task *t, wsk_kv_put_request *r, int64_t *version) {
    wsk_kv_put_answer a;
    __builtin_memset(&a, 0, sizeof a);
    /* An absent value is one that did not fit the memory, never null. */
    if (!r->value.n) return wsk__refuse(t, "kv.put", WSK_NO_MEMORY, "the value is absent");
    wsk_code code = wsk__do_kv_put(t, r, &a);
    if (!code && version) *version = a.version;
    return code;
}

static inline wsk_code wsk__kv_delete(wsk_task *t, const char *scope, const char *name, wsk_maybe_i64 version) {
    wsk_kv_delete_request r;
    __builtin_memset(&r, 0, sizeof r);
    r.scope = wsk_s(scope);
    r.name = wsk_s(name);
    r.if_version = version;
    return wsk__do_kv_delete(t, &r);
}

static inline wsk_code wsk__kv_list(wsk_task *t, const char *scope, const char *prefix, wsk_kv_list_answer *list) {
    wsk_kv_list_request r;
    __builtin_memset(&r, 0, sizeof r);
    r.scope = wsk_s(scope);
    r.prefix = wsk_s(prefix);
    return wsk__do_kv_list(t, &r, list);
}

/* The values of the run. Names that begin with scratch/ are written at once and kept for later attempts; others must stand in the manifest, and
 * those that it provides become visible, all at once, when the task succeeds. WSK_NOT_FOUND: it is not there. */
static inline wsk_code wsk_kv_get(wsk_task *t, const char *name, wsk_json *value) { return wsk__kv_get(t, NULL, name, value, NULL); }

static inline wsk_code wsk_kv_put(wsk_task *t, const char *name, wsk_json value) {
    wsk_kv_put_request r;
    __builtin_memset(&r, 0, sizeof r);
    r.name = wsk_s(name);
    r.value = value;
    return wsk__kv_put(t, &r, NULL);
}

static inline wsk_code wsk_kv_delete(wsk_task *t, const char *name) {
    wsk_maybe_i64 any = {false, 0};
    return wsk__kv_delete(t, NULL, name, any);
}

/* The keys that the task may read and that begin with prefix, sorted by name. */
static inline wsk_code wsk_kv_list(wsk_task *t, const char *prefix, wsk_kv_list_answer *list) { return wsk__kv_list(t, NULL, prefix, list); }

/* The values of the task's library. They outlive the run, and other runs may write them at the same time: compare and set with versions.
 * version may be NULL. */
static inline wsk_code wsk_library_get(wsk_task *t, const char *name, wsk_json *value, int64_t *version) {
    return wsk__kv_get(t, "library", name, value, version);
}

/* How wsk_library_put puts. */
typedef struct wsk_put_options {
    wsk_maybe_i64 if_version; /* only when the key has this version, 0 meaning that it is not there; else WSK_CONFLICT */
    int64_t forget_after_s;   /* the value expires after so many seconds; 0: never */
} wsk_put_options;

/* Writes a value and gives its version. options and version may be NULL. */
static inline wsk_code wsk_library_put(wsk_task *t, const char *name, wsk_json value, const wsk_put_options *options, int64_t *version) {
    wsk_kv_put_request r;
    __builtin_memset(&r, 0, sizeof r);
    r.scope = wsk_s("library");
    r.name = wsk_s(name);
    r.value = value;
    if (options) {
        r.if_version = options->if_version;
        r.ttl_s = options->forget_after_s;
    }
    return wsk__kv_put(t, &r, version);
}

/* Removes a value, whatever its version. */
static inline wsk_code wsk_library_delete(wsk_task *t, const char *name) {
    wsk_maybe_i64 any = {false, 0};
    return wsk__kv_delete(t, "library", name, any);
}

/* Removes a value when it has this version; else WSK_CONFLICT. */
static inline wsk_code wsk_library_delete_version(wsk_task *t, const char *name, int64_t version) {
    wsk_maybe_i64 only = {true, version};
    return wsk__kv_delete(t, "library", name, only);
}

static inline wsk_code wsk_library_list(wsk_task *t, const char *prefix, wsk_kv_list_answer *list) {
    return wsk__kv_list(t, "library", prefix, list);
}

/* ---- The exports ---- */

/* A task of the module. Without revert there is nothing to undo. */
typedef struct wsk_def {
    const char *key;
    wsk_outcome (*run)(wsk_task *t);
    wsk_outcome (*revert)(wsk_task *t);
} wsk_def;

static inline int wsk__before(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return (unsigned char)*a < (unsigned char)*b;
}

static inline wsk_outcome wsk__unheard(wsk_task *t, const wsk_def *defs, size_t n) {
    wsk_out o = wsk_write(t);
    const char *last = NULL;
    for (;;) {
        const char *next = NULL;
        for (size_t i = 0; i < n; i++) {
            if ((!last || wsk__before(last, defs[i].key)) && (!next || wsk__before(defs[i].key, next))) next = defs[i].key;
        }
        if (!next) break;
        if (last) wsk__add(&o, ", ", 2);
        wsk__add(&o, next, wsk__len(next));
        last = next;
    }
    return wsk_fail(t, "task %.*s: the module has no handler for it, only for: %.*s", WSK_P(t->in.key), (int)o.n, o.p);
}

static inline int32_t wsk__main(const wsk_def *defs, size_t n, void *memory, size_t size, bool revert) {
    wsk_task task, *t = &task;
    __builtin_memset(t, 0, sizeof *t);
    wsk_use_memory(t, memory, size);
    t->max = WSK_ARENA_MAX;
    t->ticket_wait_ms = -1;
    wsk_json doc, none = {NULL, 0};
    wsk_outcome outcome;
    if (wsk_call(t, "task.input", none, &doc)) {
        outcome = wsk_fail_last(t);
    } else if (!wsk__get_task_input(t, doc, &t->in)) {
        outcome = wsk_fail(t, "task.input: the answer cannot be read");
    } else {
        if (t->in.round < 1) t->in.round = 1;
        const wsk_def *def = NULL;
        for (size_t i = 0; i < n; i++) {
            if (wsk_is(t->in.key, defs[i].key)) def = &defs[i];
        }
        if (!def) outcome = wsk__unheard(t, defs, n);
        else if (!revert) outcome = def->run(t);
        else outcome = def->revert ? def->revert(t) : WSK_NOTHING;
    }
    if (t->reason.n) wsk__send_reason(t, t->reason);
    /* What was given up is delivered all the same. Items may be gone by now: nothing looks at them. With other ops open the task has failed. */
    while (t->canceled && t->canceled == t->n_open) {
        if (wsk_import_wait(-1, NULL, 0) < 0) break;
        t->canceled--;
        t->n_open--;
    }
    return (int32_t)outcome;
}

#ifdef __cplusplus
} /* extern "C" */
#endif

/* The tasks of the module: WSK_TASKS({"key", run, revert}, ...). Once, in one file. */
#define WSK_TASKS(...)                                                                                                             \
    static const wsk_def wsk_defs_[] = {__VA_ARGS__};                                                                              \
    static char wsk_memory_[WSK_ARENA_SIZE] __attribute__((aligned(16)));                                                          \
    WSK_EXPORT("run") int32_t wsk_run_(void);                                                                                      \
    WSK_EXPORT("revert") int32_t wsk_revert_(void);                                                                                \
    WSK_EXPORT("run") int32_t wsk_run_(void) {                                                                                     \
        return wsk__main(wsk_defs_, sizeof wsk_defs_ / sizeof *wsk_defs_, wsk_memory_, sizeof wsk_memory_, false);                 \
    }                                                                                                                              \
    WSK_EXPORT("revert") int32_t wsk_revert_(void) {                                                                               \
        return wsk__main(wsk_defs_, sizeof wsk_defs_ / sizeof *wsk_defs_, wsk_memory_, sizeof wsk_memory_, true);                  \
    }

#endif /* WASAKARI_H */
