package novasim

import "net/http"

// images answers a request to the image service, which is served under /image
// and empty: the openstack command asks it for the names of servers' images
// and does not list servers without one.
func (k *call) images() answer {
	if len(k.segments) == 0 {
		return ok(map[string]any{"versions": []any{map[string]any{
			"id": "v2.15", "status": "CURRENT", "links": []any{map[string]any{"rel": "self", "href": k.base + "/v2/"}},
		}}})
	}
	k.token = k.c.valid(k.r.Header.Get("X-Auth-Token"))
	switch seg := k.segments; {
	case k.token == nil:
		return k.unauthorized()
	case k.r.Method == http.MethodGet && len(seg) == 2 && seg[0] == "v2" && seg[1] == "images":
		return ok(map[string]any{"images": []any{}, "first": "/v2/images", "schema": "/v2/schemas/images"})
	}
	return placementError(404, "No image found.")
}
