package masakariv1

import (
	"errors"
	"net/http"

	"github.com/wasakari/wasakari/recovery"
)

type vmoveDoc struct {
	ID               int64   `json:"id"`
	UUID             string  `json:"uuid"`
	NotificationUUID string  `json:"notification_uuid"`
	InstanceUUID     string  `json:"instance_uuid"`
	InstanceName     *string `json:"instance_name"`
	SourceHost       *string `json:"source_host"`
	DestHost         *string `json:"dest_host"`
	StartTime        *string `json:"start_time"`
	EndTime          *string `json:"end_time"`
	Type             string  `json:"type"`
	Status           string  `json:"status"`
	Message          *string `json:"message"`
	stampDoc
}

func describeVMove(v recovery.VMove) vmoveDoc {
	return vmoveDoc{
		ID: v.Stamp.ID, UUID: v.UUID, NotificationUUID: v.NotificationUUID, InstanceUUID: v.InstanceUUID, InstanceName: orNull(v.InstanceName),
		SourceHost: orNull(v.SourceHost), DestHost: orNull(v.DestHost), StartTime: momentTime(v.StartTime), EndTime: momentTime(v.EndTime),
		Type: v.Type, Status: string(v.Status), Message: orNull(v.Message), stampDoc: describeStamp(v.Stamp),
	}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func vmoveStamp(v *recovery.VMove) *recovery.Stamp { return &v.Stamp }

var vmoveColumns = stamped(columns[recovery.VMove]{
	"uuid":              text(func(v *recovery.VMove) string { return v.UUID }),
	"notification_uuid": text(func(v *recovery.VMove) string { return v.NotificationUUID }),
	"instance_uuid":     text(func(v *recovery.VMove) string { return v.InstanceUUID }),
	"instance_name":     text(func(v *recovery.VMove) string { return v.InstanceName }),
	"source_host":       text(func(v *recovery.VMove) string { return v.SourceHost }),
	"dest_host":         text(func(v *recovery.VMove) string { return v.DestHost }),
	"start_time":        text(func(v *recovery.VMove) string { return deref(momentTime(v.StartTime)) }),
	"end_time":          text(func(v *recovery.VMove) string { return deref(momentTime(v.EndTime)) }),
	"type":              text(func(v *recovery.VMove) string { return v.Type }),
	"status":            text(func(v *recovery.VMove) string { return string(v.Status) }),
	"message":           text(func(v *recovery.VMove) string { return v.Message }),
}, vmoveStamp)

// hostNotification gives the notification that the path names, which must be
// of a type that moves servers.
func (c *call) hostNotification() (recovery.Notification, error) {
	n, err := c.notification()
	if err == nil && n.Type != recovery.ComputeHost {
		err = faultf(http.StatusBadRequest, "This notification %s without vm moves.", n.UUID)
	}
	return n, err
}

func listVMoves(c *call) (any, error) {
	l, err := parseListing(c.query, c.cfg.MaxLimit)
	if err != nil {
		return nil, err
	}
	n, err := c.hostNotification()
	if err != nil {
		return nil, err
	}
	all, err := c.cfg.Store.VMoves(c.ctx(), n.UUID)
	if err != nil {
		return nil, err
	}
	kept, err := page(l, inAnyOrder(all), vmoveColumns, vmoveStamp, func(v *recovery.VMove) bool {
		return equals(c.query, "type")(v.Type) && equals(c.query, "status")(string(v.Status))
	})
	if err != nil {
		return nil, err
	}
	docs := make([]vmoveDoc, len(kept))
	for i, v := range kept {
		docs[i] = describeVMove(v)
	}
	return map[string][]vmoveDoc{"vmoves": docs}, nil
}

func showVMove(c *call) (any, error) {
	n, err := c.hostNotification()
	if err != nil {
		return nil, err
	}
	id := c.params["vmove_id"]
	missing := faultf(http.StatusNotFound, "No vm move with id %s.", id)
	if !uuidLike(id) {
		return nil, missing
	}
	v, err := c.cfg.Store.VMove(c.ctx(), n.UUID, id)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	return map[string]vmoveDoc{"vmove": describeVMove(v)}, nil
}
