// Package audit writes the audit log: one line of JSON for each change that was
// made or refused, whoever made it, with what is needed to find it again in the
// logs of Nova and Keystone.
package audit

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// Kind says who made a change, and where.
type Kind string

// The kinds of change.
const (
	API      Kind = "api"      // a client, through the API
	Module   Kind = "module"   // a client, of the modules
	Nova     Kind = "nova"     // a task, or the end of a run, in the cloud
	HA       Kind = "ha"       // a run, of Masakari's own records
	HTTP     Kind = "http"     // a task, by op http.request; reads too
	Override Kind = "override" // a person, who let a run go beyond the guards
	Reload   Kind = "reload"   // a reload of the configuration
)

// Outcome says what became of a change.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // nothing changed
	Failed  Outcome = "failed"  // it may have changed something
	Lost    Outcome = "lost"    // it was looked for, and never arrived
)

// Record is one line. Empty fields are left out.
type Record struct {
	Time    time.Time `json:"time"` // UTC; zero: now
	Kind    Kind      `json:"kind"`
	Op      string    `json:"op"` // such as nova.server_evacuate, segment.create
	Target  string    `json:"target,omitempty"`
	Outcome Outcome   `json:"outcome"`
	Message string    `json:"message,omitempty"`
	Node    string    `json:"node,omitempty"` // of the Log when empty

	// Who: a task of a run, or a caller of the API.
	Run          string `json:"run,omitempty"`
	Notification string `json:"notification,omitempty"`
	Task         string `json:"task,omitempty"`
	Attempt      int    `json:"attempt,omitempty"`
	Library      string `json:"library,omitempty"`
	Tenant       string `json:"tenant,omitempty"` // project that brought the task; empty: the operator
	User         string `json:"user,omitempty"`   // id
	UserName     string `json:"user_name,omitempty"`
	Project      string `json:"project,omitempty"` // of the user
	Remote       string `json:"remote,omitempty"`  // address of the client

	// Where else it is told of.
	NovaRequestID   string `json:"nova_request_id,omitempty"`
	RequestID       string `json:"request_id,omitempty"`
	GlobalRequestID string `json:"global_request_id,omitempty"`
	Intent          string `json:"intent,omitempty"` // the same twice: the same change

	// Of a request: the answer.
	Method  string        `json:"method,omitempty"`
	Status  int           `json:"status,omitempty"`
	Bytes   int           `json:"bytes,omitempty"`
	Address string        `json:"address,omitempty"` // that was connected to
	Took    time.Duration `json:"took_ns,omitempty"`
}

// Change is the record of a change of the cloud, or of Masakari's records, by a run. Its user is who let
// the run be: nobody but the notification tells.
func Change(in recovery.Intent, run recovery.Run) Record {
	r := Record{
		Kind: Nova, Op: in.Op, Target: in.Target, Message: in.Message, Run: run.ID, Notification: run.Notification,
		Task: in.Task, Attempt: in.Attempt, NovaRequestID: in.RequestID, Intent: in.ID,
	}
	if strings.HasPrefix(in.Op, "ha.") {
		r.Kind = HA
	}
	switch in.State {
	case recovery.IntentDone:
		r.Outcome = Done
	case recovery.IntentRefused:
		r.Outcome = Refused
	case recovery.IntentLost:
		r.Outcome = Lost
	default:
		r.Outcome = Failed
	}
	return r
}

// Config configures a Log.
type Config struct {
	// File is appended to. It is opened for each line: whoever moves it away, to
	// rotate it, has all that was written until then, and nobody need be told.
	// What is never written makes no file; folders are made, for this user alone.
	File string
	// Writer takes the lines instead, one by one in single writes.
	Writer io.Writer
	// Node names this process in each line.
	Node string
	// Observe is told of each line, and why one could not be written. May be nil.
	Observe func(kind string, err error)
	// Logger is told of lines that could not be written, whole. Defaults to
	// zap.NewNop.
	Logger *zap.Logger
}

// Log is an audit log. It is safe for concurrent use, by several processes too,
// and needs no closing. A nil Log writes nothing.
type Log struct {
	cfg Config
	log *zap.Logger
}

// New makes a Log.
func New(c Config) *Log {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Writer == nil {
		c.Writer = appender(c.File)
	}
	return &Log{cfg: c, log: c.Logger}
}

// Bounds of one line, in bytes of each text.
const (
	maxName = 512
	maxText = 2048
)

// Write writes a line. That a line cannot be written stops no recovery: the
// line goes into the log of the process then, as an error.
func (l *Log) Write(r Record) {
	if l == nil {
		return
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	r.Time = r.Time.UTC()
	if r.Node == "" {
		r.Node = l.cfg.Node
	}
	for _, s := range []*string{
		&r.Op, &r.Node, &r.Run, &r.Notification, &r.Task, &r.Library, &r.Tenant, &r.User, &r.UserName, &r.Project, &r.Remote,
		&r.NovaRequestID, &r.RequestID, &r.GlobalRequestID, &r.Intent, &r.Method, &r.Address,
	} {
		*s = clip(*s, maxName)
	}
	r.Target, r.Message = clip(r.Target, maxText), clip(r.Message, maxText)
	line, err := json.Marshal(r)
	if err == nil {
		_, err = l.cfg.Writer.Write(append(line, '\n'))
	}
	if err != nil {
		l.log.Error("audit line not written", zap.ByteString("line", line), zap.Error(err))
	}
	if l.cfg.Observe != nil {
		l.cfg.Observe(string(r.Kind), err)
	}
}

// clip bounds what of others' text goes into a line.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// appender is a file that is opened for each line.
type appender string

// Write appends a line.
func (a appender) Write(line []byte) (int, error) {
	f, err := a.open()
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(string(a)), 0o700); err == nil {
			f, err = a.open()
		}
	}
	if err != nil {
		return 0, err
	}
	n, err := f.Write(line)
	return n, errors.Join(err, f.Close())
}

func (a appender) open() (*os.File, error) {
	return os.OpenFile(string(a), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}
