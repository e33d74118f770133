package recovery

// Inventory is how much of one class of resource a provider of Placement has.
type Inventory struct {
	Total           int64   `json:"total"`
	Reserved        int64   `json:"reserved"` // not to be given out
	AllocationRatio float64 `json:"allocation_ratio"`
	MaxUnit         int64   `json:"max_unit"` // the most that one consumer may have
}

// Capacity is how much can be given out in all. A ratio of 0 counts as 1,
// and no more than 1<<53 is told.
func (i Inventory) Capacity() int64 {
	ratio := i.AllocationRatio
	if ratio <= 0 {
		ratio = 1
	}
	// A provider may offer no end of something.
	return int64(min(max(float64(i.Total-i.Reserved)*ratio, 0), 1<<53))
}

// Resources are amounts by Placement's resource class: VCPU, MEMORY_MB in MiB,
// DISK_GB in GiB, and others.
type Resources map[string]int64
