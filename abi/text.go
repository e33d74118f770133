package abi

import "encoding/json"

// Text is a string, or the handle of a secret that the host puts in its place.
type Text struct {
	Plain  string
	Secret *Secret // nil: Plain holds
}

// UnmarshalJSON takes a string or a handle. What else is wrong is found by
// DecodeRequest.
func (t *Text) UnmarshalJSON(b []byte) error {
	*t = Text{}
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &t.Plain)
	}
	return json.Unmarshal(b, &t.Secret)
}

// MarshalJSON gives the string or the handle.
func (t Text) MarshalJSON() ([]byte, error) {
	if t.Secret != nil {
		return json.Marshal(t.Secret)
	}
	return json.Marshal(t.Plain)
}
