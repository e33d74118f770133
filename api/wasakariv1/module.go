package wasakariv1

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// Module is one module: all versions of one library of one tenant.
type Module struct {
	Library string                  `json:"library"`
	Tenant  string                  `json:"tenant,omitempty" help:"Id of the project that it is of; none: the operator."`
	Keys    []string                `json:"keys" help:"Entry-point keys of the active version."`
	Pinned  bool                    `json:"pinned" help:"Whether the active version stays when another one is uploaded."`
	Active  *recovery.ModuleVersion `json:"active" help:"The version that new runs take; none: null."`
	Count   int                     `json:"count" help:"How many versions there are."`
}

// ModuleList answers a list of modules.
type ModuleList struct {
	Modules []Module `json:"modules"`
}

// ModuleDocument answers a request for one module.
type ModuleDocument struct {
	Module Module `json:"module"`
}

// VersionList answers a list of versions, newest first.
type VersionList struct {
	Versions []recovery.ModuleVersion `json:"versions"`
}

// ModuleAnswer answers a change of a module.
type ModuleAnswer struct {
	Version recovery.ModuleVersion `json:"version"`
	// Waiting lists the nodes that have not compiled it yet.
	Waiting []string `json:"waiting" help:"Nodes that have not compiled the version yet."`
	Note    string   `json:"note,omitempty" help:"What to know about it, such as that another version is pinned."`
}

// PinRequest asks for a version.
type PinRequest struct {
	Digest string `json:"digest" help:"SHA-256 of the version in hex, with or without sha256: before it." min:"64" max:"71"`
}

// group sorts versions into modules, by tenant and library, in the order of
// their names. Each has its versions newest first.
type group struct {
	Module
	versions []recovery.ModuleVersion
}

func groups(versions []recovery.ModuleVersion) []group {
	at := map[[2]string]int{}
	var out []group
	for _, v := range slices.Backward(versions) {
		id := [2]string{v.Tenant, v.Library}
		i, ok := at[id]
		if !ok {
			i = len(out)
			at[id] = i
			out = append(out, group{Module: Module{Library: v.Library, Tenant: v.Tenant, Keys: []string{}}})
		}
		g := &out[i]
		g.versions = append(g.versions, v)
		g.Count++
		if v.Active {
			g.Active, g.Keys = &v, v.Keys
			g.Pinned = v.Pinned
		}
	}
	slices.SortFunc(out, func(a, b group) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Library, b.Library))
	})
	return out
}

// has reports whether the module has a key, in the active version or in any.
func (g group) has(key string, active bool) bool {
	return slices.ContainsFunc(g.versions, func(v recovery.ModuleVersion) bool {
		return (v.Active || !active) && slices.Contains(v.Keys, key)
	})
}

// seen lists the modules in a view, and of one tenant only when the query says
// so.
func (a *API) seen(r *http.Request, v view) ([]group, error) {
	p, err := parameters(r, "tenant")
	if err != nil {
		return nil, err
	}
	versions, err := a.cfg.Modules.Modules(r.Context())
	if err != nil {
		return nil, err
	}
	tenant, one := p["tenant"]
	return groups(slices.DeleteFunc(slices.Clone(versions), func(m recovery.ModuleVersion) bool {
		return !v.owns(m.Tenant) || one && m.Tenant != tenant
	})), nil
}

// module finds the module of a key: one whose active version has it before one
// that had it, and the operator's before a tenant's.
func (a *API) module(r *http.Request, v view) (group, error) {
	all, err := a.seen(r, v)
	if err != nil {
		return group{}, err
	}
	key := r.PathValue("key")
	for _, active := range []bool{true, false} {
		var found []group
		for _, g := range all {
			if g.has(key, active) {
				found = append(found, g)
			}
		}
		switch {
		case len(found) == 1, len(found) > 1 && found[0].Tenant == "":
			return found[0], nil
		case len(found) > 1:
			var tenants []string
			for _, g := range found {
				tenants = append(tenants, g.Tenant)
			}
			return group{}, refuse(http.StatusConflict, "name one with ?tenant=PROJECT", "task %s is in modules of tenants %s", cut(key, 255), strings.Join(tenants, ", "))
		}
	}
	return group{}, refuse(http.StatusNotFound, "list what there is with GET "+Prefix+"/modules", "no uploaded module has a task %s", cut(key, 255))
}

