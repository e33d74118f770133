package flow

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wasakari/wasakari/recovery"
)

// CheckOptions says what a flow is checked against. The zero value is usable.
type CheckOptions struct {
	// Inputs are those that the run is given. Names that the kind of flow does
	// not seed are left aside. Defaults to nil: all that the kind seeds.
	Inputs map[string]json.RawMessage
	// Granted reports whether the task was granted something that it asks for
	// (recovery.Task.Asks). Defaults to all but provides:<name>.
	Granted func(task recovery.Task, name string) bool
	// GrantHint says what to write so that the task is granted what is missing.
	// Defaults to advice in general.
	GrantHint func(task recovery.Task, missing []string) string
	// Nearest suggests the known name that the operator may have meant. Defaults
	// to no suggestions.
	Nearest func(name string, known []string) (string, bool)
	// Absent says why there is no task of a key, and what to do, when more is
	// known than that. Defaults to nothing more.
	Absent func(key string) (reason, hint string)
	// Options checks that the options of a task are set and of their types. It
	// is called once for each task that has any. Defaults to no check.
	Options func(specs []recovery.OptionSpec) error
}

// seed is the name that the reserved-host flow gives to main and post by
// itself.
const seed = "reserved_host"

// Check makes a plan of f, or reports every mistake in it: joined errors, each
// a *recovery.ConfigError at the place where the operator wrote the task.
func Check(f recovery.Flow, c Catalog, o CheckOptions) (*Plan, error) {
	k := checker{flow: f, catalog: c, o: o}
	k.resolve()
	k.tenants()
	k.names()
	k.grants()
	k.wiring()
	if len(k.mistakes) > 0 {
		slices.SortStableFunc(k.mistakes, func(a, b mistake) int { return order(a.at, b.at) })
		errs := make([]error, len(k.mistakes))
		for i, m := range k.mistakes {
			errs[i] = m.err
		}
		return nil, errors.Join(errs...)
	}
	return &Plan{flow: f, steps: k.steps}, nil
}

type checker struct {
	flow    recovery.Flow
	catalog Catalog
	o       CheckOptions
	steps   []Step // those whose key is known
	guessed []Step // places with an unknown key, with the task that was probably meant

	mistakes []mistake
	said     map[string]bool
}

// mistake is an error and the place at which it is told.
type mistake struct {
	at  Step
	err error
}

// report adds a mistake at a place.
func (k *checker) report(s Step, hint, format string, args ...any) {
	k.add(s, &recovery.ConfigError{
		Pos:    s.Pos,
		Reason: fmt.Sprintf("flow %s: %s: ", k.flow.Kind, s.Phase) + fmt.Sprintf(format, args...),
		Hint:   hint,
	})
}

// add says the same text once.
func (k *checker) add(s Step, err error) {
	if k.said == nil {
		k.said = make(map[string]bool)
	}
	if !k.said[err.Error()] {
		k.said[err.Error()] = true
		k.mistakes = append(k.mistakes, mistake{s, err})
	}
}

func (k *checker) nearest(name string, known []string) (string, bool) {
	if k.o.Nearest == nil || len(known) == 0 {
		return "", false
	}
	return k.o.Nearest(name, known)
}

// resolve finds the task of every place.
func (k *checker) resolve() {
	for _, phase := range recovery.Phases() {
		for i, ref := range k.flow.Tasks(phase) {
			s := Step{TaskRef: ref, Phase: phase, Index: i}
			if t, ok := k.catalog.Task(ref.Key); ok {
				s.Task = t
				k.steps = append(k.steps, s)
				continue
			}
			if k.o.Absent != nil {
				if reason, hint := k.o.Absent(ref.Key); reason != "" {
					k.report(s, hint, "%s", reason)
					continue
				}
			}
			hint := fmt.Sprintf("put %s.wasm into a task directory, or mend the name", ref.Key)
			if near, ok := k.nearest(ref.Key, k.catalog.Keys()); ok {
				hint = fmt.Sprintf("did you mean %q?", near)
				if t, ok := k.catalog.Task(near); ok {
					guess := s
					guess.Task = t
					k.guessed = append(k.guessed, guess)
				}
			}
			k.report(s, hint, "unknown task %q", ref.Key)
		}
	}
}

