package main

import (
	"context"
	"crypto/ed25519"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/wasakari/wasakari/abi"
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
	modules map[string]*shelved // by source and bytes
	held    map[*runtime.Module]int
}

// shelved is an admitted module, and what is told of its bytes without them.
type shelved struct {
	*runtime.Module
	signer ed25519.PublicKey // nil: it is not signed
	size   int
}

func newShelf(rt *runtime.Runtime, log *zap.Logger) *shelf {
	return &shelf{rt: rt, log: log, modules: map[string]*shelved{}, held: map[*runtime.Module]int{}}
}

// Admit admits a module, unless it is there already, and holds it once more.
func (s *shelf) Admit(ctx context.Context, source string, wasm []byte) (*runtime.Module, error) {
	digest := digestOf(wasm)
	key := source + "\x00" + digest
	for {
		if m := s.take(source, digest); m != nil {
			return m.Module, nil
		}
		if _, err, _ := s.flight.Do(key, func() (any, error) {
			m, err := s.rt.Admit(ctx, source, wasm)
			if err != nil {
				return nil, err
			}
			signer, _ := abi.ReadSignature(wasm) // whoever had it admitted looked at it
			s.mu.Lock()
			defer s.mu.Unlock()
			s.modules[key] = &shelved{m, signer, len(wasm)}
			return nil, nil
		}); err != nil {
			return nil, err
		}
	}
}

// take holds a module that is there once more; nil: it is not.
func (s *shelf) take(source, digest string) *shelved {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.modules[source+"\x00"+digest]
	if m != nil {
		s.held[m.Module]++
	}
	return m
}

// release lets go of a module, and closes it when nobody holds it.
func (s *shelf) release(m *runtime.Module) {
	s.mu.Lock()
	s.held[m]--
	last := s.held[m] <= 0
	if last {
		delete(s.held, m)
		for key, other := range s.modules {
			if other.Module == m {
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
