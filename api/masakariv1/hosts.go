package masakariv1

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/wasakari/wasakari/recovery"
)

type hostDoc struct {
	ID                int64      `json:"id"`
	UUID              string     `json:"uuid"`
	Name              string     `json:"name"`
	FailoverSegmentID string     `json:"failover_segment_id"`
	FailoverSegment   segmentDoc `json:"failover_segment"`
	Type              string     `json:"type"`
	Reserved          bool       `json:"reserved"`
	ControlAttributes string     `json:"control_attributes"`
	OnMaintenance     bool       `json:"on_maintenance"`
	stampDoc
}

func describeHost(h recovery.Host, s recovery.Segment) hostDoc {
	return hostDoc{
		ID: h.Stamp.ID, UUID: h.UUID, Name: h.Name, FailoverSegmentID: h.SegmentUUID, FailoverSegment: describeSegment(s), Type: h.Type,
		Reserved: h.Reserved, ControlAttributes: h.ControlAttributes, OnMaintenance: h.OnMaintenance, stampDoc: describeStamp(h.Stamp),
	}
}

func oneHost(h recovery.Host, s recovery.Segment) any {
	return map[string]hostDoc{"host": describeHost(h, s)}
}

func hostStamp(h *recovery.Host) *recovery.Stamp { return &h.Stamp }

var hostColumns = stamped(columns[recovery.Host]{
	"uuid":                text(func(h *recovery.Host) string { return h.UUID }),
	"name":                text(func(h *recovery.Host) string { return h.Name }),
	"type":                text(func(h *recovery.Host) string { return h.Type }),
	"control_attributes":  text(func(h *recovery.Host) string { return h.ControlAttributes }),
	"failover_segment_id": text(func(h *recovery.Host) string { return h.SegmentUUID }),
	"reserved":            flag(func(h *recovery.Host) bool { return h.Reserved }),
	"on_maintenance":      flag(func(h *recovery.Host) bool { return h.OnMaintenance }),
}, hostStamp)

func listHosts(c *call) (any, error) {
	l, err := parseListing(c.query, c.cfg.MaxLimit)
	if err != nil {
		return nil, err
	}
	s, err := c.segment()
	if err != nil {
		return nil, err
	}
	maintained, byMaintenance, err := strictFlag(c.query, "on_maintenance")
	if err != nil {
		return nil, err
	}
	reserved, byReserved, err := strictFlag(c.query, "reserved")
	if err != nil {
		return nil, err
	}
	all, err := c.cfg.Store.Hosts(c.ctx())
	if err != nil {
		return nil, err
	}
	kept, err := page(l, inAnyOrder(all), hostColumns, hostStamp, func(h *recovery.Host) bool {
		return h.SegmentUUID == s.UUID && equals(c.query, "type")(h.Type) &&
			(!byMaintenance || h.OnMaintenance == maintained) && (!byReserved || h.Reserved == reserved)
	})
	if err != nil {
		return nil, err
	}
	docs := make([]hostDoc, len(kept))
	for i, h := range kept {
		docs[i] = describeHost(h, s)
	}
	return map[string][]hostDoc{"hosts": docs}, nil
}

// noHost says that the host of the path is not in the segment of the path.
func (c *call) noHost() error {
	return faultf(http.StatusNotFound, "Host '%s' under failover_segment '%s' could not be found.", c.params["host_id"], c.params["segment_id"])
}

// host gives the host and segment that the path names.
func (c *call) host() (recovery.Host, recovery.Segment, error) {
	if !uuidLike(c.params["host_id"]) || !uuidLike(c.params["segment_id"]) {
		return recovery.Host{}, recovery.Segment{}, c.noHost()
	}
	h, err := c.cfg.Store.Host(c.ctx(), c.params["host_id"])
	if errors.Is(err, recovery.ErrNotFound) || err == nil && h.SegmentUUID != c.params["segment_id"] {
		return recovery.Host{}, recovery.Segment{}, c.noHost()
	}
	if err != nil {
		return recovery.Host{}, recovery.Segment{}, err
	}
	s, err := c.cfg.Store.Segment(c.ctx(), h.SegmentUUID)
	if errors.Is(err, recovery.ErrNotFound) {
		err = c.noHost() // deleted in between
	}
	return h, s, err
}

