"""A stand-in for masakari.engine.drivers.taskflow.base."""

import wasakari
from taskflow import task


class MasakariTask(task.Task):
    """A task with a context, a novaclient, and messages about how far it is."""

    def __init__(self, context=None, novaclient=None, **kwargs):
        requires = kwargs.get("requires")
        provides = kwargs.get("provides")
        rebind = kwargs.get("rebind")
        super().__init__(name=kwargs.get("name") or type(self).__name__, requires=requires, provides=provides, rebind=rebind)
        self.context, self.novaclient = context, novaclient
        self.progress = []

    def update_details(self, progress_data, progress=0.0):
        """Tells what happens, and how far the task is, from 0.0 to 1.0."""
        wasakari.progress(progress * 1000, progress_data)
        self.progress.append({"progress": progress, "message": progress_data})
