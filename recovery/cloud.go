package recovery

import (
	"encoding/json"
	"time"
)

// Server is a Nova server as a recovery sees it: the allow-list of what a
// guest may read. The JSON names are Nova's. User data, passwords and keys are
// not here, so they cannot leave.
type Server struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	Status         string            `json:"status"`
	TenantID       string            `json:"tenant_id"`
	UserID         string            `json:"user_id"`
	Metadata       map[string]string `json:"metadata"`
	Tags           []string          `json:"tags,omitempty"`
	Created        string            `json:"created"`
	Updated        string            `json:"updated"`
	Description    string            `json:"description,omitempty"`
	Locked         bool              `json:"locked"`
	LockedReason   NullString        `json:"locked_reason"`
	Flavor         json.RawMessage   `json:"flavor,omitempty"`
	Image          json.RawMessage   `json:"image,omitempty"` // "" for a server booted from a volume
	Fault          *Fault            `json:"fault,omitempty"`
	VMState        string            `json:"OS-EXT-STS:vm_state"`
	TaskState      NullString        `json:"OS-EXT-STS:task_state"`
	PowerState     int               `json:"OS-EXT-STS:power_state"`
	Zone           string            `json:"OS-EXT-AZ:availability_zone"`
	Host           string            `json:"OS-EXT-SRV-ATTR:host"`
	Hypervisor     string            `json:"OS-EXT-SRV-ATTR:hypervisor_hostname"`
	InstanceName   string            `json:"OS-EXT-SRV-ATTR:instance_name"`
	HostStatus     string            `json:"host_status,omitempty"`
	VolumeAttached json.RawMessage   `json:"os-extended-volumes:volumes_attached,omitempty"`
	ServerGroups   []string          `json:"server_groups,omitempty"`
}

// PowerShutdown is Nova's power_state of a guest that is off.
const PowerShutdown = 4

// Fault is the last error that Nova recorded for a server.
type Fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Created string `json:"created"`
}

// NullString is a string that is null in JSON when it is empty.
type NullString string

// MarshalJSON gives null for the empty string.
func (s NullString) MarshalJSON() ([]byte, error) {
	if s == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(s))
}

// UnmarshalJSON takes null for the empty string.
func (s *NullString) UnmarshalJSON(b []byte) error {
	var p *string
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*s = ""
	if p != nil {
		*s = NullString(*p)
	}
	return nil
}

// ServerFilter selects servers. Empty fields do not filter. Every tenant's
// servers are listed.
type ServerFilter struct {
	Host   string // compute host
	Status string
	Name   string // Nova's regular expression
	Tenant string // project id
	// ChangedSince lists what changed after it, deleted servers included.
	ChangedSince time.Time
}

// ServerAction is one entry of a server's os-instance-actions.
type ServerAction struct {
	Action    string `json:"action"` // evacuate, stop, start, reboot, lock, ...
	RequestID string `json:"request_id"`
	StartTime string `json:"start_time"`
	Message   string `json:"message"` // "Error" when it failed, else empty
}

// ComputeService is a row of os-services.
type ComputeService struct {
	ID             string     `json:"id"`
	Binary         string     `json:"binary"`
	Host           string     `json:"host"`
	Zone           string     `json:"zone"`
	Status         string     `json:"status"` // enabled or disabled
	State          string     `json:"state"`  // up or down
	DisabledReason NullString `json:"disabled_reason"`
	ForcedDown     bool       `json:"forced_down"`
	UpdatedAt      NullString `json:"updated_at"`
}

// ServiceFilter selects services. Empty fields do not filter.
type ServiceFilter struct {
	Host   string
	Binary string
}

// ServiceUpdate changes a service; nil and empty fields stay as they are.
type ServiceUpdate struct {
	Status         string // enabled or disabled
	DisabledReason string // with disabled only
	ForcedDown     *bool
}

// Aggregate is a host aggregate.
type Aggregate struct {
	ID       int               `json:"id"`
	Name     string            `json:"name"`
	Zone     NullString        `json:"availability_zone"`
	Hosts    []string          `json:"hosts"`
	Metadata map[string]string `json:"metadata"`
}

// Hypervisor is a row of os-hypervisors/detail.
type Hypervisor struct {
	ID       string `json:"id"`
	Hostname string `json:"hypervisor_hostname"`
	Type     string `json:"hypervisor_type"`
	State    string `json:"state"`
	Status   string `json:"status"`
	HostIP   string `json:"host_ip"`
	Service  struct {
		ID   string `json:"id"`
		Host string `json:"host"`
	} `json:"service"`
}

// Migration is a row of os-migrations.
type Migration struct {
	ID            int        `json:"id"`
	UUID          string     `json:"uuid"`
	InstanceUUID  string     `json:"instance_uuid"`
	Status        string     `json:"status"`
	Type          string     `json:"migration_type"`
	SourceCompute NullString `json:"source_compute"`
	DestCompute   NullString `json:"dest_compute"`
	CreatedAt     string     `json:"created_at"`
	UpdatedAt     NullString `json:"updated_at"`
}

// Open reports whether Nova is still at work on the migration.
func (m Migration) Open() bool {
	switch m.Status {
	case "done", "completed", "error", "failed", "cancelled", "finished", "confirmed", "reverted":
		return false
	}
	return true
}

// MigrationFilter selects migrations. Empty fields do not filter.
type MigrationFilter struct {
	InstanceUUID  string
	SourceCompute string
	Type          string // evacuation, migration, live-migration, resize
	Status        string
}
