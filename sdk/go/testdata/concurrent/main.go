// Command concurrent holds tasks that prove how goroutines, timers and calls
// of the host live together in a sandbox. sdk/conformance builds and runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

func main() {}

func init() {
	wasakari.Handle("many", many)
	wasakari.Handle("chain", chain)
	wasakari.Handle("timeout", timeout)
	wasakari.Handle("timeouts", func(t *wasakari.Task) error {
		errs := make(chan error)
		for range 3 {
			go func() { errs <- timeout(t) }()
		}
		return errors.Join(<-errs, <-errs, <-errs)
	})
	wasakari.Handle("cancel", cancel)
	wasakari.Handle("sleep", sleep)
	wasakari.Handle("after_func", afterFunc)
	wasakari.Handle("busy", busy)
	wasakari.Handle("panics", func(*wasakari.Task) error { panic("the moon fell") })
	wasakari.Handle("leaves_open", leavesOpen)
}

// many has a thousand calls open at once: the host answers none before it has
// them all.
func many(t *wasakari.Task) error {
	const n = 1000
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			id := fmt.Sprint("server-", i)
			s, err := t.Nova().ServerGet(t.Context(), wasakari.NovaServerGetRequest{ID: id, Fields: []string{"id"}})
			if err == nil && s.ID != id {
				err = fmt.Errorf("asked for %s, got %s", id, s.ID)
			}
			errs[i] = err
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// chain makes calls that depend on one another, in several goroutines.
func chain(t *wasakari.Task) error {
	var wg sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			id := fmt.Sprint(i)
			for range 20 {
				s, err := t.Nova().ServerGet(t.Context(), wasakari.NovaServerGetRequest{ID: id})
				if err != nil {
					errs[i] = err
					return
				}
				id = s.ID + "."
			}
			if want := fmt.Sprint(i) + strings.Repeat(".", 20); id != want {
				errs[i] = fmt.Errorf("got %s, want %s", id, want)
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// timeout gives up an op that never ends.
func timeout(t *wasakari.Task) error {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := t.Nova().ServerWait(ctx, wasakari.NovaServerWaitRequest{ID: "s", Until: "moved"})
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("got: %w", err)
	}
	return nil
}

// cancel gives up an op from another goroutine, which waits for the host too.
func cancel(t *wasakari.Task) error {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slept := make(chan error, 1)
	go func() {
		slept <- t.Sleep(t.Context(), time.Millisecond)
		cancel()
	}()
	_, err := t.Nova().ServerWait(ctx, wasakari.NovaServerWaitRequest{ID: "s", Until: "moved"})
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("got: %w", err)
	}
	return <-slept
}

// sleep: the host answers only when the sleepers have woken and said so.
func sleep(t *wasakari.Task) error {
	var wg sync.WaitGroup
	for range 5 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			time.Sleep(20 * time.Millisecond)
			t.Log().Infof("awake")
		}()
	}
	_, err := t.Nova().ServerGet(t.Context(), wasakari.NovaServerGetRequest{ID: "s"})
	wg.Wait()
	return err
}

// afterFunc: as sleep, with no goroutine to be seen before the timer fires.
func afterFunc(t *wasakari.Task) error {
	time.AfterFunc(20*time.Millisecond, func() { t.Log().Infof("awake") })
	_, err := t.Nova().ServerGet(t.Context(), wasakari.NovaServerGetRequest{ID: "s"})
	return err
}

// busy: goroutines that never wait for the host go on while a call is open.
func busy(t *wasakari.Task) error {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for v := range ping {
			pong <- v + 1
		}
		close(pong)
	}()
	go func() {
		v := 0
		for v < 20_000 {
			ping <- v
			v = <-pong
		}
		close(ping)
		t.Log().Infof("awake")
	}()
	_, err := t.Nova().ServerGet(t.Context(), wasakari.NovaServerGetRequest{ID: "s"})
	return err
}

func leavesOpen(t *wasakari.Task) error {
	go func() {
		_, _ = t.Nova().ServerWait(t.Context(), wasakari.NovaServerWaitRequest{ID: "s", Until: "moved"})
	}()
	return t.Sleep(t.Context(), time.Millisecond)
}
