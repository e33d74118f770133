package engine

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

// UnreportedHost is a host of an enabled segment that Nova sees down, although
// no notification said so: it was sent while the store was away, or never.
type UnreportedHost struct {
	Host    recovery.Host           `json:"host"`
	Service recovery.ComputeService `json:"service"`
}

// Unreported compares Nova's services with the hosts of all enabled segments.
// Hosts that are on maintenance, or whose recovery is under way, are left out.
// Nothing is done about any: a person has to look.
func (e *Engine) Unreported(ctx context.Context) ([]UnreportedHost, error) {
	if e.cfg.Cloud == nil {
		return nil, nil
	}
	services, err := e.cfg.Cloud.Services(ctx, recovery.ServiceFilter{Binary: novaCompute})
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	down := map[string]recovery.ComputeService{}
	for _, s := range services {
		if s.Binary == novaCompute && (s.State == "down" || s.ForcedDown) {
			down[s.Host] = s
		}
	}
	if len(down) == 0 {
		return nil, nil
	}
	segments, err := e.cfg.Store.Segments(ctx)
	if err != nil {
		return nil, err
	}
	enabled := map[string]bool{}
	for _, s := range segments {
		enabled[s.UUID] = s.Enabled
	}
	queue, err := e.cfg.Store.Queue(ctx)
	if err != nil {
		return nil, err
	}
	for _, it := range queue {
		if it.Type == recovery.ComputeHost {
			delete(down, it.Host)
		}
	}
	hosts, err := e.cfg.Store.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	var out []UnreportedHost
	for _, h := range hosts {
		if s, ok := down[h.Name]; ok && enabled[h.SegmentUUID] && !h.OnMaintenance {
			out = append(out, UnreportedHost{Host: h, Service: s})
		}
	}
	return out, nil
}

// tellUnreported lists, after the store or this node was away, what nobody
// reported.
func (e *Engine) tellUnreported(ctx context.Context) {
	hosts, err := e.Unreported(ctx)
	if err != nil {
		e.log.Warn("unreported failures not known", zap.Error(err))
		return
	}
	for _, h := range hosts {
		e.log.Warn("host is down and nobody reported it", zap.String("host", h.Host.Name), zap.String("segment", h.Host.SegmentUUID),
			zap.String("service", h.Service.Status))
	}
	e.cfg.Observer.FoundUnreported(hosts)
}
