package runtime

import goruntime "runtime"

// AwaitQueued waits until n runs wait for their turn.
func (m *Module) AwaitQueued(n int) {
	q := m.runtime.queue
	for {
		q.mu.Lock()
		waiting := 0
		for _, l := range q.lines {
			waiting += len(l.waiting)
		}
		q.mu.Unlock()
		if waiting == n {
			return
		}
		goruntime.Gosched()
	}
}
