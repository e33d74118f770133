package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// uploadName is what a module that is being uploaded is called in messages.
const uploadName = "the module"

// admitUpload decides whether a module that is uploaded for a tenant, or for the
// operator, can be taken beside what is loaded, and tells what it says about
// itself. release gets the module that a admitted. Refusals are
// *wasakariv1.Refusal. Whether another upload has one of its keys is for the API.
func (l *loaded) admitUpload(ctx context.Context, a admitter, release func(*runtime.Module), tenant string, wasm []byte) (recovery.ModuleVersion, error) {
	var none recovery.ModuleVersion
	if most := l.cfg.Wasakari.ModuleMiB << 20; len(wasm) > most {
		return none, &wasakariv1.Refusal{
			Code: http.StatusRequestEntityTooLarge, Err: recovery.ErrTooLarge,
			Message: fmt.Sprintf("the module has %s, at most %s are taken", size(len(wasm)), size(most)),
			Hint:    wasakariv1.HintTooLarge,
		}
	}
	if wasm == nil {
		wasm = []byte{} // nil stands for a file
	}
	m, err := admitFile(ctx, a, l.cfg, moduleFile{path: uploadName, tenant: tenant, wasm: wasm}, nil)
	if err != nil {
		return none, refusedUpload(ctx, err)
	}
	defer release(m.Module)
	manifest := m.Manifest()
	if err := l.taken(manifest.Library, tenant); err != nil {
		return none, err
	}
	v := recovery.ModuleVersion{
		Digest: m.Digest(), Library: manifest.Library, Tenant: tenant, Version: manifest.Version, Size: int64(len(wasm)),
		Engine: engineOf(m.Info().Engine),
	}
	var errs []error
	for _, mt := range manifest.Tasks {
		v.Keys = append(v.Keys, mt.Key)
		task := taskOf(manifest, mt, uploadName, false)
		task.Tenant, task.Digest = tenant, v.Digest
		if err := l.keyTaken(task); err != nil {
			return none, err
		}
		errs = append(errs, ownOptions(task), notForTenants(task))
	}
	if err := errors.Join(errs...); err != nil {
		return none, refusedUpload(ctx, err)
	}
	return v, nil
}

// refusedUpload says why a module is not admitted.
func refusedUpload(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if unread := unreadEngine([]error{err}); unread != nil {
		return unread
	}
	r := &wasakariv1.Refusal{Code: http.StatusUnprocessableEntity, Err: recovery.ErrInvalid}
	if a, ok := errors.AsType[*runtime.AdmissionError](err); ok {
		r.Message, r.Hint = a.Reason, a.Hint
		return r
	}
	r.Message = strings.ReplaceAll(strings.TrimPrefix(err.Error(), uploadName+": "), "\n"+uploadName+": ", "\n")
	return r
}

// taken refuses a library that is somebody else's.
func (l *loaded) taken(library, tenant string) error {
	if library == l.catalog.standard {
		return &wasakariv1.Refusal{
			Code: http.StatusConflict, Err: recovery.ErrExists,
			Message: fmt.Sprintf("library %s is that of the standard tasks, which are built in", library), Hint: "give yours another name in task.yaml",
		}
	}
	_, registered := l.cfg.Registration(library, tenant)
	_, operators := l.cfg.Registration(library, "")
	_, there := l.catalog.libraries[library]
	if tenant == "" || registered || !operators && !there {
		return nil
	}
	return &wasakariv1.Refusal{
		Code: http.StatusConflict, Err: recovery.ErrExists, Message: fmt.Sprintf("library %s is the operator's", library),
		Hint: fmt.Sprintf("give yours another name in task.yaml, or have the operator register %s@%s in [libraries]", library, tenant),
	}
}

// keyTaken refuses a key of a standard task, and one of a module in a task folder:
// what lies there is not replaced by an upload.
func (l *loaded) keyTaken(task recovery.Task) error {
	other, ok := l.catalog.tasks[task.Key]
	if !ok || !other.Standard && (isUploaded(other) || other.Digest == task.Digest && other.Tenant == task.Tenant || task.Tenant == "" && other.Tenant != "") {
		return nil
	}
	r := &wasakariv1.Refusal{Code: http.StatusConflict, Err: recovery.ErrExists, Hint: "give the task another key in task.yaml"}
	switch {
	case other.Standard:
		r.Message = fmt.Sprintf("task %s is a standard task, which is built in", task.Key)
	case task.Tenant != "" && other.Tenant != task.Tenant: // where the operator has it is not the tenant's business
		r.Message = fmt.Sprintf("task %s is somebody else's already", task.Key)
	default:
		r.Message = fmt.Sprintf("task %s of library %s is in %s too", task.Key, task.Library, other.Source)
		r.Hint = "remove that file, or give the task another key in task.yaml"
	}
	return r
}

// flowDocuments tells of every flow: those for all, those of segments, and those of
// projects.
func (l *loaded) flowDocuments() []wasakariv1.Flow {
	var docs []wasakariv1.Flow
	for _, kind := range recovery.FlowKinds() {
		f, err := l.cfg.Flow(kind)
		docs = append(docs, l.flowDocument(f, err, kind))
	}
	for _, segment := range l.cfg.Segments() {
		for _, kind := range recovery.FlowKinds() {
			f, own, err := l.cfg.SegmentFlow(segment, kind)
			if own || err != nil {
				doc := l.flowDocument(f, err, kind)
				doc.Segment = segment
				docs = append(docs, doc)
			}
		}
	}
	for _, project := range l.cfg.FlowTenants() {
		if f, ok := l.cfg.TenantFlow(project); ok {
			doc := l.flowDocument(f, nil, f.Kind)
			doc.Project = project
			docs = append(docs, doc)
		}
	}
	return docs
}

// flowDocument tells of one flow, or why there is none.
func (l *loaded) flowDocument(f recovery.Flow, err error, kind recovery.FlowKind) wasakariv1.Flow {
	doc := wasakariv1.Flow{Kind: kind, At: f.Pos.String(), Off: !l.inUse(kind)}
	if err == nil {
		_, err = l.checkFlow(f, nil)
	}
	if err != nil {
		doc.Problems = strings.Split(err.Error(), "\n")
	}
	for _, phase := range recovery.Phases() {
		for _, ref := range f.Tasks(phase) {
			doc.Tasks = append(doc.Tasks, l.flowTask(phase, ref))
		}
	}
	return doc
}

func (l *loaded) flowTask(phase recovery.Phase, ref recovery.TaskRef) wasakariv1.FlowTask {
	t := wasakariv1.FlowTask{Phase: phase, Key: ref.Key, At: ref.Pos.String()}
	task, ok := l.catalog.Task(ref.Key)
	if !ok {
		return t
	}
	t.Standard, t.Library, t.Tenant, t.Version, t.Digest = task.Standard, task.Library, task.Tenant, task.Version, task.Digest
	t.Source, t.Summary, t.Requires, t.Provides = task.Source, task.Summary, task.Requires, task.Provides
	if !task.Standard {
		granted := grantedTo(l.cfg, task)
		for _, what := range task.Asks() {
			if granted(what) {
				t.Granted = append(t.Granted, what)
			} else {
				t.Missing = append(t.Missing, what)
			}
		}
	}
	return t
}
