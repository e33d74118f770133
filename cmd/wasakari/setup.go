package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/regular"
	"github.com/wasakari/wasakari/internal/standardtasks"
	"github.com/wasakari/wasakari/internal/telemetry"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// settings are the flags that say what to read.
type settings struct {
	configFiles, configDirs []string
	taskDirs                []string
	tenantTaskDirs          []string
	set                     []string
	stateDir, cacheDir      string
	logLevel                string
}

func (s *settings) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.configFiles, "config-file", nil, "configuration `file`; repeatable, later files win\n(default: masakari.conf and wasakari.conf where Masakari looks for its own)")
	f.StringArrayVar(&s.configDirs, "config-dir", nil, "`folder` whose *.conf files are read in sorted order after the files; repeatable")
	f.StringArrayVar(&s.taskDirs, "task-dir", nil, "`folder` with .wasm tasks; repeatable (option [wasakari] task_dir)")
	f.StringArrayVar(&s.tenantTaskDirs, "tenant-task-dir", nil, "`PROJECT=folder` with .wasm tasks of a tenant, the project with this id; repeatable")
	f.StringArrayVar(&s.set, "set", nil, "`group.name=value`: set one option; beats environment and files; repeatable")
	f.StringVar(&s.stateDir, "state-dir", "", "`folder` for the journals of runs (option [wasakari] state_dir; default ~/.local/state/wasakari)")
	f.StringVar(&s.cacheDir, "cache-dir", "", "`folder` for compiled modules (option [wasakari] cache_dir; default ~/.cache/wasakari)")
	f.StringVar(&s.logLevel, "log-level", "warn", "debug, info, warn or error; logs go to standard error")
}

// loaded is the configuration with the tasks that it may name.
type loaded struct {
	cfg      *config.Config
	log      *zap.Logger
	rt       *runtime.Runtime
	stock    *stock
	catalog  *catalog
	secrets  map[string]recovery.Secret // of all tasks, by group.option
	outside  outside
	audit    *audit.Log
	tel      *telemetry.Telemetry // nil: nothing is measured
	stateDir string
}

// close gives back what was loaded.
func (l *loaded) close() error { return closeRuntime(context.Background(), l.rt) }

// closeRuntime closes rt, whether ctx is canceled or not.
func closeRuntime(ctx context.Context, rt *runtime.Runtime) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return rt.Close(ctx)
}

// sources turns the flags into what config reads.
func (s *settings) sources(w world) (config.Sources, error) {
	src := config.Sources{
		Files: s.configFiles, Dirs: s.configDirs, Discover: true,
		Environ: w.environ, Home: w.home, Root: w.root,
	}
	for _, kv := range s.set {
		name, value, ok := strings.Cut(kv, "=")
		group, option, dotted := strings.Cut(name, ".")
		if !ok || !dotted || group == "" || option == "" {
			return src, usagef("--set %s: want group.name=value, such as DEFAULT.verify_interval=2", kv)
		}
		src.Flags = append(src.Flags, config.Flag{Group: group, Name: option, Value: value, Origin: "--set"})
	}
	for _, f := range []struct{ name, option, value string }{
		{"--state-dir", "state_dir", s.stateDir}, {"--cache-dir", "cache_dir", s.cacheDir},
	} {
		if f.value != "" {
			src.Flags = append(src.Flags, config.Flag{Group: "wasakari", Name: f.option, Value: f.value, Origin: f.name})
		}
	}
	return src, nil
}

// configured reads the configuration, and nothing that it names.
func (s *settings) configured(w world) (*config.Config, error) {
	src, err := s.sources(w)
	if err != nil {
		return nil, err
	}
	return readConfig(src)
}

// readConfig tells what is wrong with a configuration as a wrong use.
func readConfig(src config.Sources) (*config.Config, error) {
	cfg, err := config.Load(src)
	if err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}

