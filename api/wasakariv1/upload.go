package wasakariv1

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// Uploads at a time. One that arrives is kept in a file and has no place among
// those that are admitted, which hold their modules in memory: who sends slowly
// keeps nobody waiting but himself.
const (
	operatorArrivals = 8
	tenantArrivals   = 16 // of all tenants together, one of each
	operatorUploads  = 2
	tenantUploads    = 2 // of all tenants together
)

// admitTime is what admission takes at most, as far as the answer may wait for
// it, and placeTime what it waits for its turn.
const (
	admitTime = 3 * time.Minute
	placeTime = time.Minute
)

// A body may take arriveGrace, and so long as it comes at slowest bytes a second.
const (
	arriveGrace = 20 * time.Second
	slowest     = 64 << 10
)

// uploads counts those on their way. Tenants never keep the operator waiting.
type uploads struct {
	mu       sync.Mutex
	operator int             // that arrive, or are admitted
	tenants  map[string]bool // likewise
	places   [2]chan struct{}
}

func newUploads() uploads {
	return uploads{places: [2]chan struct{}{make(chan struct{}, operatorUploads), make(chan struct{}, tenantUploads)}}
}

// begin lets one arrive; end is its end.
func (u *uploads) begin(tenant string) (end func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if tenant == "" {
		if u.operator >= operatorArrivals {
			return nil, false
		}
		u.operator++
		return sync.OnceFunc(func() { u.mu.Lock(); u.operator--; u.mu.Unlock() }), true
	}
	if u.tenants[tenant] || len(u.tenants) >= tenantArrivals {
		return nil, false
	}
	if u.tenants == nil {
		u.tenants = map[string]bool{}
	}
	u.tenants[tenant] = true
	return sync.OnceFunc(func() { u.mu.Lock(); delete(u.tenants, tenant); u.mu.Unlock() }), true
}

// place waits for a place among those that are admitted; free gives it back.
func (u *uploads) place(ctx context.Context, tenant string) (free func(), ok bool) {
	places := u.places[0]
	if tenant != "" {
		places = u.places[1]
	}
	ctx, cancel := context.WithTimeout(ctx, placeTime)
	defer cancel()
	select {
	case places <- struct{}{}:
		return sync.OnceFunc(func() { <-places }), true
	case <-ctx.Done():
		return nil, false
	}
}

// uploadModule takes a version. Whose it is the token says, and nothing else:
// neither the module nor the request.
func (a *API) uploadModule(w http.ResponseWriter, r *http.Request, c Caller, v view) error {
	p, err := parameters(r, "wait")
	if err != nil {
		return err
	}
	wait := a.cfg.CompileWait
	if s, ok := p["wait"]; ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 600 {
			return refuse(http.StatusBadRequest, "want seconds, from 0 to 600", "wait %q is none", cut(s, 64))
		}
		wait = time.Duration(n) * time.Second
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != typeWasm {
		return refuse(http.StatusUnsupportedMediaType, "send the module itself, with Content-Type: "+typeWasm, "content type %q is no module's", cut(r.Header.Get("Content-Type"), 64))
	}
	want, err := announced(r.Header)
	if err != nil {
		return err
	}
	if r.ContentLength > a.cfg.MaxModule {
		return a.tooLarge()
	}
	busy := refuse(http.StatusServiceUnavailable, "try again when they are done", "too many modules are being uploaded")
	end, ok := a.uploads.begin(v.tenant)
	if !ok {
		return busy
	}
	defer end()
	// Longer than other answers may take, and yet not for ever.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.cfg.UploadTime + placeTime + admitTime + wait))
	spool, err := a.receive(w, r, want)
	if err != nil {
		return err
	}
	defer spool.remove()
	ctx := r.Context()
	free, ok := a.uploads.place(ctx, v.tenant)
	if !ok {
		return busy
	}
	defer free()
	wasm, err := spool.read()
	if err != nil {
		return err
	}
	info := wire.Of(ctx)
	info.Target = fmt.Sprintf("sha256:%x", sha256.Sum256(wasm)) // for the audit, whatever it is
	ver, err := a.cfg.Admit.Admit(ctx, v.tenant, wasm)
	if err != nil {
		return err
	}
	info.Target = auditName(ver)
	ver.Tenant, ver.Uploaded, ver.By = v.tenant, time.Now().UTC(), c.User()
	versions, err := a.cfg.Modules.Modules(ctx)
	if err != nil {
		return err
	}
	if err := clash(versions, ver); err != nil {
		return clashFor(v, err)
	}
	if err := sameVersion(versions, ver); err != nil {
		return err
	}
	if err := a.roomFor(versions, ver); err != nil {
		return err
	}
	kept, revision, err := a.cfg.Modules.PutModule(ctx, ver, bytes.NewReader(wasm))
	if errors.Is(err, recovery.ErrExists) || errors.Is(err, recovery.ErrConflict) {
		return &Refusal{Code: http.StatusConflict, Message: "another upload took its version or one of its keys meanwhile", Hint: "upload it again to see which", Err: err}
	}
	if err != nil {
		return err
	}
	free() // others need not wait for the nodes
	end()
	doc := ModuleAnswer{Version: kept}
	for _, v := range versions {
		if SetsAside(kept, v) {
			doc.Note = "it has a key of " + nameOf(v) + ", which is not active any more"
		}
	}
	if !kept.Active {
		doc.Note = "another version is pinned and stays the active one"
		doc.Waiting = []string{}
		return a.answer(w, r, http.StatusCreated, doc)
	}
	return a.activated(w, r, http.StatusCreated, doc, revision, wait)
}

