package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/hostfuncs"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// maxModuleFiles bounds a task folder.
const maxModuleFiles = 1000

// catalog holds the admitted modules by the keys of their tasks.
type catalog struct {
	tasks   map[string]recovery.Task
	modules map[string]*runtime.Module
	// standard is the library of the standard tasks.
	standard, standardDigest string
	// libraries are those of the operator's own modules, each with one of them.
	libraries map[string]string
	// aside tells of tasks that stood back for one that the operator pinned.
	aside []string
	// refused says what is wrong with the modules of tenants. Those do not keep
	// the operator's flows from running: their tasks are not there.
	refused []error
	// claims are the tasks of tenants, by their keys, until settle.
	claims map[string][]claim
	// contested are keys that several modules of tenants have: none has it.
	contested map[string]contest
	// clashes are keys that several modules of the operator have. Whoever goes on
	// with such a catalog has none of them.
	clashes map[string]contest
	// unnamed are tasks of tenants that were left out, as no flow at hand names
	// them. They only say which options are secrets.
	unnamed []recovery.Task
	// partly is true when modules of tenants were left out, or not looked at.
	partly bool
}

func newCatalog() *catalog {
	return &catalog{
		tasks: map[string]recovery.Task{}, modules: map[string]*runtime.Module{},
		libraries: map[string]string{}, claims: map[string][]claim{}, contested: map[string]contest{},
		clashes: map[string]contest{},
	}
}

// Task finds a task by its entry-point key.
func (c *catalog) Task(key string) (recovery.Task, bool) {
	t, ok := c.tasks[key]
	return t, ok
}

// Keys lists the keys, sorted.
func (c *catalog) Keys() []string { return slices.Sorted(maps.Keys(c.tasks)) }

// taskFolder is a folder with modules; tenant is the project that they are of,
// empty for the operator's own.
type taskFolder struct{ dir, tenant string }

// moduleFile is a module in a taskFolder, or one that came another way.
type moduleFile struct {
	path, tenant string
	// wasm is the module itself, when it was uploaded, kept, or is from a registry;
	// path then only says what it is. Nil: it is in the file.
	wasm []byte
	// admitted is a module that was admitted under that path before; nil: it is to
	// be.
	admitted *shelved
}

// candidate is a module on its way into the catalog.
type candidate struct {
	*runtime.Module
	tenant   string
	standard bool
	pinned   bool // by its digest, in [libraries]
	unnamed  []recovery.Task
}

// named are the keys of tenants' tasks that flows name; nil stands for all.
type named map[string]bool

// read gives the module.
func (f moduleFile) read(most int64) ([]byte, error) {
	if f.wasm == nil {
		return readFile(f.path, most)
	}
	return f.wasm, f.small(len(f.wasm), most)
}

// small refuses a module that is not in a file and too large.
func (f moduleFile) small(size int, most int64) error {
	if int64(size) > most {
		return fmt.Errorf("%s: %d bytes, more than the %d allowed: %w", f.path, size, most, recovery.ErrTooLarge)
	}
	return nil
}

// namedIn lists the keys that may be those of tenants' tasks in flows. The keys
// of standard tasks are nobody else's.
func namedIn(flows []recovery.Flow) (named, error) {
	m, err := abi.ReadManifest(standardtasks.Module())
	if err != nil {
		return nil, err // a test would not let it pass
	}
	keys := named{}
	for _, f := range flows {
		if !tenantsIn(f.Kind) {
			continue
		}
		for _, phase := range recovery.Phases() {
			for _, ref := range f.Tasks(phase) {
				if m.Task(ref.Key) == nil {
					keys[ref.Key] = true
				}
			}
		}
	}
	return keys, nil
}

// leavesOut reports whether a tenant's module is none that flows name. One
// without a manifest that can be read counts by the name of its file.
func (n named) leavesOut(f moduleFile, m *abi.Manifest) bool {
	if n == nil || f.tenant == "" || n[keyOf(f)] {
		return false
	}
	return m == nil || !slices.ContainsFunc(m.Tasks, func(t abi.ManifestTask) bool { return n[t.Key] })
}

// keyOf is the key that a module's file is named after.
func keyOf(f moduleFile) string { return strings.TrimSuffix(filepath.Base(f.path), ".wasm") }

