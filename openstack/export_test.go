package openstack

import "time"

// SetMaxList bounds the bytes of one list, all pages together.
func (c *Client) SetMaxList(n int) { c.maxList = n }

// ReadToken reads the document of a token.
var ReadToken = readToken

// SetNow replaces the clock by which answers about tokens age.
func (t *Tokens) SetNow(now func() time.Time) { t.now = now }

// SetStaleWait replaces how long Keystone may take where an older answer would
// do.
func (t *Tokens) SetStaleWait(d time.Duration) { t.stale = d }

// Kept counts the answers about tokens that are remembered.
func (t *Tokens) Kept() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.entries)
}
