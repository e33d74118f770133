package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/audit"
	"github.com/wasakari/wasakari/internal/lifecycle"
	"github.com/wasakari/wasakari/internal/reload"
	"github.com/wasakari/wasakari/internal/telemetry"
)

// follower reads the configuration of a service again when its files change or
// somebody asks for it.
type follower struct {
	// now is the configuration that holds, before what reload.State told of its
	// files before they were read.
	now    *config.Config
	before string
	// files lists what to watch: configuration, certificates, task folders.
	files   func(*config.Config) []string
	signals <-chan os.Signal
	// read reads the configuration, whole. apply makes it hold, also when it is
	// as before, since what it names may have changed. Their errors leave all as
	// it was.
	read  func() (*config.Config, error)
	apply func(context.Context, *config.Config) error

	notify lifecycle.Notifier
	status string // for the service manager
	tel    *telemetry.Telemetry
	audit  *audit.Log
	log    *zap.Logger
}

// follow does so until ctx ends.
func (f *follower) follow(ctx context.Context) {
	reload.Watch(ctx, reload.Config{
		Files: func() []string { return f.files(f.now) }, Before: f.before, Signals: f.signals, Load: f.load, Logger: f.log.Named("reload"),
	})
}

func (f *follower) load(ctx context.Context, why string) error {
	f.notify.Reloading()
	status := f.status
	err := f.replace(ctx)
	if err != nil {
		status = "configuration not reloaded, the former one holds: " + firstLine(err)
	}
	f.notify.Ready(status)
	f.tel.Reloaded(err)
	line := audit.Record{Kind: audit.Reload, Op: "config.reload", Outcome: audit.Done, Message: why}
	if err != nil {
		line.Outcome, line.Message = audit.Refused, why+": "+err.Error()
	}
	f.audit.Write(line)
	return err
}

func (f *follower) replace(ctx context.Context) error {
	cfg, err := f.read()
	if err != nil {
		return err
	}
	if err := f.apply(ctx, cfg); err != nil {
		return err
	}
	for _, s := range config.Changed(f.now, cfg) {
		f.log.Info("option changed", zap.String("option", fmt.Sprintf("[%s] %s", s.Group, s.Name)), zap.String("value", s.Text()))
	}
	for _, text := range restartsFor(f.now, cfg) {
		f.log.Warn("restart needed", zap.String("reason", text))
	}
	f.now = cfg
	return nil
}

// firstLine gives the first of the mistakes that err tells.
func firstLine(err error) string {
	first, _, more := strings.Cut(err.Error(), "\n")
	if more {
		first += " …"
	}
	return first
}

// configFiles lists the files of a configuration, and the folders in which more
// of it may come to be.
func configFiles(cfg *config.Config, flags *settings) []string {
	return append(append(cfg.Files(), flags.configFiles...), flags.configDirs...)
}
