package wasakariv1

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// Uploads that may be on their way at a time; each holds a module in memory.
const (
	operatorUploads = 2
	tenantUploads   = 2 // of all tenants together, one of each
)

// admitTime is what admission takes at most, as far as the answer may wait for it.
const admitTime = 3 * time.Minute

// uploads counts those on their way. Tenants never keep the operator waiting.
type uploads struct {
	mu       sync.Mutex
	operator int
	tenants  map[string]bool
}

// begin takes a place; end gives it back.
func (u *uploads) begin(tenant string) (end func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if tenant == "" {
		if u.operator >= operatorUploads {
			return nil, false
		}
		u.operator++
		return func() { u.mu.Lock(); u.operator--; u.mu.Unlock() }, true
	}
	if u.tenants[tenant] || len(u.tenants) >= tenantUploads {
		return nil, false
	}
	if u.tenants == nil {
		u.tenants = map[string]bool{}
	}
	u.tenants[tenant] = true
	return func() { u.mu.Lock(); delete(u.tenants, tenant); u.mu.Unlock() }, true
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
	end, ok := a.uploads.begin(v.tenant)
	if !ok {
		return refuse(http.StatusServiceUnavailable, "try again when they are done", "too many modules are being uploaded")
	}
	defer end()
	// Longer than other answers may take, and yet not for ever.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.cfg.UploadTime + admitTime + wait))
	wasm, err := a.receive(w, r, want)
	if err != nil {
		return err
	}

	ctx := r.Context()
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
	end() // others need not wait for the nodes
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

func (a *API) tooLarge() error {
	return &Refusal{
		Code:    http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("the module is larger than the %d bytes that are taken", a.cfg.MaxModule),
		Hint:    "strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug), or have the operator raise [wasakari] module_mib",
		Err:     recovery.ErrTooLarge,
	}
}

// receive reads the body and compares its digest with what was announced.
func (a *API) receive(w http.ResponseWriter, r *http.Request, want [][]byte) ([]byte, error) {
	// A server that cannot do it bounds its requests as a whole.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.cfg.UploadTime))
	hash := sha256.New()
	body := http.MaxBytesReader(w, r.Body, a.cfg.MaxModule)
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, 1<<20))) // what is announced need not come
	}
	if _, err := io.Copy(io.MultiWriter(&buf, hash), body); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, a.tooLarge()
		}
		return nil, bodyProblem(err, a.cfg.MaxModule)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if got := hash.Sum(nil); slices.ContainsFunc(want, func(w []byte) bool { return !bytes.Equal(w, got) }) {
		return nil, refuse(http.StatusBadRequest, "it was damaged on its way, or the header is of another file: send it again",
			"the body's SHA-256 is %s, not what the header says", hex.EncodeToString(got))
	}
	return buf.Bytes(), nil
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
