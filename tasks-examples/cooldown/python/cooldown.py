"""Lets no second recovery of a host begin within some minutes of the first: a
host that fails again and again needs a person. It stands first in pre."""

import wasakari
from wasakari import info, kv, option


def forget(host_name):
    """Takes the run's own mark away: a recovery that failed does not count."""
    mark, version = kv.library.get_version("host/" + host_name)
    if mark is None:
        wasakari.nothing("the mark is gone")
    if mark["run"] != info.run_id:
        wasakari.nothing("the mark is another run's")
    kv.library.delete("host/" + host_name, if_version=version)


@wasakari.task(revert=forget)
def cooldown(host_name):
    minutes = option("cooldown", "minutes")
    try:
        # Written only when nobody else's is there: of two runs at the same moment
        # one goes on.
        kv.library.put("host/" + host_name, {"run": info.run_id}, if_version=0, ttl=60 * minutes)
    except wasakari.Conflict:
        last = kv.library.get("host/" + host_name)["run"]
        if last != info.run_id:  # else the task runs again after an interruption
            wasakari.ignore(f"host {host_name} was acted on less than {minutes} minutes ago, by run {last}")
