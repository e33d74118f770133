package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

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

// Refused writes down a request that is not sent.
func (o outside) Refused(c hostfuncs.HTTPCall, why error) { o.Client.Refused(egress.Call(c), why) }

// auditFile is the file in the state folder in which every request of a task
// has a line of JSON, whatever is logged elsewhere.
const auditFile = "http-audit.log"

// newOutside makes what sends the requests of tasks.
func newOutside(cfg *config.Config, stateDir string, log *zap.Logger) (outside, error) {
	h := cfg.HTTP
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	audit := zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(appender(filepath.Join(stateDir, auditFile))), zap.InfoLevel)
	c := egress.Config{
		Proxy: string(h.Proxy), Timeout: h.Timeout, AnswerBytes: h.AnswerKiB << 10,
		Logger: zap.New(zapcore.NewTee(audit, log.Core())).Named("egress"),
	}
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

// appender is a file that is opened for each line: whoever moves it away has
// all that was written, and what is never written makes no file.
type appender string

// Write appends a line.
func (a appender) Write(line []byte) (int, error) {
	if err := os.MkdirAll(filepath.Dir(string(a)), 0o700); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(string(a), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.Write(line)
	return n, errors.Join(err, f.Close())
}

// Sync does nothing: a line is written when it is written.
func (a appender) Sync() error { return nil }