// load reads the configuration and admits every module, of tenants' modules
// those alone that are named in flows that are to be run; nil stands for all.
// Whatever is wrong is told at once, and nothing was started.
func (s *settings) load(ctx context.Context, w world, flows func(*config.Config) ([]recovery.Flow, error)) (*loaded, error) {
	log, err := newLogger(w, s.logLevel)
	if err != nil {
		return nil, err
	}
	cfg, err := s.configured(w)
	if err != nil {
		return nil, err
	}
	l, err := newLoaded(cfg, w, log)
	if err != nil {
		return nil, err
	}
	l.stock = newStock(w, cfg.Wasakari.StateDir, log)
	if l.rt, err = newRuntime(cfg, w, l.stock, log); err != nil {
		return nil, err
	}
	folders, err := s.folders(cfg)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	var keys named
	if flows != nil {
		list, err := flows(cfg)
		if err == nil {
			keys, err = namedIn(list)
		}
		if err != nil {
			return nil, errors.Join(&usageError{err}, l.close())
		}
	}
	remote, problems, err := registryModules(ctx, cfg, w, log)
	if err = errors.Join(append(problems, err)...); err != nil {
		return nil, errors.Join(&usageError{err}, l.close())
	}
	if l.catalog, err = loadCatalog(ctx, l.rt, cfg, folders, remote, keys); err != nil {
		return nil, errors.Join(&usageError{err}, l.close())
	}
	if l.secrets, err = cfg.Secrets(l.catalog.secretOptions(cfg)); err != nil {
		return nil, errors.Join(&usageError{err}, l.close())
	}
	return l, nil
}

// newLoaded is a configuration whose modules are still to be admitted.
func newLoaded(cfg *config.Config, w world, log *zap.Logger) (*loaded, error) {
	l := &loaded{cfg: cfg, log: log}
	var err error
	if l.stateDir, err = stateFolder(cfg.Wasakari.StateDir, w); err != nil {
		return nil, usagef("state folder: %w; name one with --state-dir", err)
	}
	l.audit = newAudit(cfg, w, l.stateDir, log)
	if l.outside, err = newOutside(cfg, l.audit, log); err != nil {
		return nil, err
	}
	return l, nil
}

// folder chooses a folder: the one configured, or one under the user's own.
func folder(configured string, w world, xdg, below string) (string, error) {
	switch {
	case configured != "":
		return filepath.Abs(configured)
	case filepath.IsAbs(w.env(xdg)):
		return filepath.Join(w.env(xdg), "wasakari"), nil
	case w.home != "":
		return filepath.Join(w.home, below, "wasakari"), nil
	}
	return "", errors.New("there is no home folder")
}

func stateFolder(configured string, w world) (string, error) {
	return folder(configured, w, "XDG_STATE_HOME", ".local/state")
}

// cacheFolder names the folder of compiled modules. Where nobody named one and the
// user's own cannot be made, as in a container that is read only, it is "": what
// is compiled lasts as long as the process.
func cacheFolder(configured string, w world, log *zap.Logger) (string, error) {
	dir, err := folder(configured, w, "XDG_CACHE_HOME", ".cache")
	if configured != "" {
		return dir, err
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		log.Warn("no cache folder, so each start compiles modules again", zap.Error(err))
		return "", nil
	}
	return dir, nil
}

// newRuntime opens the cache of compiled modules.
func newRuntime(cfg *config.Config, w world, st *stock, log *zap.Logger) (*runtime.Runtime, error) {
	rc := runtimeConfig(cfg, st, log)
	var err error
	if rc.CacheDir, err = cacheFolder(cfg.Wasakari.CacheDir, w, log); err != nil {
		return nil, usagef("cache folder: %w; name another with --cache-dir", err)
	}
	rc.Compiler = w.compiler
	rt, err := runtime.New(rc)
	if err != nil {
		return nil, usagef("%w; name another with --cache-dir", err)
	}
	return rt, nil
}

