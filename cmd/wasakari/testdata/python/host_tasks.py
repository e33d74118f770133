"""Tasks in the style of the standard ones: the service of a host that failed is
disabled, its servers are chosen, moved under a lock, and looked for."""

import eventlet
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import loopingcall
from oslo_utils import strutils
from oslo_utils import timeutils

from masakari import exception
from masakari import objects
from masakari import utils
import masakari.conf
from masakari.engine.drivers.taskflow import base
from masakari.i18n import _
from masakari.objects import fields

CONF = masakari.conf.CONF
LOG = logging.getLogger(__name__)

CONF.register_opts([
    cfg.IntOpt('settle', default=180, min=0, help='Seconds that Nova is given to notice that the host is down'),
    cfg.IntOpt('limit', default=90, min=1, help='Seconds for one step of one server'),
], group='python_hosts')


class PyDisableTask(base.MasakariTask):
    def __init__(self, context, novaclient, **kwargs):
        kwargs['requires'] = ['host_name']
        super(PyDisableTask, self).__init__(context, novaclient, **kwargs)

    def execute(self, host_name):
        self.update_details(_("Disabling compute service of '%s'") % host_name)
        self.novaclient.enable_disable_service(self.context, host_name, reason=CONF.host_failure.service_disable_reason)
        eventlet.sleep(CONF.python_hosts.settle)
        self.update_details(_("Disabled compute service of '%s'") % host_name, 1.0)


class PyPrepareTask(base.MasakariTask):
    def __init__(self, context, novaclient, **kwargs):
        kwargs['requires'] = ['host_name', 'notification_uuid']
        super(PyPrepareTask, self).__init__(context, novaclient, **kwargs)

    def execute(self, host_name, notification_uuid):
        key = CONF.host_failure.ha_enabled_instance_metadata_key
        tagged, plain = [], []
        for server in self.novaclient.get_servers(self.context, host_name):
            (tagged if strutils.bool_from_string(server.metadata.get(key, False)) else plain).append(server)
        self.update_details(_("%(tagged)d servers with %(key)s, %(plain)d without") % {
            'tagged': len(tagged), 'key': key, 'plain': len(plain)}, 0.5)
        chosen = tagged + (plain if CONF.host_failure.evacuate_all_instances else [])
        if not chosen:
            msg = _("Nothing is to be moved away from '%s'") % host_name
            self.update_details(msg, 1.0)
            raise exception.SkipHostRecoveryException(message=msg)
        for server in chosen:
            vmove = objects.VMove(context=self.context)
            vmove.instance_uuid = server.id
            vmove.instance_name = server.name
            vmove.notification_uuid = notification_uuid
            vmove.source_host = host_name
            vmove.status = fields.VMoveStatus.PENDING
            vmove.type = fields.VMoveType.EVACUATION
            vmove.create()
        self.update_details(_("To be moved: %s") % ','.join(s.id for s in chosen), 1.0)


class PyEvacuateTask(base.MasakariTask):
    def __init__(self, context, novaclient, **kwargs):
        kwargs['requires'] = ['host_name', 'notification_uuid']
        self.update_host_method = kwargs['update_host_method']
        super(PyEvacuateTask, self).__init__(context, novaclient, **kwargs)

    def execute(self, host_name, notification_uuid, reserved_host=None):
        def pending():
            return objects.VMoveList.get_all_vmoves(self.context, notification_uuid, status=fields.VMoveStatus.PENDING)

        @utils.synchronized(reserved_host or host_name)
        def move_all():
            if reserved_host:
                self.novaclient.enable_disable_service(self.context, reserved_host, enable=True)
                self.update_host_method(reserved_host, reserved=False)
            pool = eventlet.GreenPool(CONF.host_failure_recovery_threads)
            for vmove in pending():
                self.update_details(_("Moving '%s'") % vmove.instance_uuid, 0.5)
                pool.spawn_n(self._move, vmove, reserved_host)
            pool.waitall()

        move_all()
        bad = [v for v in objects.VMoveList.get_all_vmoves(self.context, notification_uuid) if v.status == fields.VMoveStatus.FAILED]
        if bad:
            raise exception.HostRecoveryFailureException(message=_("Not moved away from '%(host)s': %(ids)s") % {
                'host': host_name, 'ids': ','.join(v.instance_uuid for v in bad)})
        self.update_details(_("Moved"), 1.0)

    def _move(self, vmove, reserved_host):
        server = self.novaclient.get_server(self.context, vmove.instance_uuid)
        held = server.locked
        if not held:
            self.novaclient.lock_server(self.context, server.id)
        vmove.status, vmove.start_time = fields.VMoveStatus.ONGOING, timeutils.utcnow()
        vmove.save()
        try:
            self._evacuate(server, reserved_host)
            vmove.dest_host = getattr(self.novaclient.get_server(self.context, server.id), 'OS-EXT-SRV-ATTR:hypervisor_hostname')
            vmove.status = fields.VMoveStatus.SUCCEEDED
        except loopingcall.LoopingCallTimeOut:
            vmove.status, vmove.message = fields.VMoveStatus.FAILED, _("the time is up")
        except Exception as e:
            LOG.exception("server %s", server.id)
            vmove.status, vmove.message = fields.VMoveStatus.FAILED, str(e)
        finally:
            vmove.end_time = timeutils.utcnow()
            vmove.save()
            if not held:
                self.novaclient.unlock_server(self.context, server.id)

    def _evacuate(self, server, reserved_host):
        was = getattr(server, 'OS-EXT-STS:vm_state')
        source = getattr(server, 'OS-EXT-SRV-ATTR:hypervisor_hostname')
        if was not in ('active', 'stopped', 'error'):
            self.novaclient.reset_instance_state(self.context, server.id)
        self.novaclient.evacuate_instance(self.context, server.id, target=reserved_host)

        def moved(now):
            if getattr(now, 'fault', None) and getattr(now, 'OS-EXT-STS:vm_state') == 'error' and was == 'active':
                raise exception.InstanceEvacuateFailed(instance_uuid=server.id)
            return getattr(now, 'OS-EXT-SRV-ATTR:hypervisor_hostname') != source and not getattr(now, 'OS-EXT-STS:task_state')

        self._wait(server, moved)
        if was not in ('active', 'stopped'):
            self.novaclient.stop_server(self.context, server.id)
            self._wait(server, lambda now: getattr(now, 'OS-EXT-STS:vm_state') == 'stopped')
        if was == 'error':
            self.novaclient.reset_instance_state(self.context, server.id)

    def _wait(self, server, reached):
        def look():
            if reached(self.novaclient.get_server(self.context, server.id)):
                raise loopingcall.LoopingCallDone()

        timer = loopingcall.FixedIntervalWithTimeoutLoopingCall(look)
        timer.start(interval=CONF.verify_interval, timeout=CONF.python_hosts.limit).wait()


class PyConfirmMovesTask(base.MasakariTask):
    def execute(self, host_name, notification_uuid):
        for vmove in objects.VMoveList.get_all_vmoves(self.context, notification_uuid):
            server = self.novaclient.get_server(self.context, vmove.instance_uuid)
            if getattr(server, 'OS-EXT-SRV-ATTR:hypervisor_hostname') != vmove.dest_host or vmove.dest_host == host_name:
                raise exception.HostRecoveryFailureException(message=_("%s is not where it was moved") % server.name)
        if not self.novaclient.is_service_disabled(self.context, host_name, 'nova-compute'):
            raise exception.HostRecoveryFailureException(message=_("%s takes servers again") % host_name)
        LOG.info("Nothing is left on %s", host_name)
