package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/api/internal/wire"
	"github.com/wasakari/wasakari/recovery"
)

// ServeConfig configures a server. The zero value is usable.
type ServeConfig struct {
	// TLS is as TLSConfig makes it; nil: plain HTTP.
	TLS *tls.Config
	// MaxHeaderBytes bounds the header of a request.
	//
	// Defaults to 16384.
	MaxHeaderBytes int
	// NoKeepAlive closes each connection after one request.
	NoKeepAlive bool
	// IdleTimeout ends a connection on which nothing is asked.
	//
	// Defaults to 15 minutes.
	IdleTimeout time.Duration
	// ReadTimeout bounds the reading of a request, WriteTimeout the time from
	// its header to the end of the answer. A handler that streams moves them by
	// http.ResponseController.
	//
	// Default to 1 minute and 2 minutes.
	ReadTimeout, WriteTimeout time.Duration
	// DrainTimeout is how long requests that are being answered may go on when
	// the server shuts down.
	//
	// Defaults to 30 seconds.
	DrainTimeout time.Duration
	// MaxConnections bounds the connections that are open at once; more wait.
	//
	// Defaults to 4096.
	MaxConnections int
	// Logger gets what net/http complains about. Defaults to none.
	Logger *zap.Logger
}

const (
	readHeaderTimeout     = 10 * time.Second
	defaultMaxHeader      = 16384
	defaultIdle           = 15 * time.Minute
	defaultRead           = time.Minute
	defaultWrite          = 2 * time.Minute
	defaultDrain          = 30 * time.Second
	defaultMaxConnections = 4096
)

func (c ServeConfig) withDefaults() ServeConfig {
	if c.MaxHeaderBytes <= 0 {
		c.MaxHeaderBytes = defaultMaxHeader
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = defaultIdle
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = defaultRead
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = defaultWrite
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = defaultDrain
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = defaultMaxConnections
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Serve answers requests on ln until ctx ends; then it takes no more, tells
// streams to end, waits for the answers under way and returns nil. It owns
// ln. Requests do not see the end of ctx, only that of their connection.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, cfg ServeConfig) error {
	cfg = cfg.withDefaults()
	std, err := zap.NewStdLogAt(cfg.Logger.Named("http"), zap.WarnLevel)
	if err != nil {
		std = log.Default()
	}
	closing := make(chan struct{})
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		TLSConfig:         cfg.TLS,
		ErrorLog:          std,
		BaseContext: func(net.Listener) context.Context {
			return wire.WithClosing(context.WithoutCancel(ctx), closing)
		},
	}
	srv.SetKeepAlivesEnabled(!cfg.NoKeepAlive)
	ln = &limited{Listener: ln, slots: make(chan struct{}, cfg.MaxConnections), closed: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		if cfg.TLS != nil {
			ended <- srv.ServeTLS(ln, "", "")
			return
		}
		ended <- srv.Serve(ln)
	}()
	select {
	case err := <-ended:
		close(closing)
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	close(closing)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancel()
	err = srv.Shutdown(drain)
	if err != nil {
		cfg.Logger.Warn("requests cut off at shutdown", zap.Error(err))
		_ = srv.Close() // the connections that did not end by themselves
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	}
	return nil
}

// TLSConfig reads what the server needs for TLS. With a CA file every client
// must show a certificate of that CA. A certificate and key that are renewed are
// taken at the next handshake; as long as they do not go together, the former
// pair is used, and log is told why, once for each change of the files. The CA
// file is read once.
func TLSConfig(certFile, keyFile, caFile string, log *zap.Logger) (*tls.Config, error) {
	if certFile == "" || keyFile == "" {
		return nil, fmt.Errorf("tls: [wsgi] ssl_cert_file and ssl_key_file: %w: both are needed", recovery.ErrInvalid)
	}
	pair := &keyPair{certFile: certFile, keyFile: keyFile, log: log}
	if err := pair.load(); err != nil {
		return nil, fmt.Errorf("tls: %s, %s: %w", certFile, keyFile, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
	if caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(caFile) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("tls: [wsgi] ssl_ca_file: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls: [wsgi] ssl_ca_file %s: %w: no certificate in it", caFile, recovery.ErrInvalid)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return cfg, nil
}

// keyPair is a certificate and its key, in files that may be renewed.
type keyPair struct {
	certFile, keyFile string
	log               *zap.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	seen   [2]fileState // of the files that were last tried
}

// fileState tells one writing of a file from another.
type fileState struct {
	modified time.Time
	size     int64
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info.ModTime(), info.Size()}
}

// load reads the files when they are not those that it last tried.
func (p *keyPair) load() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := [2]fileState{stateOf(p.certFile), stateOf(p.keyFile)}
	if p.loaded != nil && now == p.seen {
		return nil
	}
	p.seen = now
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	p.loaded = &cert
	return nil
}

func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if err := p.load(); err != nil { // the former pair serves until the new one is whole
		p.log.Warn("certificate not read, the former one is used", zap.String("cert_file", p.certFile), zap.String("key_file", p.keyFile), zap.Error(err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loaded, nil
}

// limited accepts a connection only when a slot is free.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotted{Conn: conn, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slotted gives its slot back when it is closed.
type slotted struct {
	net.Conn
	free func()
}

func (c *slotted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
