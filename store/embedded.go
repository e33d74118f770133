package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wasakari/wasakari/internal/folder"
	"github.com/wasakari/wasakari/recovery"
)

const (
	// A member on its own elects itself: short ticks make it ready soon.
	tickMillis = 20
	// historyKept is how long former versions of keys are kept: what a watcher
	// that fell behind can catch up with.
	historyKept = 5 * time.Minute

	lockTries = 5
	lockWait  = 20 * time.Millisecond

	lockName = "lock"
	dataName = "etcd"
)

// server is an etcd in this process that nothing outside can reach.
type server struct {
	dir  string
	lock *os.File
	etcd *embed.Etcd
}

// lockFolder proves that no other process works with the folder until the file
// is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := folder.Own("store folder", dir); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder without x cannot be entered
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator named the folder
	if err != nil {
		return nil, fmt.Errorf("store folder: %w", err)
	}
	for range lockTries { // InUse takes it for a moment
		if err = flock(f); !errors.Is(err, recovery.ErrConflict) {
			break
		}
		time.Sleep(lockWait)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store folder %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func embedded(ctx context.Context, dir string, quota int64, log *zap.Logger) (*server, *clientv3.Client, error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	s := &server{dir: dir, lock: lock}
	nowhere := url.URL{Scheme: "http", Host: "localhost:1"} // etcd wants a name for the member; nothing listens there
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "wasakari", filepath.Join(dir, dataName)
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.ListenClientHttpUrls = nil, nil, nil
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.InitialCluster = cfg.Name + "=" + nowhere.String()
	cfg.TickMs, cfg.ElectionMs = tickMillis, 10*tickMillis
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, historyKept.String()
	cfg.QuotaBackendBytes = quota
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet(log).WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic)))
	if s.etcd, err = startEtcd(cfg); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("store folder %s: %w", dir, err), lock.Close())
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case err = <-s.etcd.Err():
	case <-s.etcd.Server.StopNotify():
		err = errors.New("etcd stopped")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("store folder %s: %w", dir, err), s.close())
	}
	return s, v3client.New(s.etcd.Server), nil
}

// startEtcd turns a panic, which etcd answers files with that it cannot read,
// into an error.
func startEtcd(cfg *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return embed.StartEtcd(cfg)
}

func (s *server) close() error {
	s.etcd.Close()
	return s.lock.Close()
}
