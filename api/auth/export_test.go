package auth

import "errors"

// Allows tells what a rule of this text answers; rules beside it are the
// defaults.
func Allows(text string, id Identity, target map[string]string) (bool, error) {
	n, m := parseRule(text)
	if m != nil {
		return false, errors.New(m.reason + "; " + m.hint)
	}
	q := &question{rules: PolicyConfig{}.defaults(), id: &id, target: target, known: map[string]bool{}}
	return n.allows(q), nil
}
