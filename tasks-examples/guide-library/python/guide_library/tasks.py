"""Three tasks of a third party: the first opens a ticket, the others write in
it."""

import binascii
import collections

from oslo_log import log as logging

from guide_library import conf as library_conf
from masakari import conf
from masakari.engine.drivers.taskflow import base
from masakari import exception
from masakari.i18n import _
from masakari import objects
from masakari.objects import fields

CONF = conf.CONF
LOG = logging.getLogger(__name__)

library_conf.register_opts(CONF)


class LibraryTask(base.MasakariTask):
    """What the tasks of the library have in common."""

    def note(self, ticket, text, *args):
        """Writes a line in the ticket."""
        LOG.info('%s [%s] %s', CONF.guide_library.note_prefix, ticket['id'], text % args)


class CustomPreTask(LibraryTask):
    """Opens a ticket for the recovery"""

    def __init__(self, context, novaclient, **kwargs):
        kwargs['requires'] = ['host_name', 'notification_uuid']
        kwargs['provides'] = 'recovery_ticket'
        super(CustomPreTask, self).__init__(context, novaclient, **kwargs)

    def execute(self, host_name, notification_uuid):
        # Of the notification, so that the task run again opens no second one.
        number = binascii.crc32(notification_uuid.encode('utf-8'))
        ticket = {
            'id': '%s-%08x' % (CONF.guide_library.ticket_queue, number),
            'queue': CONF.guide_library.ticket_queue,
            'host': host_name,
        }
        self.note(ticket, 'host %s failed', host_name)
        self.update_details(_('Opened ticket %s') % ticket['id'], 1.0)
        return ticket


class CustomMainTask(LibraryTask):
    """Counts the servers of the failed host"""

    def execute(self, recovery_ticket):
        host = recovery_ticket['host']
        count = len(self.novaclient.get_servers(self.context, host))
        self.note(recovery_ticket, '%d servers on host %s', count, host)
        most = CONF.guide_library.max_servers
        if most and count > most:
            msg = _('ticket %(id)s: %(count)d servers on host %(host)s are more than [guide_library] max_servers = %(most)d') % {
                'id': recovery_ticket['id'], 'count': count, 'host': host, 'most': most}
            self.update_details(msg, 1.0)
            raise exception.HostRecoveryFailureException(message=msg)
        self.update_details(_('Counted %(count)d servers for ticket %(id)s') % {
            'count': count, 'id': recovery_ticket['id']}, 1.0)


class CustomPostTask(LibraryTask):
    """Sums up what became of the servers and closes the ticket"""

    def __init__(self, context, novaclient, **kwargs):
        kwargs['requires'] = ['recovery_ticket', 'notification_uuid']
        super(CustomPostTask, self).__init__(context, novaclient, **kwargs)

    def execute(self, recovery_ticket, notification_uuid):
        moves = objects.VMoveList.get_all_vmoves(self.context, notification_uuid)
        count = collections.Counter(m.status for m in moves)
        statuses = (fields.VMoveStatus.SUCCEEDED, fields.VMoveStatus.IGNORED, fields.VMoveStatus.FAILED)
        parts = ['%d %s' % (count[s], s) for s in statuses if count[s]]
        summary = ', '.join(parts) or _('no servers to move')
        self.note(recovery_ticket, '%s', summary)
        self.update_details(_('Closed ticket %(id)s: %(sum)s') % {'id': recovery_ticket['id'], 'sum': summary}, 1.0)
