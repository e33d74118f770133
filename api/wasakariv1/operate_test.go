package wasakariv1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
)

// node is a fake of what an operator asks of a node.
type node struct {
	backup func(w io.Writer) error
	done   []string
	err    error
}

func (n node) Backup(_ context.Context, w io.Writer) error { return n.backup(w) }

func (n node) HostRepaired(context.Context, string) ([]string, error) { return n.done, n.err }

func operatedBy(n node) func(*wasakariv1.Config) {
	return func(c *wasakariv1.Config) { c.Operation = n }
}

// Who gets a backup gets it whole, or knows that it is not.
func TestBackup(t *testing.T) {
	var fails error
	late := false
	s := serve(t, nil, operatedBy(node{backup: func(w io.Writer) error {
		if fails != nil && !late {
			return fails
		}
		_, err := w.Write([]byte(strings.Repeat("x", 1<<20)))
		return errors.Join(err, fails)
	}}))
	refused(t, s.get(t, "reader", "/store/backup"), 403, "the policy does not allow it")
	refused(t, s.get(t, "author", "/store/backup"), 403, "the policy does not allow it")
	if r := s.get(t, "admin", "/store/backup"); r.code != 200 || len(r.body) != 1<<20 || r.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d, %v, %d bytes", r.code, r.header, len(r.body))
	}
	fails = recovery.ErrUnavailable
	refused(t, s.get(t, "admin", "/store/backup"), 503, "the store cannot be reached now")
	late = true
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/store/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", "admin")
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		err = errors.Join(err, res.Body.Close())
	}
	if err == nil {
		t.Error("a backup that broke off looks whole")
	}
}

// One backup is taken at a time.
func TestBackupsTakeTurns(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	s := serve(t, nil, operatedBy(node{backup: func(w io.Writer) error {
		close(begun)
		<-end
		_, err := w.Write([]byte("x"))
		return err
	}}))
	first := make(chan reply, 1)
	go func() { first <- s.get(t, "admin", "/store/backup") }()
	<-begun
	refused(t, s.get(t, "admin", "/store/backup"), 503, "another backup is being taken")
	close(end)
	if r := <-first; r.code != 200 || r.body != "x" {
		t.Errorf("%+v", r)
	}
}

func TestHostRepaired(t *testing.T) {
	s := serve(t, nil, operatedBy(node{done: []string{"it was enabled"}}))
	refused(t, s.call(t, "reader", http.MethodPost, "/hosts/h1/repaired", nil), 403, "the policy does not allow it")
	if got := into[wasakariv1.HostRepaired](t, s.call(t, "admin", http.MethodPost, "/hosts/h1/repaired", nil), 200); got.Host != "h1" || len(got.Done) != 1 {
		t.Errorf("%+v", got)
	}
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{recovery.ErrNotFound, 404, "no segment has a host h1"},
		{fmt.Errorf("host: %w", recovery.ErrInUse), 409, "a recovery in the segment of host h1 has not ended"},
		{&wasakariv1.Refusal{Code: 409, Message: "it is down"}, 409, "it is down"},
		{errors.New("secret words"), 500, "something unexpected went wrong"},
	} {
		s := serve(t, nil, operatedBy(node{err: tt.err}))
		refused(t, s.call(t, "admin", http.MethodPost, "/hosts/h1/repaired", nil), tt.code, tt.want)
	}
	refused(t, serve(t, nil).get(t, "admin", "/store/backup"), 501, "this server cannot do that")
}
