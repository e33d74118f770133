package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/wasakari/wasakari/recovery"
)

// ErrNoPlacement says that the catalog has no Placement in the region and with
// the interface of Nova.
var ErrNoPlacement = errors.New("no placement service")

// Inventories reads what a resource provider has, by resource class. A compute
// host's provider has the id of its hypervisor. Where there is no Placement,
// the error of this method and the next two wraps ErrNoPlacement and
// recovery.ErrNotFound.
func (c *Client) Inventories(ctx context.Context, provider string) (map[string]recovery.Inventory, error) {
	return placed[map[string]recovery.Inventory](ctx, c, "inventories", provider)
}

// Usages reads how much of a resource provider is given out.
func (c *Client) Usages(ctx context.Context, provider string) (recovery.Resources, error) {
	return placed[recovery.Resources](ctx, c, "usages", provider)
}

// Allocations reads what a resource provider gave to whom, by consumer: the
// uuids of servers. What a server has of other providers, those nested in the
// host's included, is not in it.
func (c *Client) Allocations(ctx context.Context, provider string) (map[string]recovery.Resources, error) {
	raw, err := placed[map[string]struct {
		Resources recovery.Resources `json:"resources"`
	}](ctx, c, "allocations", provider)
	if err != nil {
		return nil, err
	}
	out := make(map[string]recovery.Resources, len(raw))
	for consumer, a := range raw {
		out[consumer] = a.Resources
	}
	return out, nil
}

// placed reads one document about a provider, at Placement's first
// microversion.
func placed[T any](ctx context.Context, c *Client, what, provider string) (T, error) {
	var zero T
	op := what + " of resource provider " + short(provider)
	path, err := segment(op, provider)
	if err != nil {
		return zero, err
	}
	endpoint, err := c.placement(op)
	if err != nil {
		return zero, err
	}
	a, err := c.send(ctx, aside, op, http.MethodGet, endpoint+"resource_providers/"+path+"/"+what, 0, nil)
	if err != nil {
		return zero, err
	}
	return one[T](c, op, a, what)
}

// placement finds Placement in the catalog.
func (c *Client) placement(op string) (string, error) {
	where, _ := availability(c.iface)
	endpoint, err := c.provider.EndpointLocator(gophercloud.EndpointOpts{Type: "placement", Region: c.region, Availability: where})
	if err != nil {
		return "", &recovery.CloudError{
			Op: op, Message: "there is no placement service in the catalog",
			Err: fmt.Errorf("%w: %w", ErrNoPlacement, recovery.ErrNotFound),
		}
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", &recovery.CloudError{Op: op, Message: fmt.Sprintf("endpoint %q of placement is no URL of a service", redacted(endpoint)), Err: recovery.ErrInvalid}
	}
	u.RawQuery, u.Fragment = "", ""
	return strings.TrimSuffix(u.String(), "/") + "/", nil
}

// detail finds the text in the body of an error of Placement: {"errors":
// [{"detail": …}]}.
func detail(raw json.RawMessage) string {
	var list []struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return ""
	}
	return list[0].Detail
}
