package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasakari/wasakari/recovery"
)

// Nova's default osapi_max_limit. Where it is set lower, pages are smaller.
const pageSize = "1000"

// Server reads one server. A document that is only a part of it, which Nova
// gives from 2.69 on while the server's cell does not answer, is
// recovery.ErrUnavailable: it would look like a server without lock and host.
func (c *Client) Server(ctx context.Context, id string) (recovery.Server, error) {
	op := "get server " + short(id)
	path, err := segment(op, id)
	if err != nil {
		return recovery.Server{}, err
	}
	a, err := c.call(ctx, read, op, http.MethodGet, "servers/"+path, c.at(lockVersion), nil)
	if err != nil {
		return recovery.Server{}, err
	}
	s, err := one[recovery.Server](c, op, a, "server")
	switch {
	case err != nil:
		return recovery.Server{}, err
	case s.ID == "":
		return recovery.Server{}, c.badAnswer(op, a, errors.New("the server has no id"))
	case s.Status == "UNKNOWN" && s.VMState == "":
		return recovery.Server{}, &recovery.CloudError{
			Op: op, Status: a.status, RequestID: a.requestID, Err: recovery.ErrUnavailable,
			Message: "nova shows only a part of the server: its cell does not answer",
		}
	}
	return s, nil
}

// Servers hands every page of the list of servers, of all projects, to page,
// and ends with the first error that page returns.
func (c *Client) Servers(ctx context.Context, f recovery.ServerFilter, page func([]recovery.Server) error) error {
	q := query(param{"host", f.Host}, param{"status", f.Status}, param{"name", f.Name}, param{"project_id", f.Tenant})
	q.Set("all_tenants", "True")
	q.Set("limit", pageSize)
	if !f.ChangedSince.IsZero() {
		q.Set("changes-since", f.ChangedSince.UTC().Format(time.RFC3339))
	}
	return pages(ctx, c, "list servers", "servers/detail", q, c.at(lockVersion), "servers",
		func(s recovery.Server) string { return s.ID }, page)
}

// Actions lists what was done to a server, newest first.
func (c *Client) Actions(ctx context.Context, id string) ([]recovery.ServerAction, error) {
	op := "list actions of server " + short(id)
	path, err := segment(op, id)
	if err != nil {
		return nil, err
	}
	// At 2.58 the list comes in pages; at 2.53 it is whole.
	return all(ctx, c, op, "servers/"+path+"/os-instance-actions", nil, c.at(baseVersion), "instanceActions",
		func(a recovery.ServerAction) string { return a.RequestID + a.Action })
}

// Evacuate rebuilds a server of a failed host on host, or, when that is empty,
// where the scheduler chooses. The request id is the one that the action bears
// in Actions. That Nova still sees the server's host up, or the server on a
// live host already, is recovery.ErrConflict.
func (c *Client) Evacuate(ctx context.Context, id, host string) (string, error) {
	args := map[string]any{}
	if host != "" {
		args["host"] = host
	}
	requestID, err := c.act(ctx, "evacuate", id, baseVersion, "evacuate", args)
	// Nova answers 400 to what is a matter of state, not of the request.
	if e, ok := errors.AsType[*recovery.CloudError](err); ok && e.Status == http.StatusBadRequest && strings.Contains(e.Message, "still in use") {
		e.Err = recovery.ErrConflict
	}
	return requestID, err
}

// Stop shuts a server down.
func (c *Client) Stop(ctx context.Context, id string) (string, error) {
	return c.act(ctx, "stop", id, baseVersion, "os-stop", nil)
}

// Start boots a server that is stopped.
func (c *Client) Start(ctx context.Context, id string) (string, error) {
	return c.act(ctx, "start", id, baseVersion, "os-start", nil)
}

// Reboot reboots a server. kind is SOFT or HARD; empty means SOFT.
func (c *Client) Reboot(ctx context.Context, id, kind string) (string, error) {
	if kind == "" {
		kind = "SOFT"
	}
	return c.act(ctx, "reboot", id, baseVersion, "reboot", map[string]any{"type": kind})
}

// Lock locks a server. A Nova before 2.73 does not keep the reason.
func (c *Client) Lock(ctx context.Context, id, reason string) (string, error) {
	if reason == "" || c.at(lockVersion) < lockVersion {
		return c.act(ctx, "lock", id, baseVersion, "lock", nil)
	}
	return c.act(ctx, "lock", id, lockVersion, "lock", map[string]any{"locked_reason": reason})
}