// tenants refuses tasks of tenants where hosts are recovered: those are the
// operator's, and so are most of the servers on them.
func (k *checker) tenants() {
	if k.flow.Kind == recovery.InstanceFailure {
		return
	}
	for _, s := range k.steps {
		if s.Task.Tenant != "" {
			k.report(s, "a tenant's task may stand in flow "+string(recovery.InstanceFailure)+" only: remove it here",
				"task %q is of tenant %s, and hosts are not for tenants", s.Key, s.Task.Tenant)
		}
	}
}

// names checks what the tasks provide: no input, one provider.
func (k *checker) names() {
	inputs := k.flow.Kind.InputNames(recovery.Main)
	first := make(map[string]Step)
	twice := make(map[string]bool) // keys already reported as standing twice
	for _, s := range k.steps {
		for _, name := range s.Task.Provides {
			if slices.Contains(inputs, name) {
				k.report(s, "inputs are read-only: let the task provide another name",
					"task %q provides %s, which is an input of the flow", s.Key, name)
				continue
			}
			before, ok := first[name]
			switch {
			case !ok:
				first[name] = s
			case before.Key == s.Key:
				if !twice[s.Key] {
					twice[s.Key] = true
					k.report(s, "a name has one provider per flow: remove one of the two",
						"task %q stands in the flow already (%s) and provides %s", s.Key, place(before), strings.Join(s.Task.Provides, ", "))
				}
			default:
				k.report(s, "a name has one provider per flow: remove one of the two tasks",
					"task %q provides %s, which task %q provides already (%s)", s.Key, name, before.Key, place(before))
			}
		}
	}
}

// place says where in the flow a step stands, with its position when there is
// one.
func place(s Step) string {
	if s.Pos.File == "" {
		return string(s.Phase)
	}
	return fmt.Sprintf("%s, %s", s.Phase, s.Pos)
}

func (k *checker) granted(t recovery.Task, name string) bool {
	if k.o.Granted == nil {
		return !strings.HasPrefix(name, "provides:")
	}
	return k.o.Granted(t, name)
}

// grants checks, once for each task, its ops and options. Of a tenant's task
// that must go, tenants has told.
func (k *checker) grants() {
	seen := make(map[string]bool)
	for _, s := range k.steps {
		if seen[s.Key] || s.Task.Tenant != "" && k.flow.Kind != recovery.InstanceFailure {
			continue
		}
		seen[s.Key] = true
		k.missingGrants(s)
		// What it may not read is not read.
		specs := slices.DeleteFunc(slices.Clone(s.Task.Options), func(o recovery.OptionSpec) bool {
			return !o.Shared && !k.granted(s.Task, "options:"+o.Group)
		})
		if k.o.Options != nil && len(specs) > 0 {
			k.options(s, k.o.Options(specs))
		}
	}
}

// missingGrants tells what the task asks for and was not granted. Of inputs
// that it would provide, names has told.
func (k *checker) missingGrants(s Step) {
	inputs := k.flow.Kind.InputNames(recovery.Main)
	var missing []string
	for _, ask := range s.Task.Asks() {
		if name, provides := strings.CutPrefix(ask, "provides:"); provides && slices.Contains(inputs, name) {
			continue
		}
		if !k.granted(s.Task, ask) {
			missing = append(missing, ask)
		}
	}
	if len(missing) == 0 {
		return
	}
	what := strings.Join(missing, ", ")
	hint := fmt.Sprintf("add %s to the line of %s in [grants], or remove the task", what, s.Task.Library)
	if k.o.GrantHint != nil {
		hint = k.o.GrantHint(s.Task, missing)
	}
	k.report(s, hint, "task %q asks for %s, which library %s is not granted", s.Key, what, s.Task.Library)
}