// admitter admits modules: a runtime, or a shelf of one.
type admitter interface {
	Admit(ctx context.Context, source string, wasm []byte) (*runtime.Module, error)
}

// loadCatalog admits the standard tasks and every module of the folders, of
// those of tenants the ones that are named: nobody's flows wait for the others
// to be compiled. All mistakes are told at once; those of tenants are in the
// catalog.
func loadCatalog(ctx context.Context, rt admitter, cfg *config.Config, folders []taskFolder, uploaded []moduleFile, keys named) (*catalog, error) {
	ofTenants := func(f taskFolder) bool { return f.tenant != "" }
	partly := keys != nil && slices.ContainsFunc(folders, ofTenants)
	if keys != nil && len(keys) == 0 {
		folders = slices.DeleteFunc(slices.Clone(folders), ofTenants)
	}
	files, refused, err := moduleFiles(folders)
	if err != nil {
		return nil, err
	}
	files = append(files, uploaded...)
	modules := make([]candidate, len(files)+1)
	problems := make([]error, len(files)+1)
	var group errgroup.Group
	group.SetLimit(max(2, goMaxProcs()))
	group.Go(func() error {
		modules[0].standard = true
		modules[0].Module, problems[0] = rt.Admit(ctx, builtIn, standardtasks.Module())
		return nil
	})
	for i, file := range files {
		group.Go(func() error {
			modules[i+1], problems[i+1] = admitFile(ctx, rt, cfg, file, keys)
			return nil
		})
	}
	_ = group.Wait() // the problems are kept in order instead
	c := newCatalog()
	c.refused, c.partly = refused, partly
	var errs []error
	problem := func(tenant string, err error) {
		if tenant != "" && err != nil && ctx.Err() == nil {
			c.refused = append(c.refused, err)
			return
		}
		errs = append(errs, err)
	}
	for i, m := range modules {
		problem(m.tenant, problems[i])
		c.unnamed = append(c.unnamed, m.unnamed...)
	}
	modules = slices.DeleteFunc(modules, func(m candidate) bool { return m.Module == nil })
	// Tenants come last: who else has a key or a library is known then. A module
	// that is pinned comes before those that are not.
	slices.SortStableFunc(modules, func(a, b candidate) int {
		return cmp.Or(compareBool(b.standard, a.standard), compareBool(a.tenant != "", b.tenant != ""), compareBool(b.pinned, a.pinned))
	})
	for _, m := range modules {
		problem(m.tenant, c.add(cfg, m))
	}
	for key, ct := range c.clashes {
		c.drop(key)
		c.contested[key] = ct
	}
	c.settle(cfg)
	c.shareSecrets(cfg, problem)
	return c, errors.Join(errs...)
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// moduleFiles lists the .wasm files of the folders, sorted in each. Of a tenant
// who has too many it lists none, and says so in refused.
func moduleFiles(folders []taskFolder) (files []moduleFile, refused []error, err error) {
	var errs []error
	for _, f := range folders {
		entries, err := os.ReadDir(f.dir)
		if err != nil {
			from := "--task-dir and [wasakari] task_dir"
			if f.tenant != "" {
				from = "--tenant-task-dir"
			}
			errs = append(errs, fmt.Errorf("task folder %s: %w; check %s", f.dir, bare(err), from))
			continue
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".wasm") && !e.IsDir() {
				files = append(files, moduleFile{path: filepath.Join(f.dir, e.Name()), tenant: f.tenant})
			}
		}
	}
	count := map[string]int{}
	for _, f := range files {
		count[f.tenant]++
	}
	for _, tenant := range slices.Sorted(maps.Keys(count)) {
		switch n := count[tenant]; {
		case n <= maxModuleFiles:
		case tenant == "":
			errs = append(errs, fmt.Errorf("task folders hold %d modules, more than the %d allowed", n, maxModuleFiles))
		default:
			refused = append(refused, fmt.Errorf("task folders of tenant %s hold %d modules, more than the %d allowed: none is taken", tenant, n, maxModuleFiles))
			files = slices.DeleteFunc(files, func(f moduleFile) bool { return f.tenant == tenant })
		}
	}
	return files, refused, errors.Join(errs...)
}

