package novasim_test

import (
	"testing"

	"github.com/wasakari/wasakari/novasim"
)

// The openstack command lists no servers of a cloud without an image service.
func TestImages(t *testing.T) {
	t.Parallel()
	s := setup(t, "images: true\nhosts: [{name: compute-1}]\n", novasim.Options{})
	var list struct {
		Images []any `json:"images"`
	}
	s.want(200, "", "GET", "/image/v2/images", "").json(t, &list)
	if list.Images == nil || len(list.Images) != 0 {
		t.Errorf("images = %v, want an empty list", list.Images)
	}
	s.want(200, "", "GET", "/image/", "")
	s.want(404, "", "GET", "/image/v2/images/none", "")
}
