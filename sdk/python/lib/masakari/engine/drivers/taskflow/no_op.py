"""A stand-in for masakari.engine.drivers.taskflow.no_op."""

from oslo_log import log as logging
from taskflow import task

LOG = logging.getLogger(__name__)


class Noop(task.Task):
    def __init__(self, context=None, novaclient=None, **kwargs):
        super().__init__(**kwargs)
        self.context, self.novaclient = context, novaclient

    def execute(self, **kwargs):
        LOG.info("Custom task executed successfully..!!")
