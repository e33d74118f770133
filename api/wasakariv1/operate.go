package wasakariv1

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// Operation is what an operator asks of the node itself. Errors match the
// sentinels of recovery, or are a *Refusal, whose words are sent.
type Operation interface {
	// Backup writes all that is durable, as it is at one moment.
	Backup(ctx context.Context, w io.Writer) error
	// HostRepaired takes a host, by its name, back into service, and tells what was
	// done for it, a sentence each.
	HostRepaired(ctx context.Context, host string) ([]string, error)
}

// HostRepaired answers the report that a host is good again.
type HostRepaired struct {
	Host string   `json:"host"`
	Done []string `json:"done" help:"What was done, a sentence each; none: all was well."`
}

// operation gives who operates the node.
func (a *API) operation() (Operation, error) {
	if a.cfg.Operation == nil {
		return nil, refuse(http.StatusNotImplemented, "", "this server cannot do that")
	}
	return a.cfg.Operation, nil
}

func (a *API) repairedHost(w http.ResponseWriter, r *http.Request, _ Caller, _ view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	op, err := a.operation()
	if err != nil {
		return err
	}
	name := r.PathValue("host")
	wire.Of(r.Context()).Target = name
	done, err := op.HostRepaired(r.Context(), name)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		return &Refusal{Code: http.StatusNotFound, Message: "no segment has a host " + cut(name, 64), Hint: "names are as openstack segment host list shows them", Err: err}
	case errors.Is(err, recovery.ErrInUse):
		return &Refusal{Code: http.StatusConflict, Message: "a recovery in the segment of host " + cut(name, 64) + " has not ended", Hint: "wait for its end, or abort its run", Err: err}
	case err != nil:
		return err
	}
	return a.answer(w, r, http.StatusOK, HostRepaired{Host: name, Done: append([]string{}, done...)})
}

// backup streams a backup. It holds modules and values of all, which is why its
// reading is audited as changes are.
func (a *API) backup(w http.ResponseWriter, r *http.Request, _ Caller, _ view) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	op, err := a.operation()
	if err != nil {
		return err
	}
	if !a.backingUp.TryLock() {
		return refuse(http.StatusServiceUnavailable, "try again when it is done", "another backup is being taken")
	}
	defer a.backingUp.Unlock()
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", typeBytes)
		return nil
	}
	out := &outflow{w: w, rc: http.NewResponseController(w)}
	err = op.Backup(r.Context(), out)
	switch {
	case err == nil:
		return nil
	case !out.begun:
		return err
	}
	a.log.Error("backup broken off", zap.String("request_id", wire.Of(r.Context()).ID), zap.Error(err))
	panic(http.ErrAbortHandler) // too late for an answer: the client must see that it is not whole
}

// outflow is an answer that may take long as long as somebody reads it.
type outflow struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (o *outflow) Write(b []byte) (int, error) {
	if !o.begun {
		o.begun = true
		h := o.w.Header()
		h.Set("Content-Type", typeBytes)
		h.Set("Content-Disposition", `attachment; filename="wasakari.backup"`)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
	}
	_ = o.rc.SetWriteDeadline(time.Now().Add(time.Minute))
	return o.w.Write(b)
}
