// Command redfish_fence holds a task that fences a failed host: it powers the
// host off through the Redfish service of its baseboard controller, waits until
// several looks in a row show it off, and provides the proof without which
// evacuate_instances_task moves nothing when [host_failure] require_fence_proof
// is set.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	wasakari "github.com/wasakari/wasakari/sdk/go"
)

const group = "redfish_fence"

// proof is the fence_proof. The host checks all four.
type proof struct {
	Host   string    `json:"host"`
	Method string    `json:"method"`
	Run    string    `json:"run"`
	Time   time.Time `json:"time"`
}

// system is what is read of a ComputerSystem.
type system struct {
	HostName   string
	PowerState string
	Actions    struct {
		Reset struct {
			Target string   `json:"target"`
			Types  []string `json:"ResetType@Redfish.AllowableValues"`
		} `json:"#ComputerSystem.Reset"`
	}
}

func init() { wasakari.Handle("redfish_fence_task", fence) }

func main() {}

func fence(t *wasakari.Task) error {
	host := t.InputString("host_name")
	address, err := systemURL(t, host)
	if err != nil {
		return err
	}
	c := controller{t: t, url: address}
	s, err := c.look(t.Context())
	if err != nil {
		return err
	}
	if t.OptionBool(group, "match_host_name") && s.HostName != "" && short(s.HostName) != short(host) {
		return fmt.Errorf("%s is the system of host %s, not of %s: mend [%s] url or urls", address, s.HostName, host, group)
	}
	if s.PowerState != "Off" {
		t.Progress(100, "Powering %s off", host)
		pretended, err := c.forceOff(t.Context(), s)
		if err != nil {
			return err
		}
		if pretended {
			t.Log().Infof("dry run: %s would be powered off", host)
			return prove(t, host)
		}
	}
	t.Progress(300, "Waiting until %s is off", host)
	if err := c.waitOff(t.Context()); err != nil {
		return err
	}
	t.Progress(1000, "%s is off", host)
	return prove(t, host)
}

func prove(t *wasakari.Task, host string) error {
	return t.KV().Put(t.Context(), "fence_proof", proof{host, "redfish", t.RunID(), time.Now().UTC()})
}

// short gives a host's name up to the first dot, in lower case.
func short(host string) string {
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	return name
}

// systemURL finds the URL of a host's system.
func systemURL(t *wasakari.Task, host string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	if host == "" || strings.Trim(host, letters) != "" || strings.Contains(host, "..") {
		return "", fmt.Errorf("host_name %q: no URL can be made of it", host)
	}
	for _, item := range t.OptionList(group, "urls") {
		name, address, ok := strings.Cut(item, "=")
		if !ok {
			return "", fmt.Errorf("[%s] urls: %q: want HOST=URL", group, item)
		}
		if strings.TrimSpace(name) == host {
			return strings.TrimSpace(address), nil
		}
	}
	return strings.NewReplacer("{host}", host, "{short}", short(host)).Replace(t.OptionString(group, "url")), nil
}

// controller is the Redfish service of one host.
type controller struct {
	t   *wasakari.Task
	url string // of the system
}

// request asks the controller. An answer of 400 or more is an error that
// matches errRefused.
func (c controller) request(ctx context.Context, method, address string, body any) (wasakari.HTTPRequestAnswer, error) {
	req := wasakari.HTTPRequestRequest{
		Method: method, URL: address, Headers: map[string]wasakari.Text{"Accept": "application/json", "OData-Version": "4.0"},
		Basic: &wasakari.HTTPBasic{User: c.t.OptionString(group, "user"), Password: c.t.Secret(group, "password")},
	}
	if ca := c.t.Secret(group, "ca").Ref(); ca != nil {
		req.TLS = &wasakari.HTTPTLS{CA: ca}
	}
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return wasakari.HTTPRequestAnswer{}, err
		}
		req.BodyJSON = raw
	}
	ans, err := c.t.HTTP().Request(ctx, req)
	if err == nil && ans.Status >= 300 {
		err = fmt.Errorf("%s %s: %w with %d%s", method, address, errRefused, ans.Status, reason(ans))
	}
	return ans, err
}

var errRefused = errors.New("answered")

// reason says what the controller gave as the reason of a refusal.
func reason(ans wasakari.HTTPRequestAnswer) string {
	var doc struct {
		Error struct {
			Message  string `json:"message"`
			Extended []struct {
				Message string
			} `json:"@Message.ExtendedInfo"`
		} `json:"error"`
	}
	switch {
	case ans.Status == 401:
		return ": user or password is wrong"
	case json.Unmarshal([]byte(ans.Body), &doc) != nil:
		return ""
	case len(doc.Error.Extended) > 0 && doc.Error.Extended[0].Message != "":
		return ": " + doc.Error.Extended[0].Message
	case doc.Error.Message != "":
		return ": " + doc.Error.Message
	}
	return ""
}

// look reads the system.
func (c controller) look(ctx context.Context) (system, error) {
	var s system
	ans, err := c.request(ctx, "GET", c.url, nil)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(ans.Body), &s); err != nil || s.PowerState == "" {
		return s, fmt.Errorf("GET %s: the answer is no system of Redfish: it has no PowerState", c.url)
	}
	return s, nil
}

// forceOff asks for the reset. pretended says that a dry run did not send it.
// A request that may have arrived counts as sent: what matters is what is seen
// afterwards.
func (c controller) forceOff(ctx context.Context, s system) (pretended bool, err error) {
	reset := s.Actions.Reset
	if !strings.HasPrefix(reset.Target, "/") || strings.HasPrefix(reset.Target, "//") {
		return false, fmt.Errorf("GET %s: the system has no action ComputerSystem.Reset", c.url)
	}
	if len(reset.Types) > 0 && !slices.Contains(reset.Types, "ForceOff") {
		return false, fmt.Errorf("GET %s: the system knows no reset ForceOff, only %s", c.url, strings.Join(reset.Types, ", "))
	}
	u, err := url.Parse(c.url)
	if err != nil {
		return false, err
	}
	ans, err := c.request(ctx, "POST", u.Scheme+"://"+u.Host+reset.Target, map[string]string{"ResetType": "ForceOff"})
	switch {
	case errors.Is(err, wasakari.ErrUnavailable), errors.Is(err, wasakari.ErrTimeout), ans.Status == 409:
		// 409: it is going off already.
		c.t.Log().Warnf("%v; looking whether it goes off", err)
		return false, nil
	}
	return ans.DryRun, err
}

// waitOff waits until so many looks in a row show the system off.
func (c controller) waitOff(ctx context.Context) error {
	looks, every, limit := c.t.OptionInt(group, "looks"), c.t.OptionDuration(group, "look_interval"), c.t.OptionDuration(group, "timeout")
	deadline := time.Now().Add(limit)
	row, seen := int64(0), ""
	for {
		s, err := c.look(ctx)
		switch {
		case errors.Is(err, wasakari.ErrNotGranted), errors.Is(err, wasakari.ErrForbidden), errors.Is(err, wasakari.ErrInvalid):
			return err
		case err != nil: // controllers restart, too
			row, seen = 0, err.Error()
		case s.PowerState == "Off":
			row++
		default:
			row, seen = 0, "its power state is "+s.PowerState
		}
		if row >= looks {
			return nil
		}
		if !time.Now().Add(every).Before(deadline) {
			if row > 0 {
				seen = fmt.Sprintf("it was off for %d of %d looks", row, looks)
			}
			return fmt.Errorf("not off within %v: %s", limit, seen)
		}
		if err := c.t.Sleep(ctx, every); err != nil {
			return err
		}
	}
}
