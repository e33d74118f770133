// Command bench does the same work on Wasakari and on what people would use
// instead, and prints what it took.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err) // nowhere else to say it
		os.Exit(1)
	}
}

// outputs are the forms of the report.
var outputs = map[string]func(document) string{
	"text":     document.text,
	"markdown": document.markdown,
	"json": func(d document) string {
		doc, err := json.MarshalIndent(d, "", "  ")
		if err != nil { // plain figures and strings
			panic(err)
		}
		return string(doc) + "\n"
	},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	// A note that cannot be written is no loss.
	b := &bench{log: func(note string) { _, _ = fmt.Fprintln(stderr, note) }}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&b.guests, "guests", "../bin/bench", "folder of the guests")
	flags.IntVar(&b.rounds, "rounds", 9, "rounds of each measurement, after a warm-up; fewer of what takes seconds")
	flags.DurationVar(&b.sample, "sample", 30*time.Millisecond, "how long a sample takes at least")
	chosen := flags.String("cases", "", "only these of call, fresh, warm, json, live, stop, admission; separated by commas")
	output := flags.String("output", "text", "text, markdown or json")
	child := flags.String("live", "", "hold sandboxes of this peer and print its memory (used by the program itself)")
	language := flags.String("guest", "rust", "guest for -live")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.rounds < 1 {
		return fmt.Errorf("%d rounds; at least 1", b.rounds)
	}
	render, ok := outputs[*output]
	if !ok {
		return fmt.Errorf("output %q; text, markdown or json", *output)
	}
	if *child != "" {
		res, err := b.liveChild(ctx, *child, *language)
		if err != nil {
			return err
		}
		return json.NewEncoder(stdout).Encode(res)
	}
	var wanted []string
	if *chosen != "" {
		wanted = strings.Split(*chosen, ",")
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(cases, func(c benchCase) bool { return c.name == name }) {
			return fmt.Errorf("no case %q", name)
		}
	}
	for _, c := range cases {
		if wanted == nil || slices.Contains(wanted, c.name) {
			if err := c.run(b, ctx); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprint(stdout, render(b.document()))
	return err
}
