package oci

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/wasakari/wasakari/recovery"
)

// Types of the layout (CNCF TAG Runtime, "Wasm OCI Artifact layout").
const (
	ConfigType = "application/vnd.wasm.config.v0+json"
	LayerType  = "application/wasm"
)

const (
	maxManifest = 64 << 10
	maxConfig   = 64 << 10

	defaultTimeout   = 2 * time.Minute
	defaultMaxModule = 64 << 20
)

// Config says how registries are reached.
type Config struct {
	// RootCAs are trusted; nil: the system's.
	RootCAs *x509.CertPool
	// Credentials is a file in the form of Docker's config.json; empty: none are
	// sent.
	Credentials string
	// PlainHTTP lists registries, each HOST[:PORT], that are spoken to without TLS.
	PlainHTTP []string
	// Timeout bounds one Push or Pull; 0: two minutes.
	Timeout time.Duration
	// MaxModule bounds a module, in bytes; 0: 64 MiB.
	MaxModule int64
}

// Client talks to registries. It is safe for concurrent use.
type Client struct {
	cfg  Config
	auth *auth.Client
}

// DockerConfig gives the file in which Docker's clients keep what they log in
// with; env reads a variable of the environment.
func DockerConfig(env func(string) string, home string) string {
	if dir := env("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}

// New makes a client. It fails when the credentials cannot be read.
func New(cfg Config) (*Client, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxModule <= 0 {
		cfg.MaxModule = defaultMaxModule
	}
	c := &Client{cfg: cfg, auth: &auth.Client{
		Header: http.Header{"User-Agent": {"wasakari"}},
		Cache:  auth.NewCache(),
		Client: &http.Client{CheckRedirect: stayWithTLS, Transport: retry.NewTransport(&http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			DialContext:     (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig: &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 30 * time.Second,
		})},
	}}
	if cfg.Credentials != "" {
		if _, err := os.Stat(cfg.Credentials); err != nil {
			return nil, fmt.Errorf("credentials for registries: %w", err)
		}
		store, err := credentials.NewStore(cfg.Credentials, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("credentials for registries, %s: %w", cfg.Credentials, err)
		}
		c.auth.Credential = credentials.Credential(store)
	}
	return c, nil
}

const maxRedirects = 10

// stayWithTLS refuses to be led from TLS to what has none: who listens there
// could answer in the registry's place, and what a tag stands for is its word
// alone.
func stayWithTLS(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("the registry leads from TLS to %s, which has none", req.URL.Redacted())
	}
	return nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.auth.Client.CloseIdleConnections() }

func (c *Client) repository(r Reference) *remote.Repository {
	return &remote.Repository{
		Client: c.auth, Reference: r.ref, MaxMetadataBytes: maxManifest, SkipReferrersGC: true,
		PlainHTTP: slices.Contains(c.cfg.PlainHTTP, r.ref.Registry),
	}
}

// Artifact is a module in a registry.
type Artifact struct {
	// Reference names it by its digest.
	Reference Reference
	Wasm      []byte

	manifest []byte
}

// config is the document of type ConfigType. It holds nothing that is not in the
// module: the same module gives the same artifact.
type config struct {
	Created      string   `json:"created"`
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	LayerDigests []string `json:"layerDigests"`
}

// epoch is when every artifact was created.
const epoch = "1970-01-01T00:00:00Z"

// Describe is what an artifact says about its module, all of it optional.
type Describe struct{ Title, Version, Summary string }

// Push sends a module to where r says, under its tag when there is one. A digest
// in r has to be that of the artifact.
func (c *Client) Push(ctx context.Context, r Reference, wasm []byte, d Describe) (Reference, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	layer := content.NewDescriptorFromBytes(LayerType, wasm)
	doc, err := json.Marshal(config{Created: epoch, Architecture: "wasm", OS: "wasip1", LayerDigests: []string{layer.Digest.String()}})
	if err != nil {
		return r, err
	}
	conf := content.NewDescriptorFromBytes(ConfigType, doc)
	annotations := map[string]string{v1.AnnotationCreated: epoch}
	for name, value := range map[string]string{v1.AnnotationTitle: d.Title, v1.AnnotationVersion: d.Version, v1.AnnotationDescription: d.Summary} {
		if value != "" {
			annotations[name] = value
		}
	}
	text, err := json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: conf, Layers: []v1.Descriptor{layer}, Annotations: annotations,
	})
	if err != nil {
		return r, err
	}
	manifest := content.NewDescriptorFromBytes(v1.MediaTypeImageManifest, text)
	if want := r.Digest(); want != "" && want != manifest.Digest.String() {
		return r, fmt.Errorf("%s: %w: the artifact's digest is %s", r, recovery.ErrInvalid, manifest.Digest)
	}
	repo := c.repository(r)
	for _, b := range []struct {
		desc v1.Descriptor
		data []byte
	}{{layer, wasm}, {conf, doc}} {
		there, err := repo.Blobs().Exists(ctx, b.desc)
		if err == nil && !there {
			err = repo.Blobs().Push(ctx, b.desc, bytes.NewReader(b.data))
		}
		if err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
			return r, c.failed(ctx, r, err)
		}
	}
	name := r.tag
	if name == "" {
		name = manifest.Digest.String()
	}
	if err := repo.Manifests().PushReference(ctx, manifest, bytes.NewReader(text), name); err != nil {
		return r, c.failed(ctx, r, err)
	}
	return r.at(manifest.Digest), nil
}