// auditName names a version for the audit: whole.
func auditName(v recovery.ModuleVersion) string {
	return fmt.Sprintf("%s %s sha256:%s", v.Library, v.Version, v.Digest)
}

// HintTooLarge says what to do about a module that is too large.
const HintTooLarge = "strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug), or have the operator raise [wasakari] module_mib"

func (a *API) tooLarge() error {
	return &Refusal{
		Code:    http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("the module is larger than the %d bytes that are taken", a.cfg.MaxModule),
		Hint:    HintTooLarge,
		Err:     recovery.ErrTooLarge,
	}
}

// spool is a body that has arrived, in a file that has no name any more where
// that can be had.
type spool struct {
	file *os.File
	size int64
}

func (s spool) remove() {
	_ = s.file.Close()           // read to its end, or of no use
	_ = os.Remove(s.file.Name()) // gone already
}

func (s spool) read() ([]byte, error) {
	wasm := make([]byte, s.size)
	if _, err := s.file.ReadAt(wasm, 0); err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	return wasm, nil
}

// receive keeps the body and compares its digest with what was announced. Whoever
// got one removes it.
func (a *API) receive(w http.ResponseWriter, r *http.Request, want [][]byte) (_ spool, err error) {
	f, err := os.CreateTemp(a.cfg.SpoolDir, "wasakari-upload-")
	if err != nil {
		return spool{}, fmt.Errorf("upload: %w", err)
	}
	s := spool{file: f}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	_ = os.Remove(f.Name()) // so that nothing stays when the process dies; where it cannot be had, remove does it
	hash := sha256.New()
	body := &paced{body: http.MaxBytesReader(w, r.Body, a.cfg.MaxModule), rc: http.NewResponseController(w), start: time.Now(), most: a.cfg.UploadTime}
	if s.size, err = io.Copy(io.MultiWriter(f, hash), body); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return s, a.tooLarge()
		}
		if body.failed == nil {
			return s, fmt.Errorf("upload: %w", err) // of our disk
		}
		return s, bodyProblem(err, a.cfg.MaxModule)
	}
	_ = body.rc.SetReadDeadline(time.Time{})
	if got := hash.Sum(nil); slices.ContainsFunc(want, func(w []byte) bool { return !bytes.Equal(w, got) }) {
		return s, refuse(http.StatusBadRequest, "it was damaged on its way, or the header is of another file: send it again",
			"the body's SHA-256 is %s, not what the header says", hex.EncodeToString(got))
	}
	return s, nil
}

// paced reads a body that has to come at a pace.
type paced struct {
	body   io.Reader
	rc     *http.ResponseController
	start  time.Time
	most   time.Duration
	got    int64
	failed error
}

// Read gives up at the moment until which so much should have come.
func (p *paced) Read(b []byte) (int, error) {
	due := min(arriveGrace+time.Duration(p.got)*time.Second/slowest, p.most)
	// A server that cannot do it bounds its requests as a whole.
	_ = p.rc.SetReadDeadline(p.start.Add(due))
	n, err := p.body.Read(b)
	p.got += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		p.failed = err
	}
	return n, err
}

