package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wasakari/wasakari/openstack"
	"github.com/wasakari/wasakari/recovery"
)

// capacity says whether other hosts have room for the servers of one.
type capacity struct {
	Known  bool   `json:"known"`
	Reason string `json:"reason"` // why it is not known
	// Needed is what the servers that would be moved have now; Unmeasured of
	// them have nothing at Placement.
	Needed       recovery.Resources `json:"needed"`
	Unmeasured   int                `json:"unmeasured"`
	Hosts        []hostRoom         `json:"hosts"`
	Free         recovery.Resources `json:"free"`          // of the other hosts that are up and enabled
	FreeReserved recovery.Resources `json:"free_reserved"` // of the reserved hosts
	// Unplaced are the servers for which no host has room when they are given
	// out one after the other, each to the host with the most memory free.
	Unplaced []string `json:"unplaced"`
}

// hostRoom is what one host has to give.
type hostRoom struct {
	Host     string             `json:"host"`
	Zone     string             `json:"zone"`
	State    string             `json:"state"`
	Reserved bool               `json:"reserved"`
	Free     recovery.Resources `json:"free"`
	most     recovery.Resources // for one server
}

// roomFinder asks Placement.
type roomFinder struct {
	cloud    *openstack.Client
	host     string // that is to die
	services []recovery.ComputeService
	reserved []string // in the order in which they are tried
	kinds    []recovery.FlowKind
}

// placementReads is how many hosts Placement is asked about at a time.
const placementReads = 8

// find measures need and room. What Placement does not tell is no error: then
// the capacity is not known.
func (f roomFinder) find(ctx context.Context, servers []plannedServer) (capacity, error) {
	c := capacity{Needed: recovery.Resources{}, Hosts: []hostRoom{}, Free: recovery.Resources{}, FreeReserved: recovery.Resources{}, Unplaced: []string{}}
	err := f.measure(ctx, servers, &c)
	switch {
	case err == nil:
		c.Known = true
	case ctx.Err() != nil:
		return c, err
	case errors.Is(err, openstack.ErrNoPlacement):
		c.Reason = "no placement service"
	default:
		c.Reason = err.Error()
	}
	return c, nil
}

func (f roomFinder) measure(ctx context.Context, servers []plannedServer, c *capacity) error {
	hypervisors, err := f.cloud.Hypervisors(ctx, "")
	if err != nil {
		return err
	}
	providers := map[string][]string{} // by host: a host may have several, as Ironic's do
	for _, h := range hypervisors {
		providers[h.Service.Host] = append(providers[h.Service.Host], h.ID)
	}
	if len(providers[f.host]) == 0 {
		return fmt.Errorf("host %s has no hypervisor: %w", f.host, recovery.ErrNotFound)
	}
	given := map[string]recovery.Resources{} // by server
	for _, p := range providers[f.host] {
		all, err := f.cloud.Allocations(ctx, p)
		if err != nil {
			return err
		}
		maps.Copy(given, all)
	}
	var group errgroup.Group
	group.SetLimit(placementReads)
	var mu sync.Mutex
	for _, s := range f.services {
		reserved := slices.Contains(f.reserved, s.Host)
		if s.Host == f.host || s.State != "up" || s.Status != "enabled" && !reserved {
			continue
		}
		group.Go(func() error {
			room := hostRoom{Host: s.Host, Zone: s.Zone, State: s.State + ", " + s.Status, Reserved: reserved, Free: recovery.Resources{}, most: recovery.Resources{}}
			for _, p := range providers[s.Host] {
				if err := room.read(ctx, f.cloud, p); err != nil {
					return fmt.Errorf("host %s: %w", s.Host, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			c.Hosts = append(c.Hosts, room)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	slices.SortFunc(c.Hosts, func(a, b hostRoom) int { return strings.Compare(a.Host, b.Host) })
	for _, h := range c.Hosts {
		sum := c.Free
		if h.Reserved {
			sum = c.FreeReserved
		}
		for class, n := range h.Free {
			sum[class] += n
		}
	}
	f.place(servers, given, c)
	return nil
}

// read adds what a provider has to give.
func (r *hostRoom) read(ctx context.Context, cloud *openstack.Client, provider string) error {
	inventories, err := cloud.Inventories(ctx, provider)
	if err != nil {
		return err
	}
	used, err := cloud.Usages(ctx, provider)
	if err != nil {
		return err
	}
	for class, i := range inventories {
		r.Free[class] += max(i.Capacity()-used[class], 0)
		r.most[class] = max(r.most[class], i.MaxUnit)
	}
	return nil
}

// place gives the servers that would be moved out to the hosts, as the flows
// would.
func (f roomFinder) place(servers []plannedServer, given map[string]recovery.Resources, c *capacity) {
	left := map[string]recovery.Resources{}
	for _, h := range c.Hosts {
		left[h.Host] = maps.Clone(h.Free)
	}
	for _, s := range servers {
		if s.Status == wouldLeave {
			continue
		}
		need, measured := given[s.ID]
		if !measured {
			c.Unmeasured++
			continue
		}
		for class, n := range need {
			c.Needed[class] += n
		}
		h, ok := f.choose(c.Hosts, left, need)
		if !ok {
			c.Unplaced = append(c.Unplaced, s.ID)
			continue
		}
		for class, n := range need {
			left[h][class] -= n
		}
	}
}

// choose finds a host with room: the first reserved one, or of the others that
// with the most memory free, in the order of the flows.
func (f roomFinder) choose(hosts []hostRoom, left map[string]recovery.Resources, need recovery.Resources) (string, bool) {
	fits := func(h hostRoom) bool {
		for class, n := range need {
			if left[h.Host][class] < n || h.most[class] < n {
				return false
			}
		}
		return true
	}
	for _, kind := range f.kinds {
		best := ""
		for _, h := range hosts {
			if h.Reserved != (kind == recovery.HostReserved) || !fits(h) {
				continue
			}
			switch {
			case best == "",
				h.Reserved && slices.Index(f.reserved, h.Host) < slices.Index(f.reserved, best),
				!h.Reserved && left[h.Host]["MEMORY_MB"] > left[best]["MEMORY_MB"]:
				best = h.Host
			}
		}
		if best != "" {
			return best, true
		}
	}
	return "", false
}

// text prints the capacity for a person.
func (c capacity) text(line func(format string, args ...any)) {
	if !c.Known {
		line("capacity unknown: %s", c.Reason)
		return
	}
	count := func(reserved bool) int {
		n := 0
		for _, h := range c.Hosts {
			if h.Reserved == reserved {
				n++
			}
		}
		return n
	}
	line("capacity: the servers that move have %s", amounts(c.Needed, nil))
	line("  free on other hosts that are up and enabled (%d): %s", count(false), amounts(c.Free, c.Needed))
	if n := count(true); n > 0 {
		line("  free on reserved hosts (%d): %s", n, amounts(c.FreeReserved, c.Needed))
	}
	if c.Unmeasured > 0 {
		line("  %d servers have no allocation at Placement and are not counted", c.Unmeasured)
	}
	if len(c.Unplaced) > 0 {
		line("  too little: no host has room for %d of them: %s", len(c.Unplaced), strings.Join(c.Unplaced, ", "))
	} else {
		line("  enough, if nothing but room decides")
	}
}

// amounts lists resources by class, all or those in only.
func amounts(r, only recovery.Resources) string {
	var list []string
	for _, class := range slices.Sorted(maps.Keys(r)) {
		if _, ok := only[class]; ok || len(only) == 0 {
			list = append(list, fmt.Sprintf("%d %s", r[class], class))
		}
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