// Pull fetches the module that r names. Everything is held against its digest;
// what is not an artifact with one module, or too large, is refused.
func (c *Client) Pull(ctx context.Context, r Reference) (Artifact, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	repo := c.repository(r)
	desc, err := repo.Resolve(ctx, r.ref.Reference)
	if err != nil {
		return Artifact{}, c.failed(ctx, r, err)
	}
	if desc.Size > maxManifest {
		return Artifact{}, fmt.Errorf("%s: %w: a manifest of %d bytes, at most %d", r, recovery.ErrTooLarge, desc.Size, maxManifest)
	}
	text, err := content.FetchAll(ctx, repo, desc)
	if err != nil {
		return Artifact{}, c.failed(ctx, r, err)
	}
	layer, err := c.layer(text)
	if err != nil {
		return Artifact{}, fmt.Errorf("%s: %w", r, err)
	}
	wasm, err := content.FetchAll(ctx, repo.Blobs(), layer)
	if err != nil {
		return Artifact{}, c.failed(ctx, r, err)
	}
	return Artifact{Reference: r.at(desc.Digest), Wasm: wasm, manifest: text}, nil
}

// layer finds the module in a manifest.
func (c *Client) layer(text []byte) (v1.Descriptor, error) {
	var m v1.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return v1.Descriptor{}, fmt.Errorf("%w: its manifest is none: %w", recovery.ErrInvalid, err)
	}
	if m.Config.MediaType != ConfigType {
		return v1.Descriptor{}, fmt.Errorf("%w: its config is of type %q, not %s: it is no wasm artifact; push modules with wasakari task push", recovery.ErrInvalid, recovery.Cut(m.Config.MediaType, 200), ConfigType)
	}
	if m.Config.Size > maxConfig {
		return v1.Descriptor{}, fmt.Errorf("%w: a config of %d bytes, at most %d", recovery.ErrTooLarge, m.Config.Size, maxConfig)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != LayerType {
		return v1.Descriptor{}, fmt.Errorf("%w: it has %d layers; want one, of type %s", recovery.ErrInvalid, len(m.Layers), LayerType)
	}
	layer := m.Layers[0]
	if err := layer.Digest.Validate(); err != nil || layer.Digest.Algorithm() != digest.SHA256 {
		return v1.Descriptor{}, fmt.Errorf("%w: its layer has digest %q, none of sha256", recovery.ErrInvalid, recovery.Cut(layer.Digest.String(), 100))
	}
	if layer.Size < 0 || layer.Size > c.cfg.MaxModule {
		return v1.Descriptor{}, fmt.Errorf("%w: a module of %d bytes, at most %d", recovery.ErrTooLarge, layer.Size, c.cfg.MaxModule)
	}
	return layer, nil
}

// failed says what a registry's refusal means.
func (c *Client) failed(ctx context.Context, r Reference, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("%s: %w: no answer within %s", r, recovery.ErrTimeout, c.cfg.Timeout)
		}
		return fmt.Errorf("%s: %w", r, cause)
	}
	kind := recovery.ErrUnavailable
	var hint string
	if e, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		switch e.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			kind, hint = recovery.ErrForbidden, "; log in with docker login or the like, or name a file of credentials"
		case http.StatusNotFound:
			kind = recovery.ErrNotFound
		}
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		kind = recovery.ErrNotFound
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData):
		kind = recovery.ErrInvalid
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		kind, hint = recovery.ErrForbidden, "; log in with docker login or the like, or name a file of credentials"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		hint = "; it speaks without TLS: when that is meant, give --plain-http, or write below [registries]: plain_http = " + r.Registry()
	}
	return fmt.Errorf("%s: %w: %w%s", r, kind, err, hint)
}
