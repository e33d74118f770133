"""Tasks in the style of the standard ones: a server is stopped, started, and
waited for."""

import time

import eventlet
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import loopingcall
from oslo_utils import excutils
from oslo_utils import strutils

from masakari import exception
import masakari.conf
from masakari.engine.drivers.taskflow import base
from masakari.i18n import _

CONF = masakari.conf.CONF
LOG = logging.getLogger(__name__)

CONF.register_opts([
    cfg.BoolOpt('all_servers', default=False, help='Recover servers without the tag too'),
    cfg.StrOpt('tag', default='HA_Enabled', choices=['HA_Enabled', 'Protected']),
    cfg.IntOpt('limit', default=20, min=1),
], group='python_tasks')


class PyStopTask(base.MasakariTask):
    def __init__(self, context, novaclient, **kwargs):
        kwargs['requires'] = ['instance_uuid']
        super(PyStopTask, self).__init__(context, novaclient, **kwargs)

    def execute(self, instance_uuid):
        server = self.novaclient.get_server(self.context, instance_uuid)
        tagged = strutils.bool_from_string(server.metadata.get(CONF.python_tasks.tag, False))
        if not CONF.python_tasks.all_servers and not tagged:
            msg = _("Skipping recovery for instance: %s as it is not tagged") % instance_uuid
            self.update_details(msg, 1.0)
            raise exception.SkipInstanceRecoveryException(msg)

        state = getattr(server, 'OS-EXT-STS:vm_state')
        if state in ('paused', 'rescued'):
            raise exception.IgnoreInstanceRecoveryException(message=_("Instance %s is %s") % (instance_uuid, state))
        if state != 'stopped':
            self.update_details(_("Stopping instance: %s") % instance_uuid)
            try:
                self.novaclient.stop_server(self.context, server.id)
            except exception.Conflict:
                with excutils.save_and_reraise_exception():
                    LOG.exception("Conflict when stopping instance: %s", instance_uuid)

        def wait_until_stopped():
            s = self.novaclient.get_server(self.context, instance_uuid)
            if getattr(s, 'OS-EXT-STS:vm_state') == 'stopped':
                raise loopingcall.LoopingCallDone()

        timer = loopingcall.FixedIntervalWithTimeoutLoopingCall(wait_until_stopped)
        try:
            timer.start(interval=CONF.verify_interval, timeout=CONF.python_tasks.limit).wait()
        except loopingcall.LoopingCallTimeOut:
            raise exception.InstanceRecoveryFailureException(message=_("Failed to stop instance %s") % instance_uuid)
        self.update_details(_("Stopped instance: '%s'") % instance_uuid, 1.0)


class PyStartTask(base.MasakariTask):
    default_provides = ('started_at', 'started_by')

    def execute(self, instance_uuid):
        pool = eventlet.GreenPool(size=2)
        pool.spawn(self.novaclient.start_server, self.context, instance_uuid).wait()
        pool.waitall()
        return time.time(), type(self).__name__


class PyConfirmTask(base.MasakariTask):
    def execute(self, instance_uuid, started_by, event=None):
        begun = time.monotonic()
        while True:
            s = self.novaclient.get_server(self.context, instance_uuid)
            if getattr(s, 'OS-EXT-STS:vm_state') == 'active':
                break
            if time.monotonic() - begun > CONF.python_tasks.limit:
                raise exception.InstanceRecoveryFailureException()
            eventlet.sleep(0.2)
        LOG.info("%(name)s is active, started by %(by)s", {'name': s.name, 'by': started_by})

    def revert(self, result, flow_failures, *args, **kwargs):
        LOG.warning("reverted")
