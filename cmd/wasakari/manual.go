package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// newManual makes the command that writes the manual page of all commands. It
// is for packages.
func newManual(w world) *cobra.Command {
	return &cobra.Command{
		Use: "manual", Short: "Write the manual page", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeManual(w.stdout, cmd.Root()) },
	}
}

// writeManual writes the help of a program as a page for man.
func writeManual(out io.Writer, root *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 8 \"\" %q\n.SH NAME\n%s \\- %s\n", strings.ToUpper(root.Name()), "wasakari "+roff(root.Version), roff(root.Name()), roff(lower(root.Short)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\nCOMMAND [FLAGS]\n.SH DESCRIPTION\n", roff(root.Name()))
	block(&b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	commands(&b, root)
	b.WriteString(".SH FILES\n")
	for _, f := range [][2]string{
		{"/etc/wasakari/wasakari.conf", "configuration; see wasakari config sample"},
		{"/etc/masakari/masakari.conf", "Masakari's configuration, which is read before it"},
		{"/etc/default/wasakari", "flags and environment of the service"},
		{"/var/lib/wasakari", "state of the service: what must not be lost"},
		{"/var/log/wasakari/audit.log", "a line of JSON for each change"},
	} {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// commands writes about those below a command that are not hidden.
func commands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		fmt.Fprintf(b, ".SS %s\n", roff(c.UseLine()))
		text := c.Long
		if text == "" {
			text = c.Short
		}
		block(b, text)
		if c.Example != "" {
			block(b, c.Example)
		}
		if flags := c.NonInheritedFlags().FlagUsagesWrapped(100); flags != "" {
			block(b, flags)
		}
		commands(b, c)
	}
}

// block writes text with its line ends as they are.
func block(b *strings.Builder, text string) {
	b.WriteString(".PP\n.nf\n")
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(roff(line) + "\n")
	}
	b.WriteString(".fi\n")
}

// roff keeps man from taking text for orders.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// lower gives a sentence a small first letter.
func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
