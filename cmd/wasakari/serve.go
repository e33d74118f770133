package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/config"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	settings
	cloudFlags
	listen        string
	metricsListen string
	storeDir      string
}

func newServe(w world) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve Masakari's API and recover what is reported",
		Long: `Replaces masakari-api and masakari-engine: monitors and clients go on as they
are. A notification that was accepted is durable; a recovery goes on where it
stopped, here or on another node.

State is kept in an embedded etcd, in one folder ([store] dir), which one
process can have at a time. With [store] endpoints it is kept in an etcd cluster
instead, and every node that is pointed at it takes its share of the work.

With --simulate there is a simulated cloud, no authentication, and nothing but
loopback is listened on; every answer says so. A segment "demo" holds its hosts,
and a host that is reported dead dies. All of it is gone at the end.

SIGHUP, or a change of a configuration file or task folder, reads both again:
runs that have begun keep what they began with. SIGTERM stops taking work, hands
the runs over, and ends; a second one ends at once.`,
		Example: `  wasakari serve --simulate
  curl -X POST -H 'Content-Type: application/json' http://127.0.0.1:15868/v1/notifications -d '{"notification": {
    "type": "COMPUTE_HOST", "hostname": "compute-1", "generated_time": "2026-11-23T10:00:00",
    "payload": {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "OFFLINE"}}}'

  wasakari serve --config-file /etc/masakari/masakari.conf --config-file custom-recovery-methods.conf`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.contradiction(); err != nil {
				return err
			}
			return f.serve(cmd.Context(), w)
		},
	}
	f.settings.flags(cmd)
	f.cloudFlags.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "", "`host:port` to listen on (default: [DEFAULT] masakari_api_listen and masakari_api_listen_port;\nwith --simulate 127.0.0.1:15868)")
	fl.StringVar(&f.metricsListen, "metrics-listen", "", "`host:port` for Prometheus (default: [telemetry] metrics_listen; with --simulate none)")
	fl.StringVar(&f.storeDir, "store-dir", "", "`folder` of the embedded etcd (option [store] dir; default: store in the state folder)")
	fl.Lookup("log-level").DefValue = "info"
	f.logLevel = "info"
	return cmd
}

// serve makes the service and runs it until ctx ends.
func (f *serveFlags) serve(ctx context.Context, w world) error {
	log, err := newLogger(w, f.logLevel)
	if err != nil {
		return err
	}
	cfg, err := f.configured(w)
	if err != nil {
		return err
	}
	if !f.simulate {
		if _, _, err := f.options(w, cfg); err != nil {
			return usagef("%w", err)
		}
		if err := cfg.CheckService(); err != nil {
			return &usageError{err}
		}
	}
	sv := &daemon{w: w, flags: f, log: log}
	if err := sv.run(ctx, cfg); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	return nil // it came to its end, or was asked to stop while it started
}

// address is where the API listens.
func (f *serveFlags) address(cfg *config.Config) (string, error) {
	address := f.listen
	switch {
	case address != "":
	case f.simulate:
		address = "127.0.0.1:" + strconv.Itoa(cfg.Default.APIListenPort)
	default:
		address = net.JoinHostPort(cfg.Default.APIListen, strconv.Itoa(cfg.Default.APIListenPort))
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", usagef("--listen %s: want host:port, such as 127.0.0.1:15868", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strings.TrimLeft(port, "0123456789") != "" {
		return "", usagef("--listen %s: %d is no port; want host:port, such as 127.0.0.1:15868", address, n)
	}
	switch {
	case loopback(host):
	case f.simulate:
		return "", usagef("--listen %s: with --simulate nobody has to log in, so it listens on loopback only; name 127.0.0.1 or [::1]", address)
	case cfg.Default.AuthStrategy == "noauth2": // a Host header is quickly written
		return "", usagef("%s: with [DEFAULT] auth_strategy = noauth2 nobody has to log in, so it listens on loopback only; set masakari_api_listen = 127.0.0.1, or auth_strategy = keystone", address)
	}
	return address, nil
}

// loopback reports whether a host is this machine, seen from itself.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// nodeName names this process among the nodes of a cluster.
func nodeName(cfg *config.Config) (string, error) {
	if cfg.Engine.Node != "" {
		return cfg.Engine.Node, nil
	}
	if cfg.Default.Host != "" {
		return cfg.Default.Host, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name of this machine: %w; set [engine] node", err)
	}
	return name, nil
}