// options passes on mistakes that have a place of their own, and puts the
// others at the task.
func (k *checker) options(s Step, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			k.options(s, e)
		}
		return
	}
	ce, ok := errors.AsType[*recovery.ConfigError](err)
	switch {
	case ok && ce.Pos.File != "":
		k.add(s, ce)
	case ok:
		k.report(s, ce.Hint, "task %q: %s", s.Key, ce.Reason)
	default:
		k.report(s, "", "task %q: %v", s.Key, err)
	}
}

// wiring checks that every required name is an input or provided by an earlier
// task. An optional name needs nobody.
func (k *checker) wiring() {
	provided := make(map[string]bool)
	guessed := k.guessed
	for _, s := range k.steps {
		// What a misspelt task would provide is not reported as missing too.
		for len(guessed) > 0 && order(guessed[0], s) < 0 {
			for _, name := range guessed[0].Task.Provides {
				provided[name] = true
			}
			guessed = guessed[1:]
		}
		for _, name := range s.Task.Requires {
			if !provided[name] && !k.seeded(s.Phase, name) {
				reason, hint := k.missing(s, name, provided)
				k.report(s, hint, "task %q requires %s, %s", s.Key, name, reason)
			}
		}
		for _, name := range s.Task.Provides {
			provided[name] = true
		}
	}
}

// order compares the places of two steps.
func order(a, b Step) int {
	phases := recovery.Phases()
	return cmp.Or(cmp.Compare(slices.Index(phases, a.Phase), slices.Index(phases, b.Phase)), cmp.Compare(a.Index, b.Index))
}

// seeded reports whether the flow itself sets the name in the phase.
func (k *checker) seeded(phase recovery.Phase, name string) bool {
	if !slices.Contains(k.flow.Kind.InputNames(phase), name) {
		return false
	}
	if k.o.Inputs == nil || name == seed {
		return true
	}
	_, given := k.o.Inputs[name]
	return given
}

// missing says why a required name is not there, and what to do.
func (k *checker) missing(s Step, name string, provided map[string]bool) (reason, hint string) {
	if slices.Contains(k.flow.Kind.InputNames(s.Phase), name) {
		return "an input of the flow that was not given", fmt.Sprintf("give the run the input %s", name)
	}
	if slices.Contains(k.flow.Kind.InputNames(recovery.Main), name) {
		return fmt.Sprintf("which is not set in %s", s.Phase), fmt.Sprintf("%s is set in main and post only: move the task there", name)
	}
	const nobody = "which no input and no earlier task provides"
	for _, later := range k.steps {
		if order(s, later) >= 0 || !slices.Contains(later.Task.Provides, name) {
			continue
		}
		if later.Key == s.Key {
			break
		}
		return nobody, fmt.Sprintf("task %q provides it, but later (%s): put it before", later.Key, place(later))
	}
	if slices.Contains(s.Task.Provides, name) {
		return nobody, "only the task itself provides it: mend its manifest"
	}
	for _, key := range slices.Sorted(slices.Values(k.catalog.Keys())) {
		if t, ok := k.catalog.Task(key); ok && slices.Contains(t.Provides, name) {
			return nobody, fmt.Sprintf("task %q provides it: put it before", key)
		}
	}
	for _, kind := range recovery.FlowKinds() {
		if slices.Contains(kind.InputNames(recovery.Main), name) {
			return nobody, fmt.Sprintf("it is an input of flow %s", kind)
		}
	}
	known := k.flow.Kind.InputNames(s.Phase)
	for name := range provided {
		known = append(known, name)
	}
	slices.Sort(known)
	if near, ok := k.nearest(name, known); ok {
		return nobody, fmt.Sprintf("did the task's manifest mean %q?", near)
	}
	return nobody, "no known task provides it"
}