// announced lists the SHA-256 digests that the headers promise. Digests of other
// kinds are passed over.
func announced(h http.Header) ([][]byte, error) {
	var all [][]byte
	bad := func(name string) error {
		return refuse(http.StatusBadRequest, "want X-Content-SHA256: HEX, or Digest: sha-256=BASE64", "header %s holds no SHA-256", name)
	}
	for _, v := range h.Values("X-Content-SHA256") {
		b, err := hex.DecodeString(strings.TrimSpace(v))
		if err != nil || len(b) != sha256.Size {
			return nil, bad("X-Content-SHA256")
		}
		all = append(all, b)
	}
	for _, name := range []string{"Digest", "Content-Digest"} {
		for one := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
			algorithm, value, ok := strings.Cut(strings.TrimSpace(one), "=")
			if !ok || !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			b, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":")) // Content-Digest has colons around it
			if err != nil || len(b) != sha256.Size {
				return nil, bad(name)
			}
			all = append(all, b)
		}
	}
	return all, nil
}

// keyClash names the two modules that have one key.
type keyClash struct {
	key        string
	mine, your recovery.ModuleVersion
}

func (e *keyClash) Error() string {
	return fmt.Sprintf("task %s is in %s too, besides %s", e.key, nameOf(e.your), nameOf(e.mine))
}

func nameOf(v recovery.ModuleVersion) string {
	s := fmt.Sprintf("library %s %s (sha256:%.12s)", v.Library, v.Version, v.Digest)
	if v.Tenant != "" {
		s += " of tenant " + v.Tenant
	}
	return s
}

// clash refuses a version that has a key of another module's active version. The
// operator's upload goes before a tenant's module: whoever squats on a key does
// not keep him from it.
func clash(versions []recovery.ModuleVersion, next recovery.ModuleVersion) error {
	for _, v := range versions {
		if !v.Active || v.Tenant == next.Tenant && v.Library == next.Library || next.Tenant == "" && v.Tenant != "" {
			continue
		}
		for _, key := range next.Keys {
			if slices.Contains(v.Keys, key) {
				e := &keyClash{key, next, v}
				return &Refusal{Code: http.StatusConflict, Message: e.Error(), Hint: "give the task another key in task.yaml, or remove the other module", Err: e}
			}
		}
	}
	return nil
}

// SetsAside reports whether a version of the operator's has a key of a tenant's
// active one, which then is active no more.
func SetsAside(next, other recovery.ModuleVersion) bool {
	return next.Tenant == "" && other.Tenant != "" && other.Active && slices.ContainsFunc(next.Keys, func(key string) bool { return slices.Contains(other.Keys, key) })
}

// sameVersion refuses other bytes under the number of a version that is there.
func sameVersion(versions []recovery.ModuleVersion, next recovery.ModuleVersion) error {
	for _, v := range versions {
		if v.Tenant == next.Tenant && v.Library == next.Library && v.Version == next.Version && v.Digest != next.Digest {
			return &Refusal{
				Code: http.StatusConflict, Message: nameOf(v) + " is there already, with other bytes", Hint: "a version never changes: raise version in task.yaml",
				Err: recovery.ErrExists,
			}
		}
	}
	return nil
}

// clashFor tells a tenant no more than that the key is taken, unless both modules
// are his own: whose else it is is not his business.
func clashFor(v view, err error) error {
	e, ok := errors.AsType[*keyClash](err)
	if v.all || !ok || e.your.Tenant == e.mine.Tenant {
		return err
	}
	return refuse(http.StatusConflict, "give the task another key in task.yaml", "task %s of %s is somebody else's already", e.key, nameOf(e.mine))
}

// roomFor bounds what a tenant keeps.
func (a *API) roomFor(versions []recovery.ModuleVersion, next recovery.ModuleVersion) error {
	if next.Tenant == "" {
		return nil
	}
	n := 0
	for _, v := range versions {
		if v.Tenant == next.Tenant && v.Digest == next.Digest {
			return nil
		}
		if v.Tenant == next.Tenant {
			n++
		}
	}
	if n < a.cfg.MaxVersions {
		return nil
	}
	return &Refusal{
		Code: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the project has %d versions of modules, which is all it may have", n),
		Hint: "remove versions that are not needed any more", Err: recovery.ErrQuota,
	}
}
