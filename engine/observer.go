package engine

import (
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Observer is told what the engine does, so that it can be counted and traced.
// Its methods are called on the engine's goroutines, several at a time, and
// must not block.
type Observer interface {
	// EndedWithoutRun tells of a notification that needed no run.
	EndedWithoutRun(n recovery.Notification, status recovery.NotificationStatus, message string)
	// Claimed tells that this node works on a run from now on; resumed, that it
	// was begun before.
	Claimed(item recovery.QueueItem, run recovery.Run, resumed bool)
	// RunStarted tells that a run is about to be performed.
	RunStarted(n recovery.Notification, run recovery.Run)
	// HostChanged tells that a run is about to be begun and its host was put on
	// maintenance; err: why that was not written.
	HostChanged(run recovery.Run, h recovery.Host, err error)
	// RunEvent hands on what the flow tells while it runs.
	RunEvent(run string, e recovery.Event)
	// RunEnded tells that a run came to its end, and how its notification stands:
	// error when it is tried again.
	RunEnded(n recovery.Notification, run recovery.Run, status recovery.NotificationStatus)
	// Retried tells that a failed run's notification waits for another one.
	Retried(n recovery.Notification, run recovery.Run, notBefore time.Time)
	// PutOff tells that a run could not be gone on with for now.
	PutOff(item recovery.QueueItem, run string, err error)
	// HandedOver tells that a run was given up for another node; lost, that it was
	// taken away.
	HandedOver(run string, lost bool)
	// Superseded tells that the run of a host ended a notification about one of
	// its servers that had no run.
	Superseded(item recovery.QueueItem, by string)
	// StoreAway tells that the queue cannot be read, with nil that it can again.
	StoreAway(err error)
	// FoundUnreported tells, after the store or this node was away, which hosts
	// are down without anybody having said so.
	FoundUnreported(hosts []UnreportedHost)
}

// NoObserver does nothing. Embed it to implement a part of Observer.
type NoObserver struct{}

// EndedWithoutRun does nothing.
func (NoObserver) EndedWithoutRun(recovery.Notification, recovery.NotificationStatus, string) {}

// Claimed does nothing.
func (NoObserver) Claimed(recovery.QueueItem, recovery.Run, bool) {}

// RunStarted does nothing.
func (NoObserver) RunStarted(recovery.Notification, recovery.Run) {}

// HostChanged does nothing.
func (NoObserver) HostChanged(recovery.Run, recovery.Host, error) {}

// RunEvent does nothing.
func (NoObserver) RunEvent(string, recovery.Event) {}

// RunEnded does nothing.
func (NoObserver) RunEnded(recovery.Notification, recovery.Run, recovery.NotificationStatus) {}

// Retried does nothing.
func (NoObserver) Retried(recovery.Notification, recovery.Run, time.Time) {}

// PutOff does nothing.
func (NoObserver) PutOff(recovery.QueueItem, string, error) {}

// HandedOver does nothing.
func (NoObserver) HandedOver(string, bool) {}

// Superseded does nothing.
func (NoObserver) Superseded(recovery.QueueItem, string) {}

// StoreAway does nothing.
func (NoObserver) StoreAway(error) {}

// FoundUnreported does nothing.
func (NoObserver) FoundUnreported([]UnreportedHost) {}