// version finds one version of a module.
func (g group) version(digest string) (recovery.ModuleVersion, error) {
	digest, ok := hexDigest(digest)
	if !ok {
		return recovery.ModuleVersion{}, refuse(http.StatusBadRequest, "want the SHA-256 of a version, 64 hex digits", "%q is no digest", cut(digest, 80))
	}
	for _, v := range g.versions {
		if v.Digest == digest {
			return v, nil
		}
	}
	return recovery.ModuleVersion{}, refuse(http.StatusNotFound, "list its versions", "library %s has no version with digest %s", g.Library, digest)
}

// hexDigest reads a digest, with or without sha256: before it.
func hexDigest(s string) (string, bool) {
	s = strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return s, false
	}
	return s, true
}

func (a *API) listModules(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	all, err := a.seen(r, v)
	if err != nil {
		return err
	}
	doc := ModuleList{Modules: []Module{}}
	for _, g := range all {
		doc.Modules = append(doc.Modules, g.Module)
	}
	return a.answer(w, r, http.StatusOK, doc)
}

func (a *API) showModule(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, ModuleDocument{g.Module})
}

func (a *API) listVersions(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, VersionList{g.versions})
}

func (a *API) getVersion(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	ver, err := g.version(r.PathValue("digest"))
	if err != nil {
		return err
	}
	h := w.Header()
	tag := `"` + ver.Digest + `"`
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache")
	h.Add("Vary", "X-Auth-Token")
	if has(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	body, err := a.cfg.Modules.Module(r.Context(), ver.Digest)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read only
	h.Set("Content-Type", typeWasm)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", ver.Keys[0]+".wasm"))
	h.Set("Content-Length", strconv.FormatInt(ver.Size, 10))
	h.Set("X-Content-SHA256", ver.Digest)
	if r.Method == http.MethodHead {
		return nil
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.cfg.UploadTime))
	if _, err := io.Copy(w, io.LimitReader(body, ver.Size)); err != nil {
		panic(http.ErrAbortHandler) // too late for an answer: the client must see that it is not whole
	}
	return nil
}

func (a *API) pinModule(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	var req PinRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	ver, err := g.version(req.Digest)
	if err != nil {
		return err
	}
	wire.Of(r.Context()).Target = auditName(ver)
	versions, err := a.cfg.Modules.Modules(r.Context())
	if err != nil {
		return err
	}
	if err := clash(versions, ver); err != nil {
		return clashFor(v, err)
	}
	revision, err := a.cfg.Modules.PinModule(r.Context(), ver.Tenant, ver.Library, ver.Digest)
	if err != nil {
		return err
	}
	ver.Active, ver.Pinned = true, true
	return a.activated(w, r, http.StatusOK, ModuleAnswer{Version: ver}, revision, a.cfg.CompileWait)
}

func (a *API) unpinModule(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	if _, err := a.cfg.Modules.PinModule(r.Context(), g.Tenant, g.Library, ""); err != nil {
		return err
	}
	g.Pinned = false
	if g.Active != nil {
		g.Active.Pinned = false
	}
	return a.answer(w, r, http.StatusOK, ModuleDocument{g.Module})
}

// activated answers a change after which another version is active: once every
// node has compiled it, or when the wait is over.
func (a *API) activated(w http.ResponseWriter, r *http.Request, code int, doc ModuleAnswer, revision int64, wait time.Duration) error {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + writeTime))
	doc.Waiting = a.awaitNodes(r.Context(), revision, wait)
	if len(doc.Waiting) > 0 {
		code = http.StatusAccepted
	}
	return a.answer(w, r, code, doc)
}

