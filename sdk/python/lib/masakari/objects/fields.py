"""A stand-in for masakari.objects.fields."""


class VMoveStatus:
    PENDING = "pending"
    ONGOING = "ongoing"
    IGNORED = "ignored"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ALL = (PENDING, ONGOING, IGNORED, SUCCEEDED, FAILED)


class VMoveType:
    EVACUATION = "evacuation"
    MIGRATION = "migration"
    LIVE_MIGRATION = "live_migration"
    ALL = (EVACUATION, MIGRATION, LIVE_MIGRATION)


class NotificationType:
    COMPUTE_HOST = "COMPUTE_HOST"
    VM = "VM"
    PROCESS = "PROCESS"
    ALL = (COMPUTE_HOST, VM, PROCESS)


class FailoverSegmentRecoveryMethod:
    AUTO = "auto"
    RESERVED_HOST = "reserved_host"
    AUTO_PRIORITY = "auto_priority"
    RH_PRIORITY = "rh_priority"
    ALL = (AUTO, RESERVED_HOST, AUTO_PRIORITY, RH_PRIORITY)
