package masakariv1

import (
	"net/http"
)

type extensionDoc struct {
	Name        string   `json:"name"`
	Alias       string   `json:"alias"`
	Description string   `json:"description"`
	Namespace   string   `json:"namespace"`
	Updated     string   `json:"updated"`
	Links       []string `json:"links"`
}

// extensions are the parts of the API, in the order of their aliases.
var extensions = []extensionDoc{
	{Name: "Extensions", Alias: "extensions", Description: "Lists the parts of the API.", Links: []string{}},
	{Name: "Notifications", Alias: "notifications", Description: "Reports of failures.", Links: []string{}},
	{Name: "Hosts", Alias: "os-hosts", Description: "The compute hosts of segments.", Links: []string{}},
	{Name: "Segments", Alias: "segments", Description: "Failover segments.", Links: []string{}},
	{Name: "Versions", Alias: "versions", Description: "The version of the API.", Links: []string{}},
	{Name: "VMoves", Alias: "vmoves", Description: "The moves of servers off failed hosts.", Links: []string{}},
}

// discoverable gives the extensions that the caller may know of.
func (c *call) discoverable() ([]extensionDoc, error) {
	docs := []extensionDoc{}
	for _, e := range extensions {
		err := c.may(policyPrefix + e.Alias + ":discoverable")
		if f, refused := err.(*fault); refused && f.status == http.StatusForbidden { //nolint:errorlint // may gives it bare
			continue
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, e)
	}
	return docs, nil
}

func listExtensions(c *call) (any, error) {
	docs, err := c.discoverable()
	return map[string][]extensionDoc{"extensions": docs}, err
}

func showExtension(c *call) (any, error) {
	docs, err := c.discoverable()
	if err != nil {
		return nil, err
	}
	for _, e := range docs {
		if e.Alias == c.params["alias"] {
			return map[string]extensionDoc{"extension": e}, nil
		}
	}
	return nil, faultf(http.StatusNotFound, "The resource could not be found.")
}