func showHost(c *call) (any, error) {
	if id := c.params["host_id"]; !uuidLike(id) {
		return nil, faultf(http.StatusNotFound, "No host with id %s.", id)
	}
	h, s, err := c.host()
	if err != nil {
		return nil, err
	}
	return oneHost(h, s), nil
}

// checkName asks Nova whether there is such a compute host.
func (c *call) checkName(name string) error {
	ok, err := c.cfg.Nova.HostExists(c.ctx(), name)
	if err == nil {
		if !ok {
			return faultf(http.StatusBadRequest, "Compute service with name %s could not be found.", name)
		}
		return nil
	}
	if context.Cause(c.ctx()) != nil {
		return err
	}
	c.log.Error("host not checked", zap.String("request_id", c.info.ID), zap.String("host", name), zap.Error(err))
	if cloud, ok := errors.AsType[*recovery.CloudError](err); ok && cloud.Status == http.StatusForbidden {
		return faultf(http.StatusForbidden, "%s", cloud.Message)
	}
	return faultf(http.StatusInternalServerError, "The compute service could not be asked about host %s.", name)
}

func hostExists(name string) error {
	return faultf(http.StatusConflict, "Host with name %s already exists.", name)
}

// changeHost puts what a checked body names into h.
func changeHost(in value, h *recovery.Host) {
	for i, key := range in.keys {
		item := in.items[i]
		switch key {
		case "name":
			h.Name = item.text
		case "type":
			h.Type = item.text
		case "control_attributes":
			h.ControlAttributes = item.text
		case "reserved":
			h.Reserved = in.flag(key, h.Reserved)
		case "on_maintenance":
			h.OnMaintenance = in.flag(key, h.OnMaintenance)
		}
	}
}

func createHost(c *call) (any, error) {
	s, err := c.segment()
	if err != nil {
		return nil, err
	}
	in, _ := c.body.get("host")
	h := recovery.Host{UUID: uuid.NewString(), SegmentUUID: s.UUID}
	changeHost(in, &h)
	if err := c.checkName(h.Name); err != nil {
		return nil, err
	}
	made, err := c.cfg.Store.CreateHost(c.ctx(), h)
	switch {
	case errors.Is(err, recovery.ErrExists):
		return nil, hostExists(h.Name)
	case errors.Is(err, recovery.ErrNotFound):
		return nil, noSegment(s.UUID) // deleted in between
	case err != nil:
		return nil, err
	}
	c.info.Target = made.UUID
	return oneHost(made, s), nil
}

func updateHost(c *call) (any, error) {
	c.info.Target = c.params["host_id"]
	h, s, err := c.host()
	if err != nil {
		return nil, err
	}
	in, _ := c.body.get("host")
	_, unchecked := in.get("name")
	made, err := c.cfg.Store.UpdateHost(c.ctx(), h.UUID, func(h *recovery.Host) error {
		// Here, because a host in use is refused before Nova is asked.
		if unchecked {
			if err := c.checkName(in.str("name")); err != nil {
				return err
			}
			unchecked = false
		}
		changeHost(in, h)
		return nil
	})
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		return nil, c.noHost()
	case errors.Is(err, recovery.ErrInUse):
		return nil, faultf(http.StatusConflict, "Host %s can't be updated as it is in-use to process notifications.", h.UUID)
	case errors.Is(err, recovery.ErrExists):
		return nil, hostExists(in.str("name"))
	case err != nil:
		return nil, err
	}
	return oneHost(made, s), nil
}

func deleteHost(c *call) (any, error) {
	c.info.Target = c.params["host_id"]
	h, _, err := c.host()
	if err != nil {
		return nil, err
	}
	err = c.cfg.Store.DeleteHost(c.ctx(), h.UUID)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		return nil, c.noHost()
	case errors.Is(err, recovery.ErrInUse):
		return nil, faultf(http.StatusConflict, "Host %s can't be deleted as it is in-use to process notifications.", h.UUID)
	}
	return nil, err
}