// Unlock takes the lock off a server, whoever put it there.
func (c *Client) Unlock(ctx context.Context, id string) (string, error) {
	return c.act(ctx, "unlock", id, baseVersion, "unlock", nil)
}

// ResetState sets the vm_state of a server to error or active and clears its
// task_state.
func (c *Client) ResetState(ctx context.Context, id, state string) (string, error) {
	return c.act(ctx, "reset state of", id, baseVersion, "os-resetState", map[string]any{"state": state})
}

// Migrate moves a server while it is off, to host, which needs microversion
// 2.56, or, when that is empty, where the scheduler chooses.
func (c *Client) Migrate(ctx context.Context, id, host string) (string, error) {
	if host == "" {
		return c.act(ctx, "migrate", id, baseVersion, "migrate", nil)
	}
	const targeted = 56
	if c.max < targeted {
		return "", &recovery.CloudError{
			Op: "migrate server " + short(id), Err: recovery.ErrInvalid,
			Message: fmt.Sprintf("this nova cannot take a target host: it offers microversions up to 2.%d, and that needs 2.%d", c.max, targeted),
		}
	}
	return c.act(ctx, "migrate", id, targeted, "migrate", map[string]any{"host": host})
}

// LiveMigrate moves a running server to host, or, when that is empty, where the
// scheduler chooses. blockMigration is auto, true or false; empty means auto.
func (c *Client) LiveMigrate(ctx context.Context, id, host, blockMigration string) (string, error) {
	args := map[string]any{"host": nil, "block_migration": "auto"}
	if host != "" {
		args["host"] = host
	}
	switch blockMigration {
	case "", "auto":
	case "true", "false":
		args["block_migration"] = blockMigration == "true"
	default:
		return "", &recovery.CloudError{
			Op: "live-migrate server " + short(id), Err: recovery.ErrInvalid,
			Message: fmt.Sprintf("block migration %q: want auto, true or false", recovery.Shorten(recovery.OneLine(blockMigration), 20)),
		}
	}
	return c.act(ctx, "live-migrate", id, baseVersion, "os-migrateLive", args)
}

// act sends an action of a server and returns the request id. nil args are
// sent as null.
func (c *Client) act(ctx context.Context, verb, id string, minorVersion int, action string, args map[string]any) (string, error) {
	op := verb + " server " + short(id)
	path, err := segment(op, id)
	if err != nil {
		return "", err
	}
	body := map[string]any{action: nil}
	if args != nil {
		body[action] = args
	}
	a, err := c.call(ctx, change, op, http.MethodPost, "servers/"+path+"/action", c.at(minorVersion), body)
	return a.requestID, err
}

// Services lists the services of Nova: nova-compute, nova-conductor and so on.
func (c *Client) Services(ctx context.Context, f recovery.ServiceFilter) ([]recovery.ComputeService, error) {
	return all(ctx, c, "list compute services", "os-services", query(param{"host", f.Host}, param{"binary", f.Binary}), c.at(baseVersion), "services",
		func(s recovery.ComputeService) string { return s.ID })
}

// UpdateService changes a service and returns it as it then is, and the request
// id.
func (c *Client) UpdateService(ctx context.Context, id string, u recovery.ServiceUpdate) (recovery.ComputeService, string, error) {
	op := "update compute service " + short(id)
	path, err := segment(op, id)
	if err != nil {
		return recovery.ComputeService{}, "", err
	}
	body := map[string]any{}
	if u.Status != "" {
		body["status"] = u.Status
	}
	if u.DisabledReason != "" {
		body["disabled_reason"] = u.DisabledReason
	}
	if u.ForcedDown != nil {
		body["forced_down"] = *u.ForcedDown
	}
	a, err := c.call(ctx, change, op, http.MethodPut, "os-services/"+path, c.at(baseVersion), body)
	if err != nil {
		return recovery.ComputeService{}, "", err
	}
	s, err := one[recovery.ComputeService](c, op, a, "service")
	return s, a.requestID, unsure(err)
}

// Aggregates lists the host aggregates.
func (c *Client) Aggregates(ctx context.Context) ([]recovery.Aggregate, error) {
	return all(ctx, c, "list aggregates", "os-aggregates", nil, c.at(baseVersion), "aggregates",
		func(a recovery.Aggregate) string { return number(a.ID) })
}