// runtimeConfig is what the configuration says, but for the folder of the cache.
func runtimeConfig(cfg *config.Config, st *stock, log *zap.Logger) runtime.Config {
	o := cfg.Wasakari
	limits, ceilings := sandboxLimits(cfg)
	return runtime.Config{
		CacheBytes:      int64(o.CacheMiB) << 20,
		CompileMemory:   int64(o.CompileMemoryMiB) << 20,
		CompileTime:     o.CompileTime,
		Sandboxes:       o.Sandboxes,
		AllSandboxes:    o.SandboxesTotal,
		TenantSandboxes: cfg.TenantSandboxes(),
		Logger:          log.Named("runtime"),
		MaxModuleBytes:  max(o.ModuleMiB<<20, len(standardtasks.Module())), // the operator's bound is for his own modules
		Limits:          limits,
		Ceilings:        ceilings,
		Engines:         st.carried,
		OtherEngine:     st.other,
	}
}

// sandboxLimits gives the limits of a task that asks for none, and the most that
// one may ask for.
func sandboxLimits(cfg *config.Config) (limits, ceilings runtime.Limits) {
	o := cfg.Wasakari
	return runtime.Limits{
		MemoryBytes: int64(o.MemoryMiB) << 20, Stack: int64(o.StackMiB) << 20, CPU: o.CPUUnits, Timeout: o.TaskTimeout,
		HostCallsPerSecond: o.HostCallsPerSecond, Tickets: o.Tickets,
		RequestBytes: o.RequestKiB << 10, AnswerBytes: o.AnswerMiB << 20,
		LogLines: noneIfZero(o.LogLines), LogBytes: noneIfZero(o.LogKiB << 10),
	}, runtime.Limits{MemoryBytes: int64(o.MemoryMiBMax) << 20, CPU: o.CPUUnitsMax, Timeout: o.TaskTimeoutMax}
}

