package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/api/wasakariv1"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/oci"
	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/runtime"
)

// registryClient makes a client for registries. option names caFile, which may be
// empty.
func registryClient(opt oci.Config, option, caFile string) (*oci.Client, error) {
	if caFile != "" {
		trust, err := trusting(option, caFile)
		if err != nil {
			return nil, err
		}
		opt.RootCAs = trust.RootCAs
	}
	c, err := oci.New(opt)
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// registryModules fetches the modules of [wasakari] modules. What is wrong with
// one is among the problems; err is what is wrong with all.
func registryModules(ctx context.Context, cfg *config.Config, w world, log *zap.Logger) (files []moduleFile, problems []error, err error) {
	if len(cfg.Wasakari.Modules) == 0 {
		return nil, nil, nil
	}
	r := cfg.Registries
	client, err := registryClient(oci.Config{
		Credentials: r.CredentialsFile, PlainHTTP: r.PlainHTTP, Timeout: r.Timeout, MaxModule: int64(cfg.Wasakari.ModuleMiB) << 20,
	}, "[registries] ca_file", r.CAFile)
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	dir, err := cacheFolder(cfg.Wasakari.CacheDir, w, log)
	if err != nil {
		return nil, nil, usagef("cache folder: %w; name another with --cache-dir", err)
	}
	if dir != "" {
		dir = filepath.Join(dir, "registries")
	}
	cache := oci.NewCache(client, dir)
	refs := make([]oci.Reference, len(cfg.Wasakari.Modules))
	found, failed := make([][]byte, len(refs)), make([]error, len(refs))
	var group errgroup.Group
	group.SetLimit(4)
	for i, text := range cfg.Wasakari.Modules {
		if refs[i], failed[i] = oci.ParseReference(text); failed[i] != nil {
			continue
		}
		group.Go(func() error {
			var kept error
			found[i], kept, failed[i] = cache.Pull(ctx, refs[i])
			if kept != nil {
				log.Warn("module not kept in the cache folder, it is fetched again next time", zap.Stringer("module", refs[i]), zap.Error(kept))
			}
			return nil
		})
	}
	_ = group.Wait() // the problems are kept in order instead
	for i, ref := range refs {
		if failed[i] != nil {
			problems = append(problems, fmt.Errorf("[wasakari] modules: %w", failed[i]))
			continue
		}
		files = append(files, moduleFile{path: ref.String(), wasm: found[i]})
	}
	if err := cache.Prune(refs); err != nil {
		log.Warn("modules of registries that nothing names are still in the cache folder", zap.Error(err))
	}
	return files, problems, nil
}

// registryFlags are those of commands that talk to a registry.
type registryFlags struct {
	caFile, credentials string
	plainHTTP           bool
}

func (f *registryFlags) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.caFile, "ca-file", "", "`file` of CA certificates that the registry is trusted by, beside the system's")
	fl.StringVar(&f.credentials, "credentials", "", "`file` in the form of Docker's config.json with the login for the registry (default: Docker's own)")
	fl.BoolVar(&f.plainHTTP, "plain-http", false, "speak to the registry without TLS")
}

func (f *registryFlags) client(w world, r oci.Reference) (*oci.Client, error) {
	opt := oci.Config{Credentials: f.credentials, MaxModule: maxModuleRead}
	if opt.Credentials == "" {
		if file := oci.DockerConfig(w.env, w.home); file != "" {
			if _, err := os.Stat(file); err == nil {
				opt.Credentials = file
			}
		}
	}
	if f.plainHTTP {
		opt.PlainHTTP = []string{r.Registry()}
	}
	return registryClient(opt, "--ca-file", f.caFile)
}

// push sends a module to a registry.
func (f *registryFlags) push(ctx context.Context, w world, file, to string, asJSON bool) error {
	ref, err := oci.ParseReference(to)
	if err != nil {
		return &usageError{err}
	}
	wasm, err := readFile(file, maxModuleRead)
	if err != nil {
		return err
	}
	if err := admissible(ctx, w, file, wasm); err != nil {
		return err
	}
	m, err := abi.ReadManifest(wasm)
	if err != nil {
		return &usageError{located(file, err)}
	}
	c, err := f.client(w, ref)
	if err != nil {
		return err
	}
	defer c.Close()
	at, err := c.Push(ctx, ref, wasm, oci.Describe{Title: m.Library, Version: m.Version, Summary: m.Summary})
	if err != nil {
		return err
	}
	pinned := strings.Replace(at.String(), ":"+at.Tag()+"@", "@", 1)
	if asJSON {
		return printJSON(w.stdout, map[string]string{"reference": at.String(), "pinned": pinned, "module": "sha256:" + digestOf(wasm)})
	}
	_, err = fmt.Fprintf(w.stdout, "%s: %s %s, sha256:%s: pushed to %s\nto run it, write below [wasakari]: modules = %s\n", oneLine(file), m.Library, m.Version, brief(digestOf(wasm)), ref, pinned)
	return err
}

