package openstack_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/wasakari/wasakari/openstack"
)

// Each request that goes out is told of with its answer, and takes along what
// the observer put into its header; the answer is there for us all the same.
func TestObserve(t *testing.T) {
	var mu sync.Mutex
	var told, header []string
	f := newCloud(t, nil)
	c := f.connect(func(o *openstack.Options) {
		o.Observe = func(service string, r *http.Request) (*http.Request, func(int, http.Header, error)) {
			r = r.Clone(r.Context())
			r.Header.Set("Traceparent", "00-x")
			return r, func(status int, header http.Header, err error) {
				mu.Lock()
				defer mu.Unlock()
				what := fmt.Sprint(service, " ", r.Method, " ", r.URL.Path, " ")
				if (err == nil) != (header != nil) {
					t.Errorf("%sheader %v, error %v", what, header, err)
				}
				if err != nil {
					told = append(told, what+"lost")
					return
				}
				told = append(told, fmt.Sprint(what, status))
			}
		}
	})
	tries := 0
	f.on(readServices, func(w http.ResponseWriter, r *http.Request) {
		header = append(header, r.Header.Get("Traceparent"))
		if tries++; tries == 1 {
			answer(w, 503, ``)
			return
		}
		answer(w, 200, `{"services": []}`)
	})
	f.on(stopServer, drop)
	if err := services(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := stop(t.Context(), c); err == nil || errors.Is(err, http.ErrAbortHandler) {
		t.Errorf("stop: %v", err)
	}
	want := []string{
		"keystone POST /v3/auth/tokens 201", "nova GET /v2.1/ 200",
		"nova GET /v2.1/os-services 503", "nova GET /v2.1/os-services 200", "nova POST /v2.1/servers/s1/action lost",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n got %q\nwant %q", told, want)
	}
	if !slices.Equal(header, []string{"00-x", "00-x"}) {
		t.Errorf("header that arrived = %q", header)
	}
}