// noneIfZero says in the runtime's way that an operator allows nothing: there,
// zero stands for the default.
func noneIfZero(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// ownFolders are folders of the operator's modules.
func ownFolders(dirs []string) []taskFolder {
	var folders []taskFolder
	for _, dir := range dirs {
		folders = append(folders, taskFolder{dir: dir})
	}
	return folders
}

// folders lists the task folders: those of the flags, else those of the
// configuration, and those of tenants.
func (s *settings) folders(cfg *config.Config) ([]taskFolder, error) {
	dirs := s.taskDirs
	if len(dirs) == 0 {
		dirs = cfg.Wasakari.TaskDirs
	}
	folders := ownFolders(dirs)
	for _, v := range s.tenantTaskDirs {
		tenant, dir, ok := strings.Cut(v, "=")
		if !ok || dir == "" || !config.TenantID(tenant) {
			return nil, usagef("--tenant-task-dir %s: want PROJECT=folder, PROJECT being the id of a project", v)
		}
		folders = append(folders, taskFolder{dir, tenant})
	}
	return folders, nil
}

// options checks that the operator set what tasks need.
func (l *loaded) options(specs []recovery.OptionSpec) error {
	_, err := l.cfg.TaskOptions(specs)
	return err
}

// check checks one flow against the tasks that are there. Nil inputs stand
// for all that a flow of this kind is given.
func (l *loaded) check(kind recovery.FlowKind, in inputs) (*flow.Plan, error) {
	f, err := l.cfg.Flow(kind)
	if err != nil {
		return nil, err
	}
	return l.checkFlow(f, in)
}

func (l *loaded) checkFlow(f recovery.Flow, in inputs) (*flow.Plan, error) {
	p, err := flow.Check(f, l.catalog, l.checkOptions(in))
	if err == nil {
		err = withheld(l.catalog, f)
	}
	return p, err
}

func (l *loaded) checkOptions(in inputs) flow.CheckOptions {
	return flow.CheckOptions{
		Inputs: in, Granted: l.granted, GrantHint: l.grantHint, Nearest: config.Nearest, Options: l.options,
		Absent: func(key string) (reason, hint string) {
			return l.catalog.contested[key].reason, l.catalog.contested[key].hint
		},
	}
}

// checkAll checks all flows.
func (l *loaded) checkAll() error {
	return l.checkFlows(func(kind recovery.FlowKind) error {
		_, err := l.check(kind, nil)
		return err
	})
}

// checkFlows calls check for all flows; every mistake is told at once.
func (l *loaded) checkFlows(check func(recovery.FlowKind) error) error {
	var errs []error
	said := map[string]bool{}
	for _, kind := range recovery.FlowKinds() {
		err := check(kind)
		if err != nil && !said[err.Error()] { // an option that two flows need
			said[err.Error()] = true
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	return nil
}

// checkFor checks all flows for a run of some. What a tenant has a part in
// does not keep the others from running: of a flow that is not to be run, and
// in which tenants' tasks stand that were not looked at, the rest is checked,
// and what is wrong there is a warning.
func (l *loaded) checkFor(w world, kinds []recovery.FlowKind) error {
	return l.checkFlows(func(kind recovery.FlowKind) error {
		f, err := l.cfg.Flow(kind)
		if err != nil {
			return err
		}
		whole := true
		if l.catalog.partly && tenantsIn(kind) && !slices.Contains(kinds, kind) {
			f, whole = ownPart(l.catalog, f)
		}
		if _, err = l.checkFlow(f, nil); err == nil || whole {
			return err
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(w.stderr, "warning: %s\n", oneLine(line))
		}
		return nil
	})
}

// lasting gives those of --set that a journal may hold: options that are known
// and no secrets, and lines about libraries.
func (l *loaded) lasting(set []string) []string {
	specs := append(config.Specs(), l.taskOptions()...)
	var list []string
	for _, kv := range set {
		name, _, _ := strings.Cut(kv, "=")
		group, option, _ := strings.Cut(name, ".")
		same := func(o recovery.OptionSpec) bool { return strings.EqualFold(o.Group, group) && o.Name == option }
		if lineSection(group) || slices.ContainsFunc(specs, same) && !slices.ContainsFunc(specs, func(o recovery.OptionSpec) bool { return same(o) && o.Secret }) {
			list = append(list, kv)
		}
	}
	return list
}

// taskOptions lists the options of all tasks.
func (l *loaded) taskOptions() []recovery.OptionSpec {
	var specs []recovery.OptionSpec
	for _, key := range l.catalog.Keys() {
		task, _ := l.catalog.Task(key)
		specs = append(specs, task.Options...)
	}
	return specs
}

// warn tells what stops nothing but should be known.
//
// What was typed with --set is no doubt meant: that no such option is known is
// a wrong use.
func (l *loaded) warn(w world) error {
	var errs []error
	for _, text := range slices.Concat(l.catalog.aside, l.loose(), l.idleLimits()) {
		fmt.Fprintf(w.stderr, "warning: %s\n", oneLine(text))
	}
	for _, warning := range l.cfg.Warnings(l.taskOptions()...) {
		if warning.Unknown && warning.Pos.File == "--set" {
			errs = append(errs, &usageError{errors.New(warning.String())})
			continue
		}
		fmt.Fprintf(w.stderr, "warning: %s\n", oneLine(warning.String()))
	}
	return errors.Join(errs...)
}

// warnRefused tells of modules of tenants that are left aside.
func (l *loaded) warnRefused(w world) {
	for _, err := range l.catalog.refused {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(w.stderr, "warning: left aside: %s\n", oneLine(line))
		}
	}
}

// bare gives the reason of a file error without the path.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// readFile reads a file that the caller named.
func readFile(name string, max int64) ([]byte, error) {
	text, err := regular.Read(name, max)
	if large, ok := errors.AsType[*regular.TooLargeError](err); ok {
		return nil, usagef("%s: %w: it has %s, and at most %s are read", name, recovery.ErrTooLarge, size(int(large.Size)), size(int(max)))
	}
	switch {
	case errors.Is(err, regular.ErrNotRegular):
		return nil, usagef("%s: %w: %w", name, recovery.ErrInvalid, bare(err))
	case err != nil:
		return nil, usagef("%s: %w", name, bare(err))
	}
	return text, nil
}
