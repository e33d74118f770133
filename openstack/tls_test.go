package openstack_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// authority signs certificates into files of dir.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key, a.cert = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.pem and name.key.
func (a *authority) issue(name string, tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.Subject = pkix.Name{CommonName: name}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	write(a.t, a.path(name+".pem"), string(certPEM))
	write(a.t, a.path(name+".key"), string(keyPEM))
	write(a.t, a.path(name+"-both.pem"), string(certPEM)+string(keyPEM))
	return key, cert
}

func TestTLS(t *testing.T) {
	forget(t)
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, a.key)
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
	write(t, a.path("not.pem"), "no certificate")
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	start := func(clients tls.ClientAuthType) func(*httptest.Server) {
		return func(s *httptest.Server) {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: clients}
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
		}
	}
	tests := []struct {
		name    string
		clients tls.ClientAuthType
		change  func(o *openstack.Options)
		want    error
		text    []string
	}{
		{"own CA", tls.NoClientCert, func(o *openstack.Options) { o.CAFile = a.path("ca.pem") }, nil, nil},
		{"not verified", tls.NoClientCert, func(o *openstack.Options) { o.Insecure = true }, nil, nil},
		{"client certificate", tls.RequireAndVerifyClientCert, func(o *openstack.Options) {
			o.CAFile, o.CertFile, o.KeyFile = a.path("ca.pem"), a.path("client.pem"), a.path("client.key")
		}, nil, nil},
		{"client certificate and key in one file", tls.RequireAndVerifyClientCert, func(o *openstack.Options) {
			o.CAFile, o.CertFile = a.path("ca.pem"), a.path("client-both.pem")
		}, nil, nil},
		{"unknown authority", tls.NoClientCert, func(*openstack.Options) {}, recovery.ErrUnavailable, []string{"unknown authority", "name the cloud's CA file"}},
		{"client certificate missing", tls.RequireAndVerifyClientCert, func(o *openstack.Options) { o.CAFile = a.path("ca.pem") }, recovery.ErrUnavailable, []string{"certificate"}},
		{"CA file missing", tls.NoClientCert, func(o *openstack.Options) { o.CAFile = a.path("none.pem") }, recovery.ErrInvalid, []string{a.path("none.pem"), "no such file"}},
		{"CA file without certificate", tls.NoClientCert, func(o *openstack.Options) { o.CAFile = a.path("not.pem") }, recovery.ErrInvalid, []string{a.path("not.pem"), "no PEM certificate"}},
		{"key file missing", tls.NoClientCert, func(o *openstack.Options) {
			o.CertFile, o.KeyFile = a.path("client.pem"), a.path("none.key")
		}, recovery.ErrInvalid, []string{a.path("client.pem"), a.path("none.key")}},
		{"key of another certificate", tls.NoClientCert, func(o *openstack.Options) {
			o.CertFile, o.KeyFile = a.path("client.pem"), a.path("server.key")
		}, recovery.ErrInvalid, []string{a.path("client.pem"), a.path("server.key")}},
		{"key without certificate", tls.NoClientCert, func(o *openstack.Options) { o.KeyFile = a.path("client.key") }, recovery.ErrInvalid, []string{a.path("client.key")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newCloud(t, start(tt.clients))
			o := f.options()
			tt.change(&o)
			c, err := openstack.Connect(t.Context(), o)
			if !errors.Is(err, tt.want) {
				t.Fatalf("err = %v, want %v", err, tt.want)
			}
			for _, text := range tt.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("err = %q, want %q in it", err, text)
				}
			}
			if err == nil {
				c.Close()
			}
		})
	}

	f := newCloud(t, start(tls.RequireAndVerifyClientCert))
	file := filepath.Join(a.dir, "clouds.yaml")
	entry := "clouds: {c: {auth: {auth_url: '%s/v3', username: u, password: p, project_name: p}, cacert: %s, cert: %s, key: %s}}\n"
	write(t, file, fmt.Sprintf(entry, f.URL, a.path("ca.pem"), a.path("client.pem"), a.path("client.key")))
	c, err := openstack.Connect(t.Context(), openstack.Options{Cloud: "c", CloudsFile: file})
	if err != nil {
		t.Fatalf("clouds.yaml: %v", err)
	}
	c.Close()
}
