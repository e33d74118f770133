"""Moves all servers off a failed host at once, and then starts those that are to
run a few at a time on each host they came to: disks and networks do not have to
bear all of them booting together."""

import wasakari
from wasakari import log, nova, option, parallel


@wasakari.task(provides="started_servers")
def staged_start(host_name):
    limit, size = option("staged_start", "timeout"), option("staged_start", "batch")
    nova.service_wait(host_name, state="down", timeout_s=limit)
    servers = nova.server_list(host=host_name, fields=["id", "name", "metadata", "OS-EXT-STS:vm_state"]).servers

    failed, hosts, to_start = [], set(), {}
    for server, moved in zip(servers, parallel(evacuate(s, limit) for s in servers)):
        if isinstance(moved, Exception):
            failed.append(f"{server.name}: {moved}")
        elif moved:  # else its owner deleted it meanwhile
            host = moved["OS-EXT-SRV-ATTR:host"]
            hosts.add(host)
            wanted = server["OS-EXT-STS:vm_state"] == "active" or server.get("metadata", {}).get("start_after_recovery") == "true"
            if wanted and moved["OS-EXT-STS:vm_state"] == "stopped":
                to_start.setdefault(host, []).append(moved)
    text = f"evacuated {len(servers) - len(failed)} of {len(servers)} servers"
    log.info(f"{text} to {len(hosts)} hosts")
    wasakari.progress(500, text)

    started = []
    parallel(in_batches(batch, size, limit, started, failed) for batch in to_start.values())
    log.info("started %d servers", len(started))
    if failed:
        wasakari.fail(f"{len(failed)} of {len(servers)} servers failed: {'; '.join(sorted(failed))}")
    return sorted(started)


def evacuate(server, limit):
    """Moves a server and gives how it is then."""
    try:
        yield nova.begin.server_evacuate(server.id)
    except wasakari.Conflict:
        pass  # an earlier attempt of this task has begun it, or it is gone
    answer = yield nova.begin.server_wait(
        server.id, "moved", timeout_s=limit, fields=["id", "name", "OS-EXT-STS:vm_state", "OS-EXT-SRV-ATTR:host"])
    if answer.outcome == "error":
        wasakari.fail(answer.message)
    return answer.server if answer.outcome == "reached" else None


def in_batches(servers, size, limit, started, failed):
    """Starts the servers of one host, so many at a time."""
    for i in range(0, len(servers), size):
        batch = servers[i:i + size]
        results = yield [start(s, limit) for s in batch]
        for server, error in zip(batch, results):
            if error:
                failed.append(f"{server.name}: {error}")
            else:
                started.append(server.name)


def start(server, limit):
    yield nova.begin.server_start(server.id)
    answer = yield nova.begin.server_wait(server.id, "vm_state", vm_states=["active"], timeout_s=limit, fields=["id"])
    if answer.outcome == "error":
        wasakari.fail(answer.message)