func newPull(w world) *cobra.Command {
	var f moduleFlags
	var reg registryFlags
	var file, version string
	var force bool
	cmd := &cobra.Command{
		Use:   "pull KEY|oci://REFERENCE",
		Short: "Get a module from a server or an OCI registry",
		Long: `Gets the bytes of a module: of the one that has a task, from a running wasakari
serve, or of an artifact in an OCI registry. What came is held against its digest
and looked at as inspect does; it is neither compiled nor run.`,
		Example: `  wasakari task pull custom_pre_task
  wasakari task pull custom_pre_task --version 1.2.0 --file before.wasm
  wasakari task pull oci://registry.example.com/acme/recovery:1.4.0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var wasm []byte
			var from string
			var err error
			if strings.HasPrefix(args[0], oci.Scheme) {
				if version != "" {
					return usagef("--version is for modules of a server; name a tag or a digest in the reference")
				}
				wasm, from, err = reg.pull(ctx, w, args[0])
			} else {
				wasm, from, err = f.pull(ctx, w, args[0], version)
			}
			if err != nil {
				return err
			}
			info, err := runtime.Inspect(from, wasm)
			if err != nil {
				return &usageError{err}
			}
			if info.Manifest == nil || len(info.Manifest.Tasks) == 0 {
				return usagef("%s: it is no task module: it has no manifest", from)
			}
			if file == "" {
				file = info.Manifest.Tasks[0].Key + ".wasm"
			}
			if err := writeNew(file, string(wasm), 0o644, force); err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(w.stdout, map[string]string{"file": file, "from": from, "module": "sha256:" + info.Digest})
			}
			_, err = fmt.Fprintln(w.stdout, oneLine(fmt.Sprintf("%s: %s %s, %s, sha256:%s, from %s", file, info.Manifest.Library, info.Manifest.Version, size(len(wasm)), brief(info.Digest), from)))
			return err
		},
	}
	f.flags(cmd)
	reg.flags(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&file, "file", "f", "", "`file` to write (default: the first key of the module, with .wasm)")
	fl.StringVar(&version, "version", "", "version or digest on the server (default: the active one)")
	fl.BoolVar(&force, "force", false, "write over a file that is there")
	return cmd
}

// pull fetches an artifact.
func (f *registryFlags) pull(ctx context.Context, w world, from string) (wasm []byte, source string, err error) {
	ref, err := oci.ParseReference(from)
	if err != nil {
		return nil, "", &usageError{err}
	}
	c, err := f.client(w, ref)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	a, err := c.Pull(ctx, ref)
	return a.Wasm, a.Reference.String(), err
}

// pull fetches a module from a server.
func (f *moduleFlags) pull(ctx context.Context, w world, key, version string) (wasm []byte, source string, err error) {
	c, err := f.connect(ctx, w)
	if err != nil {
		return nil, "", err
	}
	var v recovery.ModuleVersion
	if version != "" {
		v, err = c.version(ctx, f, key, version)
	} else {
		var doc wasakariv1.ModuleDocument
		err = c.call(ctx, http.MethodGet, path("modules", key), f.query(), nil, &doc)
		if doc.Module.Active != nil {
			v = *doc.Module.Active
		}
	}
	if err != nil {
		return nil, "", err
	}
	if v.Digest == "" {
		return nil, "", fmt.Errorf("task %s: no version of its module is active; name one with --version: %w", key, recovery.ErrNotFound)
	}
	req, err := c.request(ctx, http.MethodGet, path("modules", key, "versions", v.Digest), f.query(), nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "application/wasm")
	res, err := c.send(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if wasm, err = io.ReadAll(io.LimitReader(res.Body, maxModuleRead+1)); err != nil {
		return nil, "", fmt.Errorf("server %s: %w", c.base, err)
	}
	if digestOf(wasm) != v.Digest {
		return nil, "", fmt.Errorf("server %s: what came is not the module sha256:%s: %w", c.base, v.Digest, recovery.ErrInvalid)
	}
	return wasm, c.base.String(), nil
}
