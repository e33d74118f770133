package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/recovery"
	"github.com/wasakari/wasakari/store"
)

// storeFlags name a store.
type storeFlags struct {
	settings
	storeDir string
}

func newStore(w world) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Back up, restore and compact the state of the service",
		Long: `Works on the store that the configuration names: the folder of the embedded
etcd ([store] dir), or the cluster of [store] endpoints.

The folder belongs to one process at a time: a service that has it takes a
backup itself, with --server; to restore or compact it, stop the service. A
cluster can be backed up and compacted while nodes work on it; restored into is
only an empty store.

From the embedded store to a cluster: stop the service, store backup, write
[store] endpoints, store restore, start the service.`,
		Example: `  wasakari store backup --config-file /etc/masakari/masakari.conf wasakari.backup
  wasakari store backup --server http://127.0.0.1:15868 wasakari.backup
  wasakari store restore --config-file new.conf wasakari.backup
  wasakari store compact --config-file /etc/masakari/masakari.conf`,
	}
	var backup, restore, compact storeFlags
	var from remoteFlags
	b := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all that is durable into a file, as it is at one moment",
		Example: `  wasakari store backup --config-file /etc/masakari/masakari.conf wasakari.backup
  wasakari store backup --server http://127.0.0.1:15868 wasakari.backup`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from.server != "" {
				return from.backup(cmd.Context(), w, args[0])
			}
			return backup.with(cmd.Context(), w, func(ctx context.Context, s *store.Store) error { return backupTo(ctx, w, s.Backup, args[0]) })
		},
	}
	r := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Fill an empty store from a backup",
		Example: `  wasakari store restore --config-file new.conf wasakari.backup`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return restore.restore(cmd.Context(), w, args[0])
		},
	}
	c := &cobra.Command{
		Use:     "compact",
		Short:   "Forget former versions of what is kept, and give their space back",
		Example: `  wasakari store compact --config-file /etc/masakari/masakari.conf`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return compact.with(cmd.Context(), w, func(ctx context.Context, s *store.Store) error {
				before, err := s.Usage(ctx)
				if err != nil {
					return err
				}
				if err := s.Compact(ctx); err != nil {
					return err
				}
				after, err := s.Usage(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintf(w.stdout, "the store has %s, it had %s\n", size(int(after.Size)), size(int(before.Size)))
				return nil
			})
		},
	}
	from.output = "text"
	b.Flags().StringVar(&from.server, "server", "", "`URL` of wasakari serve that is to take the backup, while it works; for administrators")
	b.Flags().StringVar(&from.osCloud, "os-cloud", "", "with --server: `name` of a cloud in clouds.yaml to log in at\n(default: OS_CLOUD, then the other OS_* variables; without any, nobody logs in)")
	for _, sub := range []struct {
		cmd *cobra.Command
		f   *storeFlags
	}{{b, &backup}, {r, &restore}, {c, &compact}} {
		sub.f.flags(sub.cmd)
		sub.cmd.Flags().StringVar(&sub.f.storeDir, "store-dir", "", "`folder` of the embedded etcd (option [store] dir; default: store in the state folder)")
		cmd.AddCommand(sub.cmd)
	}
	return cmd
}

// config says which store is meant.
func (f *storeFlags) config(w world) (store.Config, error) {
	log, err := newLogger(w, f.logLevel)
	if err != nil {
		return store.Config{}, err
	}
	cfg, err := f.configured(w)
	if err != nil {
		return store.Config{}, err
	}
	host, err := nodeName(cfg)
	if err != nil {
		return store.Config{}, &usageError{err}
	}
	opt, err := storeOf(cfg, w, f.storeDir)
	if err != nil {
		return store.Config{}, err
	}
	// Not the name of the service on this machine, which may be at work.
	opt.Node, opt.Logger = fmt.Sprintf("%s/store-%d", host, os.Getpid()), log.Named("store")
	if tuneStore != nil {
		tuneStore(&opt)
	}
	return opt, nil
}

// with opens the store and works on it.
func (f *storeFlags) with(ctx context.Context, w world, work func(context.Context, *store.Store) error) (err error) {
	opt, err := f.config(w)
	if err != nil {
		return err
	}
	if opt.Dir != "" {
		if _, err := os.Stat(opt.Dir); err != nil {
			return usagef("store folder %s: %w; name it with --store-dir", opt.Dir, bare(err))
		}
	}
	s, err := store.Open(ctx, opt)
	if err != nil {
		return storeTaken(err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return work(ctx, s)
}

// storeTaken says what to do when a service has the folder.
func storeTaken(err error) error {
	if errors.Is(err, recovery.ErrConflict) {
		return usagef("%w; stop the service first, or let it take a backup itself: wasakari store backup --server URL FILE", err)
	}
	return usagef("%w", err)
}

// backup lets a server take a backup.
func (f *remoteFlags) backup(ctx context.Context, w world, name string) error {
	c, err := f.connect(ctx, w)
	if err != nil {
		return err
	}
	return backupTo(ctx, w, func(ctx context.Context, out io.Writer) error {
		req, err := c.request(ctx, http.MethodGet, "store/backup", nil, nil)
		if err != nil {
			return err
		}
		res, err := c.send(req)
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // read only
		if _, err := io.Copy(out, res.Body); err != nil {
			return fmt.Errorf("server %s: the backup broke off: %w", c.base, err)
		}
		return nil
	}, name)
}

// backupTo writes a backup beside its name first: a file of that name is whole.
func backupTo(ctx context.Context, w world, backup func(context.Context, io.Writer) error, name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".wasakari-backup-")
	if err != nil {
		return usagef("%s: %w", name, bare(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := backup(ctx, f); err != nil {
		return err
	}
	written, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s: %s\n", name, size(int(written)))
	return nil
}

func (f *storeFlags) restore(ctx context.Context, w world, name string) (err error) {
	opt, err := f.config(w)
	if err != nil {
		return err
	}
	in, err := os.Open(name) //nolint:gosec // the caller names the file
	if err != nil {
		return usagef("%s: %w", name, bare(err))
	}
	defer in.Close() //nolint:errcheck // opened for reading
	began := time.Now()
	if err := store.Restore(ctx, opt, in); err != nil {
		if errors.Is(err, recovery.ErrExists) {
			return usagef("%w; name an empty one", err)
		}
		return storeTaken(err)
	}
	fmt.Fprintf(w.stdout, "restored from %s in %s\n", name, time.Since(began).Round(time.Millisecond))
	return nil
}
