// Package auth says who a caller of the API is and what he may do.
package auth

// Identity is a caller of the API.
type Identity struct {
	UserID, UserName    string
	ProjectID, DomainID string
	Roles               []string
	System              bool
}
