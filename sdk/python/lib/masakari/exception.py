"""A stand-in for masakari.exception.

Skip... ends the flow well, Ignore... the notification ignored; any other that is
not caught fails the task, and its text is the reason.
"""

from masakari.i18n import _


class MasakariException(Exception):
    """An error with a text of its own, or one made of msg_fmt."""

    msg_fmt = _("An unknown exception occurred.")
    code = 500
    headers = {}
    safe = False
    wasakari_plain = True

    def __init__(self, message=None, **kwargs):
        self.kwargs = kwargs
        self.kwargs.setdefault("code", self.code)
        if not message:
            try:
                message = self.msg_fmt % kwargs
            except (KeyError, TypeError, ValueError):
                message = self.msg_fmt
        self.message = message
        super().__init__(message)

    def format_message(self):
        return self.args[0]


class APIException(MasakariException):
    msg_fmt = _("Error while requesting %(service)s API.")

    def __init__(self, message=None, **kwargs):
        kwargs.setdefault("service", "unknown")
        super().__init__(message, **kwargs)


class APITimeout(APIException):
    msg_fmt = _("Timeout while requesting %(service)s API.")


class Conflict(MasakariException):
    msg_fmt = _("Conflict")
    code = 409


class Invalid(MasakariException):
    msg_fmt = _("Bad Request - Invalid Parameters")
    code = 400


class InvalidInput(Invalid):
    msg_fmt = _("Invalid input received: %(reason)s")


class InvalidName(Invalid):
    msg_fmt = _("An invalid 'name' value was provided. The name must be: %(reason)s")


class Forbidden(MasakariException):
    msg_fmt = _("Forbidden")
    code = 403


class AdminRequired(Forbidden):
    msg_fmt = _("User does not have admin privileges")


class NotFound(MasakariException):
    msg_fmt = _("Resource could not be found.")
    code = 404


class HostNotFound(NotFound):
    msg_fmt = _("No host with id %(id)s.")


class HostNotFoundByName(HostNotFound):
    msg_fmt = _("Host with name %(host_name)s could not be found.")


class HostNotFoundUnderFailoverSegment(HostNotFound):
    msg_fmt = _("Host '%(host_uuid)s' under failover_segment '%(segment_uuid)s' could not be found.")


class FailoverSegmentNotFound(NotFound):
    msg_fmt = _("No failover segment with id %(id)s.")


class NotificationNotFound(NotFound):
    msg_fmt = _("No notification with id %(id)s.")


class VMoveNotFound(NotFound):
    msg_fmt = _("No vm move with id %(id)s.")


class ComputeNotFoundByName(NotFound):
    msg_fmt = _("Compute service with name %(compute_name)s could not be found.")


class ConfigNotFound(NotFound):
    msg_fmt = _("Could not find config at %(path)s")


class Timeout(MasakariException):
    msg_fmt = _("The time is up.")


class ReservedHostsUnavailable(MasakariException):
    msg_fmt = _("No reserved_hosts available for evacuation.")
    code = 409


class LockAlreadyAcquired(MasakariException):
    msg_fmt = _("Lock is already acquired on %(resource)s.")


class FailoverSegmentDisabled(MasakariException):
    msg_fmt = _("Failover segment is disabled.")


class InvalidConfiguration(MasakariException):
    msg_fmt = _("Configuration is Invalid.")


class SkipHostRecoveryException(MasakariException):
    msg_fmt = _("Skipping execution of host recovery workflow.")
    wasakari_exit = 2


class SkipInstanceRecoveryException(MasakariException):
    msg_fmt = _("Skipping execution of instance recovery workflow.")
    wasakari_exit = 2


class SkipProcessRecoveryException(MasakariException):
    msg_fmt = _("Skipping execution of process recovery workflow.")
    wasakari_exit = 2


class IgnoreInstanceRecoveryException(MasakariException):
    msg_fmt = _("Instance recovery is ignored.")
    wasakari_exit = 3


class HostRecoveryFailureException(MasakariException):
    msg_fmt = _("Failed to execute host recovery.")


class InstanceRecoveryFailureException(MasakariException):
    msg_fmt = _("Failed to execute instance recovery workflow.")


class ProcessRecoveryFailureException(MasakariException):
    msg_fmt = _("Failed to execute process recovery workflow.")


class InstanceEvacuateFailed(MasakariException):
    msg_fmt = _("Failed to evacuate instance %(instance_uuid)s")


class HostInUse(Conflict):
    msg_fmt = _("Host %(uuid)s can't be updated as it is in-use to process notifications.")


class FailoverSegmentInUse(Conflict):
    msg_fmt = _("Failover segment %(uuid)s can't be updated/deleted as it is in-use to process notifications.")
