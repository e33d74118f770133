// Package store keeps what must not be lost: Masakari's records, the queue of
// notifications, the journals of runs, what libraries keep, and modules, all of
// it in etcd, embedded or a cluster.
//
// A change is durable, and seen by every node, when its method returns. Each is
// one transaction, or a series in an order that leaves nothing half done when
// it breaks off. A transaction whose answer is lost is looked for until it is
// known whether it was made; when that cannot be told in time the error matches
// [recovery.ErrUnknownOutcome].
//
// # Keys
//
// All keys lie below /wasakari/CLUSTER/. Those below r/ are watched by every
// node; parts that others chose are escaped as in a URL's path.
//
//	format                               version of this layout
//	restoring                            there until a restoration is complete
//	r/seq                                written with every change below r/: its revision is what a reader waits for
//	r/segment/UUID                       Segment
//	r/host/SEGMENT/UUID                  Host
//	r/notification/UUID                  Notification
//	r/queue/SEGMENT/HOST/NOTIFICATION    QueueItem; a segment is in use while it has one
//	r/run/ID                             Run
//	r/task/RUN/SEQ                       TaskRecord
//	r/vmove/NOTIFICATION/UUID            VMove
//	r/abort/RUN                          Abort
//	r/lock/host/NAME, r/lock/server/UUID run and node that hold it; leased, its create revision is the fencing token
//	r/hold/NAME                          notification whose run waits until the host's VM runs have ended
//	r/vmrun/HOST/RUN                     a VM run that began and has not ended
//	r/node/NAME                          Node; leased
//	r/module/DIGEST/TENANT               ModuleVersion
//	r/modules                            which versions new runs take
//	d/segmentname/NAME, d/hostname/NAME  uuid; make names unique
//	d/dedup/HOST/UP|DOWN/TYPE/HASH       notification and its generated time
//	d/work/host/NAME, d/work/server/UUID run that began there and has not ended, and who worked on it
//	d/reserved/HOST                      run that a reserved host is bound to
//	d/run/RUN/value/GENERATION/NAME      values that tasks provided; d/run/RUN/gen is the generation
//	d/run/RUN/open|ended/ID              Intent
//	d/run/RUN/undo/KEY                   Undo
//	d/run/RUN/scratch/PLACE/             a key-value store, as below
//	d/lib/LIBRARY/m, d/lib/LIBRARY/e/KEY bytes used and highest version that is gone; entries
//	d/guard/recovery/RUN, d/guard/server/UUID  what the guards count; d/guard/recovery, d/guard/server are written with each
//	d/version/TENANT/LIBRARY/VERSION     digest; a version never changes
//	d/chunk/DIGEST/NUMBER                512 KiB of a module
//	d/upload/DIGEST/ID                   an upload that has not ended
//	d/kept/DIGEST/TENANT                 a module of a task folder, kept for the runs that begin with it
//	d/kept/DIGEST/engine/                an engine, kept for the modules that name it
//	d/tx/NODE/PROCESS/NUMBER             last transaction of one writer: tells whether one without an answer was made
//
// A record is a line of JSON with the number of its format, and the document. What
// Restore writes has its place in its transaction there too: with the revision
// that made it, it is the number that the API shows.
// One of a newer format is refused with [ErrNewer].
package store
