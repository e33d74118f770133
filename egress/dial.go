package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/abi"
)

// maxAddresses bounds the addresses of one name that are tried.
const maxAddresses = 4

// addresses finds the addresses of a host that may be asked. They are looked
// up once: what was checked is what is dialled.
func (x *exchange) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return x.open(host, []netip.Addr{a})
	}
	found, err := x.names.LookupNetIP(ctx, "ip", host)
	switch {
	case ctx.Err() != nil:
		return nil, ended(ctx)
	case err != nil:
		reason := "the name server gave no answer" // whose address may be in err
		if de, ok := errors.AsType[*net.DNSError](err); ok && de.IsNotFound {
			reason = "no such host"
		}
		return nil, &partly{abi.Errorf(abi.ErrnoUnavailable, "looking up %s: %s", host, reason), fmt.Sprintf("looking up %s: %v", host, err)}
	case len(found) == 0:
		return nil, abi.Errorf(abi.ErrnoUnavailable, "looking up %s: it has no address", host)
	}
	return x.open(host, found)
}

// open keeps the addresses that may be asked. A tenant is not told others: it
// could find out by them what lies where inside.
func (x *exchange) open(host string, found []netip.Addr) ([]netip.Addr, error) {
	var list []netip.Addr
	var refused *abi.Error
	for _, a := range found {
		a = a.Unmap()
		what, never := insideOf(a, x.call.Networks)
		switch {
		case what == "":
			if !slices.Contains(list, a) && len(list) < maxAddresses {
				list = append(list, a)
			}
		case refused == nil:
			hint := ""
			if !never {
				to := a
				if v4, ok := carried(a); ok && holds(x.call.Networks, a) {
					to = v4 // what is left to grant
				}
				hint = fmt.Sprintf("; to allow it, the operator grants net:%s", netip.PrefixFrom(to, to.BitLen()))
			}
			refused = abi.Errorf(abi.ErrnoForbidden, "%s: %s is %s%s", host, a, what, hint)
		}
	}
	switch {
	case len(list) > 0:
		return list, nil
	case x.call.Tenant != "":
		told := abi.Errorf(abi.ErrnoForbidden, "%s has an address that is not public and was not granted", host)
		return nil, &partly{told, refused.Message}
	}
	return nil, refused
}

// connect opens a connection over which m can be sent: for https, one whose
// other end has proved who it is. It closes when ctx ends.
func (x *exchange) connect(ctx context.Context, m *message, r *reply) (net.Conn, error) {
	conn, err := x.reach(ctx, m, r)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // nothing is left to be said over it
	if m.url.Scheme != "https" {
		return conn, nil
	}
	t := tls.Client(conn, x.tlsConfig(m))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the error that matters is told
		return nil, failure(ctx, m, err)
	}
	return t, nil
}

// reach opens a connection to one of the addresses of m's host.
func (x *exchange) reach(ctx context.Context, m *message, r *reply) (net.Conn, error) {
	list, err := x.addresses(ctx, m.url.Hostname())
	if err != nil {
		return nil, err
	}
	port := m.url.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[m.url.Scheme]
	}
	var errs []error
	var told []string
	for i, a := range list {
		// The first ones leave some of the time to those that follow.
		actx, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok {
			actx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(list)-i))
		}
		r.address = net.JoinHostPort(a.String(), port)
		conn, err := x.dialOut(actx, r.address)
		cancel()
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		errs = append(errs, err)
		if text := x.told(err); !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	return nil, &partly{
		abi.Errorf(abi.ErrnoUnavailable, "connecting to %s: %s", m.url.Host, strings.Join(told, "; ")),
		fmt.Sprintf("connecting to %s: %s", m.url.Host, strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")),
	}
}

// told is what the guest may know of why an address could not be reached: where
// the proxy is, no one; which address was asked, no tenant.
func (x *exchange) told(err error) string {
	if s, ok := errors.AsType[proxyStatus](err); ok {
		return "proxy: " + s.Error()
	}
	if x.proxy != nil {
		return "the proxy could not be reached"
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok && x.call.Tenant != "" {
		return oe.Err.Error()
	}
	return err.Error()
}

// proxyStatus is what a proxy answered instead of connecting.
type proxyStatus int

func (s proxyStatus) Error() string { return "it answered " + strconv.Itoa(int(s)) }

// dialOut connects to an address, through the proxy when there is one.
func (x *exchange) dialOut(ctx context.Context, address string) (net.Conn, error) {
	if x.proxy == nil {
		return x.dial(ctx, "tcp", address)
	}
	port := x.proxy.Port()
	if port == "" {
		port = "80"
	}
	conn, err := x.dial(ctx, "tcp", net.JoinHostPort(x.proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = tunnel(conn, x.proxy, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // the error that matters is told
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return conn, nil
}

// tunnel asks a proxy for a connection to an address.
func tunnel(conn net.Conn, proxy *url.URL, address string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	// The other end of the tunnel speaks after us, so that nothing behind the
	// answer is lost with the reader.
	const most = 16 << 10
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, most)), req) //nolint:bodyclose // closing reads what is left; the connection goes instead
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return proxyStatus(resp.StatusCode)
	}
	return nil
}
