package openstack

// SetMaxList bounds the bytes of one list, all pages together.
func (c *Client) SetMaxList(n int) { c.maxList = n }
