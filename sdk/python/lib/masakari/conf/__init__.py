"""A stand-in for masakari.conf. Options of Masakari itself are what the operator's
files say of those which the module asks for; else the defaults."""

from oslo_config import cfg

CONF = cfg.CONF
CONF._masakaris.update({
    "DEFAULT": [
        cfg.IntOpt("wait_period_after_service_update", default=180),
        cfg.IntOpt("wait_period_after_evacuation", default=90),
        cfg.IntOpt("wait_period_after_power_off", default=180),
        cfg.IntOpt("wait_period_after_power_on", default=60),
        cfg.IntOpt("verify_interval", default=1),
        cfg.IntOpt("host_failure_recovery_threads", default=3),
    ],
    "host_failure": [
        cfg.BoolOpt("evacuate_all_instances", default=True),
        cfg.StrOpt("ha_enabled_instance_metadata_key", default="HA_Enabled"),
        cfg.BoolOpt("ignore_instances_in_error_state", default=False),
        cfg.BoolOpt("add_reserved_host_to_aggregate", default=False),
        cfg.StrOpt("service_disable_reason", default="Masakari detected host failed."),
    ],
    "instance_failure": [
        cfg.BoolOpt("process_all_instances", default=False),
        cfg.StrOpt("ha_enabled_instance_metadata_key", default="HA_Enabled"),
    ],
    "process_failure": [
        cfg.StrOpt("service_disable_reason", default="Masakari detected process failed."),
    ],
})
