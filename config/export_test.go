package config

import "github.com/wasakari/wasakari/recovery"

// ParseFile gives all places that parsing data as a file speaks of: of
// assignments, of each byte of their values, of headers and mistakes.
func ParseFile(data []byte) (values []string, places []recovery.Position) {
	out := parseFile("f", data)
	for _, a := range out.assignments {
		values = append(values, a.value.s)
		places = append(places, a.namePos)
		for i := 0; i <= len(a.value.s); i++ {
			places = append(places, a.value.pos(i))
		}
	}
	for _, h := range out.headers {
		places = append(places, h.pos)
	}
	for _, e := range out.errs {
		places = append(places, e.Pos)
	}
	return values, places
}

// ParseFlow parses a flow value that stands at line 1, column 1.
func ParseFlow(s string) (recovery.Flow, []*recovery.ConfigError) {
	return parseFlow(recovery.ProcessFailure, recovery.ProcessFailure.Option(), text{s: s, file: "f", segs: []seg{{line: 1, col: 1}}})
}

// FormatFlow prints a flow.
func FormatFlow(f recovery.Flow) string { return formatFlow(f) }