// awaitNodes waits until every node that takes runs has the modules of a
// revision, and gives the names of those that have not.
func (a *API) awaitNodes(ctx context.Context, revision int64, wait time.Duration) []string {
	const pause = 100 * time.Millisecond
	end := time.NewTimer(wait)
	defer end.Stop()
	look := time.NewTicker(pause)
	defer look.Stop()
	waiting := []string{}
	for {
		// A store that does not answer now will later; the module is in it.
		if nodes, err := a.cfg.Store.Nodes(ctx); err == nil {
			waiting = []string{}
			for _, n := range nodes {
				if n.Modules < revision && !n.Draining {
					waiting = append(waiting, n.Name)
				}
			}
			if len(waiting) == 0 {
				return waiting
			}
		} else if len(waiting) == 0 {
			waiting = []string{"unknown"}
		}
		select {
		case <-end.C:
			return waiting
		case <-ctx.Done():
			return waiting
		case <-a.closed:
			return waiting
		case <-look.C:
		}
	}
}

func (a *API) removeVersion(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	ver, err := g.version(r.PathValue("digest"))
	if err != nil {
		return err
	}
	wire.Of(r.Context()).Target = auditName(ver)
	if ver.Active {
		return refuse(http.StatusConflict, "make another version the active one first (pin), or remove the whole module",
			"version %s of library %s (sha256:%s) is the active one", ver.Version, ver.Library, ver.Digest)
	}
	return a.remove(w, r, g, v, ver.Digest)
}

func (a *API) removeModule(w http.ResponseWriter, r *http.Request, _ Caller, v view) error {
	g, err := a.module(r, v)
	if err != nil {
		return err
	}
	flows, err := a.cfg.Flows.Flows(r.Context())
	if err != nil {
		return err
	}
	for _, f := range flows {
		for _, t := range f.Tasks {
			if t.Library != g.Library || t.Tenant != g.Tenant || t.Standard {
				continue
			}
			// Where the operator wrote it is not for tenants.
			if !v.all {
				return refuse(http.StatusConflict, "ask the operator to take it out first", "task %s of library %s stands in a flow", t.Key, g.Library)
			}
			return refuse(http.StatusConflict, "take it out of the flow first", "task %s of library %s stands in flow %s (%s)", t.Key, g.Library, f.name(), t.At)
		}
	}
	return a.remove(w, r, g, v, "")
}

// remove removes a version, or all of them with digest "".
func (a *API) remove(w http.ResponseWriter, r *http.Request, g group, v view, digest string) error {
	inUse := &Refusal{
		Code: http.StatusConflict, Message: fmt.Sprintf("library %s is in use", g.Library), Hint: "try again when its runs have ended", Err: recovery.ErrInUse,
	}
	run, used, err := a.pinning(r.Context(), g, digest)
	if err != nil {
		return err
	}
	if used && v.all {
		inUse.Message = fmt.Sprintf("run %s uses library %s", run, g.Library)
	}
	if used {
		return inUse
	}
	_, err = a.cfg.Modules.RemoveModule(r.Context(), g.Tenant, g.Library, digest)
	if errors.Is(err, recovery.ErrInUse) { // since just now
		return inUse
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// pinning finds a run that has not ended and uses a version, or with digest "" any
// of the module.
func (a *API) pinning(ctx context.Context, g group, digest string) (run string, used bool, err error) {
	runs, err := a.cfg.Store.Runs(ctx)
	if err != nil {
		return "", false, err
	}
	for run := range runs {
		if run.Finished {
			continue
		}
		// A list need not tell which modules a run has.
		whole, _, err := a.cfg.Store.RunDetail(ctx, run.ID)
		if errors.Is(err, recovery.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", false, err
		}
		for _, pinned := range whole.Modules {
			if pinned == digest || digest == "" && slices.ContainsFunc(g.versions, func(v recovery.ModuleVersion) bool { return v.Digest == pinned }) {
				return run.ID, true, nil
			}
		}
	}
	return "", false, nil
}
