package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/wasakari/wasakari/runtime"
)

// shelf keeps admitted modules for as long as a snapshot has them, so that a
// module that stays is not admitted again when something else changes. It is
// safe for concurrent use.
type shelf struct {
	rt  *runtime.Runtime
	log *zap.Logger

	flight  singleflight.Group
	mu      sync.Mutex
	modules map[string]*runtime.Module // by source and bytes
	held    map[*runtime.Module]int
}

func newShelf(rt *runtime.Runtime, log *zap.Logger) *shelf {
	return &shelf{rt: rt, log: log, modules: map[string]*runtime.Module{}, held: map[*runtime.Module]int{}}
}

// Admit admits a module, unless it is there already, and holds it once more.
func (s *shelf) Admit(ctx context.Context, source string, wasm []byte) (*runtime.Module, error) {
	key := source + "\x00" + digestOf(wasm)
	for {
		s.mu.Lock()
		if m := s.modules[key]; m != nil {
			s.held[m]++
			s.mu.Unlock()
			return m, nil
		}
		s.mu.Unlock()
		if _, err, _ := s.flight.Do(key, func() (any, error) {
			m, err := s.rt.Admit(ctx, source, wasm)
			if err != nil {
				return nil, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.modules[key] = m
			return nil, nil
		}); err != nil {
			return nil, err
		}
	}
}

// release lets go of a module, and closes it when nobody holds it.
func (s *shelf) release(m *runtime.Module) {
	s.mu.Lock()
	s.held[m]--
	last := s.held[m] <= 0
	if last {
		delete(s.held, m)
		for key, other := range s.modules {
			if other == m {
				delete(s.modules, key)
			}
		}
	}
	s.mu.Unlock()
	if !last {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		s.log.Warn("module not closed", zap.String("module", m.Source()), zap.Error(err))
	}
}
