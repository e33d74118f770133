package masakariv1

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/wasakari/wasakari/api/internal/wire"
)

// version is a microversion of the API.
type version struct{ major, minor int }

var (
	minVersion = version{1, 0}
	maxVersion = version{1, 3}
)

const (
	versionHeader = "OpenStack-API-Version"
	serviceType   = "instance-ha"
	mediaType     = "application/vnd.openstack.masakari+json"
)

func (v version) String() string { return strconv.Itoa(v.major) + "." + strconv.Itoa(v.minor) }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

var versionPattern = regexp.MustCompile(`^([1-9]\d*)\.([1-9]\d*|0)$`)

// negotiate finds the microversion that a request asks for. shown is what the
// answer's header tells, also of a version that there is not; empty when the
// header could not be read.
func negotiate(h http.Header) (v version, shown string, err error) {
	asked := askedVersion(h)
	switch asked {
	case "":
		return minVersion, minVersion.String(), nil
	case "latest":
		return maxVersion, maxVersion.String(), nil
	}
	m := versionPattern.FindStringSubmatch(asked)
	if m == nil {
		return version{}, "", faultf(http.StatusBadRequest, "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", asked)
	}
	major, errMajor := strconv.Atoi(m[1])
	minor, errMinor := strconv.Atoi(m[2])
	v = version{major, minor}
	if errMajor != nil || errMinor != nil || major != maxVersion.major || minor > maxVersion.minor {
		return version{}, asked, faultf(http.StatusNotAcceptable, "Version %s is not supported by the API. Minimum is %s and maximum is %s.", asked, minVersion, maxVersion)
	}
	return v, v.String(), nil
}

// askedVersion gives what stands after the name of our service in the header,
// the last time it is named; empty when it is not named.
func askedVersion(h http.Header) string {
	items := strings.Split(strings.Join(h.Values(versionHeader), ","), ",")
	for i := len(items) - 1; i >= 0; i-- {
		service, asked, ok := cutBlank(strings.TrimSpace(items[i]))
		if ok && strings.EqualFold(service, serviceType) {
			return asked
		}
	}
	return ""
}

// cutBlank cuts s at its first run of blanks.
func cutBlank(s string) (before, after string, ok bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	after = strings.TrimSpace(s[i:])
	return s[:i], after, after != ""
}

type link struct {
	Rel  string `json:"rel"`
	Type string `json:"type,omitempty"`
	Href string `json:"href"`
}

type media struct {
	Base string `json:"base"`
	Type string `json:"type"`
}

// versionDoc describes v1. Which fields it has depends on where it stands.
type versionDoc struct {
	ID         string  `json:"id"`
	Status     string  `json:"status"`
	Version    string  `json:"version,omitempty"`
	MinVersion string  `json:"min_version,omitempty"`
	Updated    string  `json:"updated,omitempty"`
	Links      []link  `json:"links"`
	MediaTypes []media `json:"media-types,omitempty"`
}

const versionUpdated = "2016-07-01T11:33:21Z"

func describeVersion(links ...link) versionDoc {
	return versionDoc{
		ID: "v1.0", Status: "CURRENT", Version: maxVersion.String(), MinVersion: minVersion.String(),
		Updated: versionUpdated, Links: links,
	}
}

func mediaTypes() []media {
	return []media{{Base: "application/json", Type: mediaType + ";version=1"}}
}

// Versions makes the handler of every path outside /v1: the versions document
// at /, and elsewhere the choice of versions.
func Versions() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base := wire.Of(r.Context()).Base
		w.Header().Set("Content-Type", answerType(r))
		if r.URL.Path == "/" || r.URL.Path == "" {
			doc := describeVersion(link{Rel: "self", Href: base + "/v1/"})
			wire.JSON(w, http.StatusOK, map[string][]versionDoc{"versions": {doc}})
			return
		}
		href := base + "/v1/" + strings.Trim(r.URL.EscapedPath(), "/")
		wire.JSON(w, http.StatusMultipleChoices, map[string][]versionDoc{"choices": {{
			ID: "v1.0", Status: "CURRENT", Links: []link{{Rel: "self", Href: href}}, MediaTypes: mediaTypes(),
		}}})
	})
}

// showVersion serves /v1 and /v1/versions/v1.0.
func showVersion(c *call) (any, error) {
	if id, ok := c.params["id"]; ok && id != "v1.0" {
		return nil, faultf(http.StatusNotFound, "The resource could not be found.")
	}
	doc := describeVersion(
		link{Rel: "self", Href: c.info.Base + "/v1/"},
		link{Rel: "describedby", Type: "text/html", Href: "https://docs.openstack.org/"},
	)
	doc.MediaTypes = mediaTypes()
	return map[string]versionDoc{"version": doc}, nil
}

// answerType chooses the content type of the answer by the header Accept.
func answerType(r *http.Request) string {
	best, bestQuality := "application/json", -1.0
	for _, offered := range []string{"application/json", mediaType} {
		if q := quality(r.Header.Values("Accept"), offered); q > 0 && q > bestQuality {
			best, bestQuality = offered, q
		}
	}
	return best
}

// quality gives how much the client wants a type, 0 when not at all. A range
// that names the type goes before one with a star.
func quality(accept []string, offered string) float64 {
	if len(accept) == 0 {
		return 1
	}
	found, closest := 0.0, -1
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		parts := strings.Split(item, ";")
		near := nearness(strings.ToLower(strings.TrimSpace(parts[0])), offered)
		if near <= closest {
			continue
		}
		closest, found = near, 1
		for _, p := range parts[1:] {
			if text, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
				if q, err := strconv.ParseFloat(text, 64); err == nil {
					found = q
				}
			}
		}
	}
	return found
}

func nearness(mask, offered string) int {
	switch mask {
	case offered:
		return 2
	case "application/*":
		return 1
	case "*/*":
		return 0
	}
	return -1
}

// fault is an answer that is an error.
type fault struct {
	status  int
	message string
}

func (f *fault) Error() string { return fmt.Sprintf("%d %s", f.status, f.message) }

func faultf(status int, format string, args ...any) error {
	return &fault{status, fmt.Sprintf(format, args...)}
}
