"""Calls every method of openstacksdk's instance_ha against a running service."""
import datetime
import sys
import time

import openstack
from openstack import exceptions

conn = openstack.connect()
ha = conn.instance_ha
wrong = []


def check(what, got, want):
    if got != want:
        wrong.append(f"{what}: {got!r}, want {want!r}")


segment = ha.create_segment(name="sdk", recovery_method="auto", service_type="COMPUTE", description=None)
check("name of the segment", segment.name, "sdk")
check("description of the segment", segment.description, None)
check("is_enabled of the segment", getattr(segment, "is_enabled", True), True)
check("segments", [s.name for s in ha.segments()], ["sdk"])
check("segment by id", ha.get_segment(segment.uuid).uuid, segment.uuid)
check("updated segment", ha.update_segment(segment.uuid, description="of the SDK").description, "of the SDK")
for i in range(5):
    ha.create_segment(name=f"more-{i}", recovery_method="rh_priority", service_type="COMPUTE")
check("pages of segments", sorted(s.name for s in ha.segments(limit=2)), ["more-0", "more-1", "more-2", "more-3", "more-4", "sdk"])
for s in ha.segments(recovery_method="rh_priority"):
    ha.delete_segment(s.uuid)
check("segments after deletes", [s.name for s in ha.segments()], ["sdk"])
ha.delete_segment("00000000-0000-4000-8000-000000000000")  # one that is not there is no error
try:
    ha.get_segment("00000000-0000-4000-8000-000000000000")
    wrong.append("a segment that is not there was found")
except exceptions.ResourceNotFound:
    pass

host = ha.create_host(segment_id=segment.uuid, name="compute-dead", type="COMPUTE", control_attributes="SSH")
check("name of the host", host.name, "compute-dead")
check("hosts", [h.name for h in ha.hosts(segment.uuid)], ["compute-dead"])
check("host by id", ha.get_host(host.uuid, segment_id=segment.uuid).uuid, host.uuid)
check("updated host", ha.update_host(host.uuid, segment_id=segment.uuid, control_attributes="IPMI").control_attributes, "IPMI")
spare = ha.create_host(segment_id=segment.uuid, name="compute-2", type="COMPUTE", control_attributes="SSH", reserved=True)
check("reserved of the spare host", spare.reserved, True)
ha.delete_host(spare.uuid, segment_id=segment.uuid)
check("hosts after a delete", [h.name for h in ha.hosts(segment.uuid)], ["compute-dead"])

when = datetime.datetime.utcnow()
payload = {"event": "STOPPED", "cluster_status": "OFFLINE", "host_status": "NORMAL"}
sent = ha.create_notification(type="COMPUTE_HOST", hostname="compute-dead", generated_time=when, payload=payload)
check("payload of the notification", sent.payload, payload)
try:
    ha.create_notification(type="COMPUTE_HOST", hostname="compute-dead", generated_time=when, payload=payload)
    wrong.append("a notification was taken twice")
except exceptions.ConflictException:
    pass
for _ in range(600):
    found = ha.get_notification(sent.notification_uuid)
    if found.status in ("finished", "failed", "ignored", "error"):
        break
    time.sleep(0.1)
check("status of the notification", found.status, "finished")
check("notifications", [n.notification_uuid for n in ha.notifications(status="finished")], [sent.notification_uuid])
if hasattr(ha, "vmoves"):
    moves = list(ha.vmoves(sent.notification_uuid))
    check("states of vmoves", [m.status for m in moves], ["succeeded", "succeeded"])
    check("vmove by id", ha.get_vmove(moves[0].uuid, sent.notification_uuid).uuid, moves[0].uuid)
ha.delete_segment(segment.uuid)
check("segments at the end", list(ha.segments()), [])

for line in wrong:
    print(line)
if wrong:
    sys.exit(1)
print("all calls are good")
