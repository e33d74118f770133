package runtime

// WarmBytes tells how much of a memory is taken before a run begins; -1 as long
// as that is not known.
func (m *Module) WarmBytes() int {
	known := m.guest.image.warmth.known.Load()
	if known == nil {
		return -1
	}
	total := 0
	for _, p := range *known {
		total += p.size
	}
	return total
}
