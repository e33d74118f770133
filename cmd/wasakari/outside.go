package main

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/egress"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/audit"
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

// auditFile is the audit log in the state folder.
const auditFile = "audit.log"

// newAudit opens the audit log of the configuration: a file, or standard output.
func newAudit(cfg *config.Config, w world, stateDir string, log *zap.Logger) *audit.Log {
	node, _ := nodeName(cfg) // without one, the line says so
	c := audit.Config{File: cmp.Or(cfg.Telemetry.AuditFile, filepath.Join(stateDir, auditFile)), Node: node, Logger: log.Named("audit")}
	if c.File == "-" {
		c.Writer = w.stdout
	}
	return audit.New(c)
}

// newOutside makes what sends the requests of tasks. Each has a line in the
// audit log, whatever is logged elsewhere.
func newOutside(cfg *config.Config, lines *audit.Log, log *zap.Logger) (outside, error) {
	h := cfg.HTTP
	c := egress.Config{
		Proxy: string(h.Proxy), Timeout: h.Timeout, AnswerBytes: h.AnswerKiB << 10, Logger: log.Named("egress"),
		Audit: func(r egress.Request) {
			line := audit.Record{
				Kind: audit.HTTP, Op: abi.OpHTTPRequest, Target: r.URL, Outcome: audit.Done, Message: r.Error,
				Run: r.Run, Task: r.Task, Library: r.Library, Tenant: r.Tenant,
				Method: r.Method, Status: r.Status, Bytes: r.Bytes, Took: r.Took, Address: r.Address,
			}
			switch {
			case r.Refused:
				line.Outcome = audit.Refused
			case r.Error != "":
				line.Outcome = audit.Failed
			}
			lines.Write(line)
		},
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