// AddAggregateHost puts a host into an aggregate.
func (c *Client) AddAggregateHost(ctx context.Context, id int, host string) (string, error) {
	return c.actAggregate(ctx, "add", "to", "add_host", id, host)
}

// RemoveAggregateHost takes a host out of an aggregate.
func (c *Client) RemoveAggregateHost(ctx context.Context, id int, host string) (string, error) {
	return c.actAggregate(ctx, "remove", "from", "remove_host", id, host)
}

func (c *Client) actAggregate(ctx context.Context, verb, prep, action string, id int, host string) (string, error) {
	op := fmt.Sprintf("%s host %s %s aggregate %d", verb, short(host), prep, id)
	a, err := c.call(ctx, change, op, http.MethodPost, "os-aggregates/"+strconv.Itoa(id)+"/action", c.at(baseVersion),
		map[string]any{action: map[string]any{"host": host}})
	return a.requestID, err
}

// Hypervisors lists the hypervisors of a compute host, or all when host is
// empty.
func (c *Client) Hypervisors(ctx context.Context, host string) ([]recovery.Hypervisor, error) {
	// Nova's own filter takes parts of names, cannot be paged, and answers 404
	// when nothing matches.
	var found []recovery.Hypervisor
	err := pages(ctx, c, "list hypervisors", "os-hypervisors/detail", query(param{"limit", pageSize}), c.at(baseVersion), "hypervisors",
		func(h recovery.Hypervisor) string { return h.ID },
		func(page []recovery.Hypervisor) error {
			for _, h := range page {
				if host == "" || h.Service.Host == host {
					found = append(found, h)
				}
			}
			return nil
		})
	return found, err
}

// Migrations lists moves of servers, evacuations among them, newest first. A
// Nova before 2.59 does not tell their UUID.
func (c *Client) Migrations(ctx context.Context, f recovery.MigrationFilter) ([]recovery.Migration, error) {
	q := query(param{"instance_uuid", f.InstanceUUID}, param{"source_compute", f.SourceCompute}, param{"migration_type", f.Type}, param{"status", f.Status})
	id := func(m recovery.Migration) string { return number(m.ID) }
	if c.at(migrationVersion) >= migrationVersion {
		q.Set("limit", pageSize)
		// What is older than the column has no UUID.
		id = func(m recovery.Migration) string { return cmp.Or(m.UUID, number(m.ID)) }
	}
	found, err := all(ctx, c, "list migrations", "os-migrations", q, c.at(migrationVersion), "migrations", id)
	// Before 2.59 Nova promises no order.
	slices.SortStableFunc(found, func(a, b recovery.Migration) int { return cmp.Compare(b.ID, a.ID) })
	return found, err
}

// all collects every page.
func all[T any](ctx context.Context, c *Client, op, path string, q url.Values, minorVersion int, key string, id func(T) string) ([]T, error) {
	var found []T
	err := pages(ctx, c, op, path, q, minorVersion, key, id, func(page []T) error {
		found = append(found, page...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// unsure marks a change that succeeded with an answer that cannot be read.
func unsure(err error) error {
	if e, ok := errors.AsType[*recovery.CloudError](err); ok {
		e.Err = fmt.Errorf("%w: %w", recovery.ErrUnknownOutcome, e.Err)
	}
	return err
}

// segment makes an id from outside one segment of a path.
func segment(op, id string) (string, error) {
	if id == "" || id == "." || id == ".." || len(id) > 255 {
		return "", &recovery.CloudError{Op: op, Message: fmt.Sprintf("%q is no id", short(id)), Err: recovery.ErrInvalid}
	}
	return url.PathEscape(id), nil
}

// short makes an id from outside fit for a message.
func short(id string) string { return recovery.Shorten(recovery.OneLine(id), 64) }

// param is a parameter of a request.
type param struct{ name, value string }

// query makes the parameters that are not empty.
func query(params ...param) url.Values {
	q := url.Values{}
	for _, p := range params {
		if p.value != "" {
			q.Set(p.name, p.value)
		}
	}
	return q
}

// number is an id that Nova counts, empty for the zero of a missing one.
func number(id int) string {
	if id == 0 {
		return ""
	}
	return strconv.Itoa(id)
}
