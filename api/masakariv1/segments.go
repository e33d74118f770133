package masakariv1

import (
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/wasakari/wasakari/recovery"
)

// stampDoc is what every record has beside its content.
type stampDoc struct {
	CreatedAt *string `json:"created_at"`
	UpdatedAt *string `json:"updated_at"`
	DeletedAt *string `json:"deleted_at"`
	Deleted   bool    `json:"deleted"`
}

func describeStamp(s recovery.Stamp) stampDoc {
	return stampDoc{CreatedAt: stampTime(s.Created), UpdatedAt: stampTime(s.Updated)}
}

type segmentDoc struct {
	ID             int64   `json:"id"`
	UUID           string  `json:"uuid"`
	Name           string  `json:"name"`
	ServiceType    string  `json:"service_type"`
	Enabled        bool    `json:"enabled"`
	Description    *string `json:"description"`
	RecoveryMethod string  `json:"recovery_method"`
	stampDoc
}

func describeSegment(s recovery.Segment) segmentDoc {
	return segmentDoc{
		ID: s.Stamp.ID, UUID: s.UUID, Name: s.Name, ServiceType: s.ServiceType, Enabled: s.Enabled,
		Description: s.Description, RecoveryMethod: string(s.RecoveryMethod), stampDoc: describeStamp(s.Stamp),
	}
}

func segmentStamp(s *recovery.Segment) *recovery.Stamp { return &s.Stamp }

var segmentColumns = stamped(columns[recovery.Segment]{
	"uuid":            text(func(s *recovery.Segment) string { return s.UUID }),
	"name":            text(func(s *recovery.Segment) string { return s.Name }),
	"service_type":    text(func(s *recovery.Segment) string { return s.ServiceType }),
	"recovery_method": text(func(s *recovery.Segment) string { return string(s.RecoveryMethod) }),
	"enabled":         flag(func(s *recovery.Segment) bool { return s.Enabled }),
	"description":     text(func(s *recovery.Segment) string { return deref(s.Description) }),
}, segmentStamp)

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func noSegment(id string) error {
	return faultf(http.StatusNotFound, "No failover segment with id %s.", id)
}

func listSegments(c *call) (any, error) {
	l, err := parseListing(c.query, c.cfg.MaxLimit)
	if err != nil {
		return nil, err
	}
	enabled, filtered := last(c.query, "enabled")
	truth, known := word(enabled)
	all, err := c.cfg.Store.Segments(c.ctx())
	if err != nil {
		return nil, err
	}
	kept, err := page(l, inAnyOrder(all), segmentColumns, segmentStamp, func(s *recovery.Segment) bool {
		return equals(c.query, "recovery_method")(string(s.RecoveryMethod)) && equals(c.query, "service_type")(s.ServiceType) &&
			(!filtered || known && truth == s.Enabled)
	})
	if err != nil {
		return nil, err
	}
	docs := make([]segmentDoc, len(kept))
	for i, s := range kept {
		docs[i] = describeSegment(s)
	}
	return map[string][]segmentDoc{"segments": docs}, nil
}

func oneSegment(s recovery.Segment) any { return map[string]segmentDoc{"segment": describeSegment(s)} }

// segment gives the segment that the path names.
func (c *call) segment() (recovery.Segment, error) {
	id := c.params["segment_id"]
	if !uuidLike(id) {
		return recovery.Segment{}, noSegment(id)
	}
	s, err := c.cfg.Store.Segment(c.ctx(), id)
	if errors.Is(err, recovery.ErrNotFound) {
		return recovery.Segment{}, noSegment(id)
	}
	return s, err
}

func showSegment(c *call) (any, error) {
	s, err := c.segment()
	if err != nil {
		return nil, err
	}
	return oneSegment(s), nil
}

func createSegment(c *call) (any, error) {
	in, _ := c.body.get("segment")
	s := recovery.Segment{UUID: uuid.NewString(), Enabled: true}
	changeSegment(in, &s)
	made, err := c.cfg.Store.CreateSegment(c.ctx(), s)
	if errors.Is(err, recovery.ErrExists) {
		return nil, segmentExists(s.Name)
	}
	if err != nil {
		return nil, err
	}
	c.info.Target = made.UUID
	return oneSegment(made), nil
}

func segmentExists(name string) error {
	return faultf(http.StatusConflict, "Failover segment with name %s already exists.", name)
}

// changeSegment puts what a checked body names into s.
func changeSegment(in value, s *recovery.Segment) {
	for i, key := range in.keys {
		item := in.items[i]
		switch key {
		case "name":
			s.Name = item.text
		case "service_type":
			s.ServiceType = item.text
		case "recovery_method":
			s.RecoveryMethod = recovery.RecoveryMethod(item.text)
		case "enabled":
			s.Enabled = in.flag(key, s.Enabled)
		case "description":
			s.Description = nil
			if item.kind == kindString {
				s.Description = &item.text
			}
		}
	}
}

func updateSegment(c *call) (any, error) {
	id := c.params["segment_id"]
	c.info.Target = id
	if !uuidLike(id) {
		return nil, noSegment(id)
	}
	in, _ := c.body.get("segment")
	s, err := c.cfg.Store.UpdateSegment(c.ctx(), id, func(s *recovery.Segment) error {
		changeSegment(in, s)
		return nil
	})
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		return nil, noSegment(id)
	case errors.Is(err, recovery.ErrInUse):
		return nil, faultf(http.StatusConflict, "Failover segment %s can't be updated as it is in-use to process notifications.", id)
	case errors.Is(err, recovery.ErrExists):
		return nil, segmentExists(in.str("name"))
	case err != nil:
		return nil, err
	}
	return oneSegment(s), nil
}

func deleteSegment(c *call) (any, error) {
	id := c.params["segment_id"]
	c.info.Target = id
	if !uuidLike(id) {
		return nil, noSegment(id)
	}
	err := c.cfg.Store.DeleteSegment(c.ctx(), id)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		return nil, noSegment(id)
	case errors.Is(err, recovery.ErrInUse):
		return nil, faultf(http.StatusConflict, "Failover segment (%s) can't be deleted as it is in-use to process notifications.", id)
	}
	return nil, err
}