// admitFile admits a module, or gives none of a tenant's that is not named.
func admitFile(ctx context.Context, rt admitter, cfg *config.Config, f moduleFile, keys named) (candidate, error) {
	c := candidate{tenant: f.tenant}
	if a := f.admitted; a != nil {
		return again(cfg, f, c)
	}
	wasm, err := f.read(int64(cfg.Wasakari.ModuleMiB) << 20)
	if err != nil && keys.leavesOut(f, nil) {
		return c, nil
	}
	if err != nil {
		return c, stripped(err)
	}
	// A stranger's module is not even compiled. What has no manifest that could
	// say whose it is, admission refuses.
	m, err := abi.ReadManifest(wasm)
	if keys.leavesOut(f, m) {
		c.unnamed = secretive(cfg, m, f, wasm)
		return c, nil
	}
	if err == nil {
		if c.pinned, err = identify(cfg, m.Library, f, wasm); err != nil {
			return c, err
		}
	}
	admitted, err := rt.Admit(ctx, f.path, wasm)
	if err != nil {
		return c, located(f.path, err)
	}
	if key := keyOf(f); f.wasm == nil && admitted.Manifest().Task(key) == nil {
		var others []string
		for _, t := range admitted.Manifest().Tasks {
			others = append(others, t.Key)
		}
		return c, fmt.Errorf("%s: its manifest has no task %q, but %s; name the file after one of them, or mend task.yaml",
			f.path, key, strings.Join(others, ", "))
	}
	c.Module = admitted
	return c, nil
}

// again takes a module that was admitted before, if the configuration still lets
// it.
func again(cfg *config.Config, f moduleFile, c candidate) (candidate, error) {
	err := f.small(f.admitted.size, int64(cfg.Wasakari.ModuleMiB)<<20)
	if err != nil {
		return c, stripped(err)
	}
	if c.pinned, err = identified(cfg, f.admitted.Manifest().Library, f, f.admitted.Digest(), f.admitted.signer); err != nil {
		return c, err
	}
	c.Module = f.admitted.Module
	return c, nil
}

