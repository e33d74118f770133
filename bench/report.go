package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// document is the whole report.
type document struct {
	Date     string            `json:"date"`
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	Go       string            `json:"go"`
	Revision string            `json:"revision,omitempty"`
	Versions map[string]string `json:"versions"`
	Guests   map[string]int64  `json:"guest_bytes"`
	Rows     []row             `json:"rows"`
	Goals    []goal            `json:"goals"`
}

// goal is a figure that Wasakari has to reach.
type goal struct {
	Title    string `json:"title"`
	Goal     string `json:"goal"`
	Measured string `json:"measured"`
	Reached  bool   `json:"reached"`
}

func (b *bench) document() document {
	d := document{
		Date: time.Now().UTC().Format(time.DateOnly), CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Versions: map[string]string{}, Guests: map[string]int64{}, Rows: b.rows,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				d.Revision = s.Value
			}
		}
	}
	for _, p := range peers() {
		d.Versions[p.name] = version(p.module)
		for _, l := range languages {
			if wasm, err := guest(b.guests, l, p); err == nil {
				d.Guests[l+"-"+p.abi] = int64(len(wasm))
			}
		}
	}
	for _, r := range b.rows {
		if r.Goal == "" {
			continue
		}
		for _, c := range r.Cells {
			if c.Peer != "wasakari" || c.Rounds == 0 {
				continue
			}
			g := goal{Title: r.Title, Goal: r.Goal, Measured: figure(c.Median, r.Unit), Reached: c.Median <= r.GoalValue}
			if r.GoalRatio > 0 {
				g.Measured = fmt.Sprintf("%.2f × bare", c.Ratio)
				g.Reached = c.Ratio <= r.GoalRatio
			}
			if c.P99 > 0 {
				g.Measured = figure(c.P99, r.Unit) + " (p99)"
				g.Reached = c.P99 <= r.GoalValue
			}
			d.Goals = append(d.Goals, g)
		}
	}
	return d
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// figure writes three digits and the unit.
func figure(v float64, unit string) string {
	for _, step := range []struct{ from, to string }{{"ns", "µs"}, {"µs", "ms"}, {"ms", "s"}} {
		if unit == step.from && v >= 1000 {
			v, unit = v/1000, step.to
		}
	}
	return digits(v) + " " + unit
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// head says where the figures come from.
func (d document) head(w *strings.Builder, bold string) {
	fmt.Fprintf(w, "%s%d × %s, %s, %s%s", bold, d.CPUs, d.CPU, d.Go, d.Date, bold)
	for _, p := range peers() {
		fmt.Fprintf(w, " · %s %s", p.name, d.Versions[p.name])
	}
	fmt.Fprintln(w)
}

// text gives a block for each row: median, least, most, ratio to bare
// wazero.
func (d document) text() string {
	w := new(strings.Builder)
	d.head(w, "")
	for _, r := range d.Rows {
		fmt.Fprintf(w, "\n%s (guest: %s; %s)\n", r.Title, languageNames[r.Guest], r.Clock)
		for _, c := range r.Cells {
			if c.Rounds == 0 {
				fmt.Fprintf(w, "  %-13s not offered: %s\n", c.Peer, c.Reason)
				continue
			}
			fmt.Fprintf(w, "  %-13s %9s   %9s … %-9s", c.Peer, figure(c.Median, r.Unit), figure(c.Min, r.Unit), figure(c.Max, r.Unit))
			if c.P99 > 0 {
				fmt.Fprintf(w, " p99 %s", figure(c.P99, r.Unit))
			}
			if c.Before > 0 {
				fmt.Fprintf(w, " before the first %s", figure(c.Before, r.Unit))
			}
			if c.Ratio > 0 {
				fmt.Fprintf(w, " %6s × bare", digits(c.Ratio))
			}
			fmt.Fprintf(w, "  %s, %d rounds\n", c.Way, c.Rounds)
		}
	}
	fmt.Fprintln(w, "\nFigures to reach")
	for _, g := range d.Goals {
		fmt.Fprintf(w, "  %-85s %-13s %s: %s\n", g.Title, g.Goal, g.Measured, g.verdict())
	}
	return w.String()
}

func (g goal) verdict() string {
	if g.Reached {
		return "reached"
	}
	return "missed"
}

// markdown gives the rows as a table: medians, ratios in parentheses.
func (d document) markdown() string {
	w := new(strings.Builder)
	d.head(w, "**")
	all := peers()
	fmt.Fprint(w, "\n| What |")
	for _, p := range all {
		fmt.Fprintf(w, " %s |", p.name)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" --- |", len(all)))
	for _, r := range d.Rows {
		fmt.Fprintf(w, "| %s |", r.Title)
		for _, p := range all {
			text := ""
			for _, c := range r.Cells {
				switch {
				case c.Peer != p.name:
				case c.Rounds == 0:
					text = "—"
				case c.P99 > 0:
					text = figure(c.Median, r.Unit) + ", p99 " + figure(c.P99, r.Unit)
				default:
					text = figure(c.Median, r.Unit)
					if c.Ratio > 0 {
						text += " (" + digits(c.Ratio) + ")"
					}
				}
			}
			fmt.Fprintf(w, " %s |", text)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\n| Figure | To reach | Measured |\n| --- | --- | --- |\n")
	for _, g := range d.Goals {
		fmt.Fprintf(w, "| %s | %s | %s: %s |\n", g.Title, g.Goal, g.Measured, g.verdict())
	}
	return w.String()
}
