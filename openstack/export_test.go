package openstack

import "time"

// SetMaxList bounds the bytes of one list, all pages together.
func (c *Client) SetMaxList(n int) { c.maxList = n }

// SetNow replaces the clock by which answers about tokens age.
func (t *Tokens) SetNow(now func() time.Time) { t.now = now }

// Kept counts the answers about tokens that are remembered.
func (t *Tokens) Kept() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}