// stripped adds to what says that a module is too large what to do about it.
func stripped(err error) error {
	if !errors.Is(err, recovery.ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w; strip it (Go -ldflags='-s -w', Rust strip = true, wasm-opt --strip-debug), or raise [wasakari] module_mib", err)
}

// secretive gives those tasks of a module that may read options which they call
// secrets.
func secretive(cfg *config.Config, m *abi.Manifest, f moduleFile, wasm []byte) []recovery.Task {
	if m == nil {
		return nil
	}
	var tasks []recovery.Task
	for _, mt := range m.Tasks {
		task := taskOf(m, mt, f.path, false)
		task.Tenant = f.tenant
		if slices.ContainsFunc(task.Options, func(o recovery.OptionSpec) bool { return o.Secret && readable(cfg, task, o.Group) }) {
			tasks = append(tasks, task)
		}
	}
	if len(tasks) > 0 {
		if _, err := identify(cfg, m.Library, f, wasm); err != nil {
			return nil
		}
	}
	return tasks
}

// identify holds a module against what the operator registered of the library
// that it says it is of: the manifest's word alone is worth nothing. It reports
// whether the module is pinned by its digest.
func identify(cfg *config.Config, library string, f moduleFile, wasm []byte) (pinned bool, err error) {
	key, err := abi.ReadSignature(wasm)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	return identified(cfg, library, f, digestOf(wasm), key)
}

// identified is identify for a module of which that is known; key is nil when it
// is not signed.
func identified(cfg *config.Config, library string, f moduleFile, hexDigest string, key ed25519.PublicKey) (pinned bool, err error) {
	reg, known := cfg.Registration(library, f.tenant)
	pin := "sha256:" + hexDigest
	if key != nil {
		pin = config.PublicKey(key)
	}
	of := ""
	if f.tenant != "" {
		of = " of tenant " + f.tenant
	}
	switch {
	case !known && cfg.Registers():
		return false, fmt.Errorf("%s: library %s%s is not registered; if you know this module, write below [libraries]: %s = %s", f.path, library, of, config.LibraryLine(library, f.tenant), pin)
	case !reg.Takes(hexDigest, key):
		by := "it is not signed"
		if key != nil {
			by = "it is signed with " + config.PublicKey(key)
		}
		return false, fmt.Errorf("%s: it says that it is of library %s%s, but %s, and neither that nor its digest stands in the library's line (%s); if you know it, write instead of that line: %s, %s",
			f.path, library, of, by, reg.Pos, reg, pin)
	}
	if p := cfg.Signatures(f.tenant); !p.Takes(hexDigest, key, reg) {
		return false, fmt.Errorf("%s: %s; have it signed with wasakari task sign, or write below [libraries]: %s = sha256:%s", f.path, p.Refusal(f.tenant, key), config.LibraryLine(library, f.tenant), hexDigest)
	}
	return reg.HasDigest(hexDigest), nil
}

// digestOf gives the SHA-256 of a module, in hexadecimal.
func digestOf(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

// add enters the tasks of a module. The same module may lie there under the
// name of each of its keys.
func (c *catalog) add(cfg *config.Config, m candidate) error {
	library := m.Manifest().Library
	switch owner, taken := c.libraries[library]; {
	case m.standard:
		c.standard, c.standardDigest = library, m.Digest()
	case m.Digest() == c.standardDigest && m.tenant == "":
		return nil // a copy of what is there already
	case library == c.standard:
		// Values in the key-value store belong to a library, and so do grants.
		return fmt.Errorf("%s: its library %s is that of the standard tasks, which are built in; give yours another name in task.yaml", m.Source(), c.standard)
	case m.tenant == "":
		if !taken {
			c.libraries[library] = m.Source()
		}
	default:
		_, registered := cfg.Registration(library, m.tenant)
		if _, operators := cfg.Registration(library, ""); (taken || operators) && !registered {
			if !taken {
				owner = "[libraries]"
			}
			return fmt.Errorf("%s: its library %s is the operator's (%s); give it another name in task.yaml, or register %s in [libraries]",
				m.Source(), library, owner, config.LibraryLine(library, m.tenant))
		}
	}
	var errs []error
	for _, mt := range m.Manifest().Tasks {
		task := taskOf(m.Manifest(), mt, m.Source(), m.standard)
		task.Tenant, task.Digest, task.HasRevert = m.tenant, m.Digest(), m.HasRevert(mt.Key)
		if other, ok := c.tasks[mt.Key]; ok {
			switch {
			case other.Digest == task.Digest && other.Tenant == task.Tenant:
			case other.Standard:
				errs = append(errs, fmt.Errorf("%s: task %s is a standard task, which is built in; give yours another key", task.Source, task.Key))
			case !m.pinned && digestPinned(cfg, other):
				c.aside = append(c.aside, fmt.Sprintf("task %s of %s is left aside: [libraries] pins that of %s", task.Key, task.Source, other.Source))
			default:
				ct := contest{
					reason: fmt.Sprintf("%s: task %s is in %s too", task.Source, task.Key, other.Source),
					hint:   fmt.Sprintf("remove one of them, or pin one in [libraries], such as %s = sha256:%s", config.LibraryLine(task.Library, task.Tenant), task.Digest),
				}
				if m.tenant == "" { // a tenant takes no key from the operator
					c.clashes[mt.Key] = ct
				}
				errs = append(errs, fmt.Errorf("%s; %s", ct.reason, ct.hint))
			}
			continue
		}
		if err := errors.Join(ownOptions(task), notForTenants(task)); err != nil {
			errs = append(errs, err)
			continue
		}
		if cl := (claim{task, m}); m.tenant != "" {
			c.claim(cl)
		} else {
			c.enter(cl)
		}
	}
	return errors.Join(errs...)
}

// enter puts a task in.
func (c *catalog) enter(cl claim) {
	c.tasks[cl.task.Key] = cl.task
	c.modules[cl.task.Key] = cl.module.Module
}

// drop takes a task out.
func (c *catalog) drop(key string) {
	delete(c.tasks, key)
	delete(c.modules, key)
}

// digestPinned reports whether the module of a task is pinned by its digest.
func digestPinned(cfg *config.Config, t recovery.Task) bool {
	reg, ok := cfg.Registration(t.Library, t.Tenant)
	return ok && reg.HasDigest(t.Digest)
}

// notForTenants refuses a tenant's task that asks for ops that no grant could
// give it.
func notForTenants(t recovery.Task) error {
	if t.Tenant == "" {
		return nil
	}
	var ops []string
	for _, use := range t.Uses {
		if op := abi.LookupOp([]byte(use)); op == nil || op.Free {
			continue
		}
		if may, _ := hostfuncs.TenantMay(use); !may {
			ops = append(ops, use)
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return fmt.Errorf("%s: task %s uses %s, which is not for tenants; take it out of task.yaml", t.Source, t.Key, strings.Join(ops, ", "))
}

// readable reports whether a task may have options in a section: what it says
// of one that it may not read counts for nothing.
func readable(cfg *config.Config, t recovery.Task, group string) bool {
	return t.Standard || cfg.GrantsFor(t).Allows("options:"+group)
}

// shareSecrets makes an option a secret of all tasks when it is one of any, or
// has a line in [secrets]: whoever calls it none would get its value.
func (c *catalog) shareSecrets(cfg *config.Config, problem func(tenant string, err error)) {
	secret := map[string]bool{}
	name := func(group, option string) string { return strings.ToLower(group) + "." + option }
	for _, b := range cfg.Bindings() {
		secret[name(b.Group, b.Name)] = true
	}
	for _, t := range c.tasks {
		for _, o := range t.Options {
			if o.Secret && readable(cfg, t, o.Group) {
				secret[name(o.Group, o.Name)] = true
			}
		}
	}
	for _, t := range c.unnamed {
		for _, o := range t.Options {
			if o.Secret && readable(cfg, t, o.Group) {
				secret[name(o.Group, o.Name)] = true
			}
		}
	}
	for _, key := range c.Keys() {
		t := c.tasks[key]
		for i, o := range t.Options {
			if o.Secret || !secret[name(o.Group, o.Name)] || t.Standard || !readable(cfg, t, o.Group) {
				continue
			}
			if o.Type != recovery.StringOption || o.Default != nil {
				problem(t.Tenant, fmt.Errorf("%s: task %s has the option [%s] %s, which is a secret elsewhere; call it secret, of type string and without a default, in task.yaml",
					t.Source, key, o.Group, o.Name))
				c.drop(key)
				break
			}
			t.Options[i].Secret = true
		}
	}
}

// secretOptions lists the secret options of the tasks that may read them.
func (c *catalog) secretOptions(cfg *config.Config) []recovery.OptionSpec {
	var specs []recovery.OptionSpec
	for _, key := range c.Keys() {
		for _, o := range c.tasks[key].Options {
			if o.Secret && readable(cfg, c.tasks[key], o.Group) {
				specs = append(specs, o)
			}
		}
	}
	return specs
}

// ownOptions refuses options in sections that are not the task's to read: the
// cloud's password stands in one of them.
func ownOptions(t recovery.Task) error {
	if t.Standard {
		return nil
	}
	var errs []error
	for _, o := range t.Options {
		if config.Reserved(o.Group) && !o.Shared {
			errs = append(errs, fmt.Errorf("%s: task %s asks for option [%s] %s: that section belongs to Wasakari, Masakari or an OpenStack library; "+
				"give its options a section of their own in task.yaml, such as [%s]", t.Source, t.Key, o.Group, o.Name, sectionName(t.Library)))
		}
	}
	return errors.Join(errs...)
}

// sectionName makes a library's name into that of a section.
func sectionName(library string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(library)
}

// taskOf says in recovery's words what a manifest says in its own, which
// abi.ParseManifest has checked.
func taskOf(m *abi.Manifest, mt abi.ManifestTask, source string, standard bool) recovery.Task {
	t := recovery.Task{
		Key: mt.Key, Class: mt.Class, Summary: mt.Summary, Library: m.Library, Version: m.Version, Source: source,
		Requires: mt.Requires, Optional: mt.Optional, Provides: mt.Provides, Uses: mt.Uses,
		OnInterrupt: recovery.OnInterrupt(mt.OnInterrupt), Standard: standard,
	}
	if t.Class == "" {
		t.Class = t.Key
	}
	if t.OnInterrupt == "" {
		t.OnInterrupt = recovery.Rerun
	}
	for _, text := range mt.HTTP {
		if rule, err := abi.ParseHTTPRule(text); err == nil { // as it was in the manifest
			t.HTTP = append(t.HTTP, rule.String())
		}
	}
	for _, o := range mt.Options {
		t.Options = append(t.Options, recovery.OptionSpec{
			Group: o.Group, Name: o.Name, Type: recovery.OptionType(o.Type), Default: o.Default,
			Help: o.Help, Choices: o.Choices, Min: o.Min, Max: o.Max, Required: o.Required, Secret: o.Secret,
			Shared: o.Masakaris(),
		})
	}
	return t
}
