package main

import (
	"sync/atomic"

	"github.com/wasakari/wasakari/bench/internal/workload"
)

// host is what the guests of all peers talk to.
type host struct {
	input  []byte
	answer []byte

	// held counts the guests that wait for OpHold, until released is closed.
	held     atomic.Int64
	released chan struct{}
}

var noAnswer = []byte("{}")

// do answers an op. nil stands for an op that it does not know.
func (h *host) do(op string) []byte {
	switch op {
	case workload.OpGet:
		return h.answer
	case workload.OpInput:
		return h.input
	case workload.OpHold:
		h.held.Add(1)
		<-h.released
		return noAnswer
	}
	return nil
}

// newHost makes a host whose guests do what the mode says.
func newHost(mode, n, size int) (*host, error) {
	h := &host{released: make(chan struct{})}
	return h, h.set(mode, n, size)
}

// set gives the guests that start from now on something else to do.
func (h *host) set(mode, n, size int) error {
	input, err := workload.Encode(mode, n, size)
	if err != nil {
		return err
	}
	h.input = input
	if h.answer == nil || len(h.answer) != size {
		h.answer = make([]byte, size)
		for i := range h.answer {
			h.answer[i] = 'x'
		}
	}
	return nil
}
