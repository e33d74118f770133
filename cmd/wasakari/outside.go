package main

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/egress"
	"github.com/wasakari/wasakari/hostfuncs"
)

// maxCAFile bounds [http] ca_file: all authorities of a system have a quarter
// of it.
const maxCAFile = 1 << 20

// outside sends the requests of tasks. It serves hostfuncs.HTTP.
type outside struct{ *egress.Client }

// Do sends a request.
func (o outside) Do(ctx context.Context, c hostfuncs.HTTPCall) (abi.HTTPRequestAnswer, error) {
	return o.Client.Do(ctx, egress.Call(c))
}

// newOutside makes what sends the requests of tasks.
func newOutside(cfg *config.Config, log *zap.Logger) (outside, error) {
	h := cfg.HTTP
	c := egress.Config{Proxy: string(h.Proxy), Timeout: h.Timeout, AnswerBytes: h.AnswerKiB << 10, Logger: log.Named("egress")}
	if h.CAFile != "" {
		var err error
		if c.CA, err = readFile(h.CAFile, maxCAFile); err != nil {
			return outside{}, usagef("[http] ca_file: %w", err)
		}
	}
	client, err := egress.New(c)
	if err != nil {
		return outside{}, usagef("[http] %w", err)
	}
	return outside{client}, nil
}

// httpWait is longer than any request of a task.
func httpWait(cfg *config.Config) time.Duration { return cfg.HTTP.Timeout + time.Second }
