// Package doctest runs what documents tell their readers to type, and compares
// what comes with what the documents show. It is for tests.
//
// Each block of a Markdown file is one of these:
//
//   - ```console: lines that begin with "$ " are commands for bash, in the same
//     shell through the whole document; "> " goes on with one. The lines below are
//     what it prints, standard error included. In such a line … stands for any
//     text, and a line that is … alone for any lines. "# exit 1" at the end of a
//     command says how it ends, by default with 0.
//   - ```LANGUAGE file=PATH: the block is written into that file before what
//     follows is run.
//   - ```text: nothing to type and nothing to write, a picture for instance.
//
// A comment <!-- doctest: WORDS --> holds for the next block: "skip REASON" leaves
// it out, "needs TOOL ..." leaves it out where one of the programs, or of the files (a
// pattern of whole paths), is not there,
// "any output" lets a command print what it likes where the block shows nothing.
// "skip all REASON" holds for all blocks after it that would be refused: for pages
// that are made of sources.
// A comment that begins with a line <!-- doctest: run and ends with a line --> is a
// block of console that readers do not see: what has to be there before, and
// checks of what the document shows.
//
// All other blocks are refused, those of four spaces too, so that nothing stands
// in a document that is neither run nor left out for a reason.
package doctest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Step is one thing that a document has its reader do.
type Step struct {
	Line int // of the document, from 1

	// A command, with what it prints and how it ends.
	Command string
	Want    []string
	Exit    int

	// Or a file: below the working folder, or an absolute path that Options.Elsewhere
	// has somewhere else.
	File, Text string

	// AnyOutput is true when what it prints is compared only if Want has lines.
	AnyOutput bool
	// Skip says why it is left out; Needs are programs and files.
	Skip  string
	Needs []string
}

var (
	fence    = regexp.MustCompile("^( {0,3})(```+)\\s*([^`]*)$")
	anyFence = regexp.MustCompile("^\\s*(```|~~~)")
	indented = regexp.MustCompile(`^(    |\t)\s*\S`)
	fileName = regexp.MustCompile(`(?:^|\s)file=(\S+)`)
	remark   = regexp.MustCompile(`^\s*<!-- doctest: (.*?) -->\s*$`)
	exitCode = regexp.MustCompile(`\s+# exit ([0-9]{1,3})$`)
)

// hidden begins a comment with commands.
const hidden = "<!-- doctest: run"

// Parse finds the steps of a document. Its error tells of every block that is none
// of those above.
func Parse(text string) ([]Step, error) {
	var steps []Step
	var errs []error
	refuse := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...)))
	}
	var next Step // what a comment says of the next block
	remarked := 0 // its line
	all := ""     // why all that would be refused is left out
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		first := i + 1
		if m := remark.FindStringSubmatch(lines[i]); m != nil {
			word, rest, _ := strings.Cut(m[1], " ")
			if reason, is := strings.CutPrefix(m[1], "skip all "); is {
				all = reason
				continue
			}
			switch {
			case word == "skip" && rest != "":
				next.Skip = rest
			case word == "needs" && rest != "":
				next.Needs = strings.Fields(rest)
			case m[1] == "any output":
				next.AnyOutput = true
			default:
				refuse(first, "doctest: %s: want skip REASON, needs TOOL or any output", m[1])
			}
			remarked = first
			continue
		}
		if lines[i] == hidden {
			block, end := until(lines, i+1, "-->")
			if end < 0 {
				refuse(first, "the comment has no end")
				break
			}
			i = end
			commands, err := session(block, Step{Line: first + 1, Needs: next.Needs, Skip: next.Skip, AnyOutput: next.AnyOutput})
			if err != nil {
				errs = append(errs, err)
			}
			steps, next, remarked = append(steps, commands...), Step{}, 0
			continue
		}
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			switch {
			case anyFence.MatchString(lines[i]):
				refuse(first, "no fence of a block: want ``` after at most three spaces")
			case indented.MatchString(lines[i]) && (i == 0 || strings.TrimSpace(lines[i-1]) == ""):
				refuse(first, "a block of four spaces: want a fence")
			}
			continue
		}
		block, end := until(lines, i+1, m[2])
		if end < 0 {
			refuse(first, "the block has no end")
			break
		}
		i = end
		for j := range block {
			block[j] = strings.TrimPrefix(block[j], m[1])
		}
		this := next
		next, remarked = Step{}, 0
		this.Line = first + 1
		language, _, _ := strings.Cut(m[3], " ")
		name := fileName.FindStringSubmatch(m[3])
		switch {
		case name != nil && !filepath.IsLocal(name[1]) && !filepath.IsAbs(name[1]):
			refuse(first, "file %s is not below the folder", name[1])
		case name != nil:
			this.File, this.Text = name[1], strings.Join(block, "\n")+"\n"
			steps = append(steps, this)
		case language == "console":
			commands, err := session(block, this)
			if err != nil {
				errs = append(errs, err)
			}
			steps = append(steps, commands...)
		case this.Skip != "":
			steps = append(steps, this)
		case language != "text" && all != "":
			this.Skip = all
			steps = append(steps, this)
		case language != "text":
			refuse(first, "a block of %q is neither run (console), nor written (file=PATH), nor left out for a reason (skip REASON)", m[3])
		}
	}
	if remarked > 0 {
		refuse(remarked, "there is no block after it")
	}
	return steps, errors.Join(errs...)
}

// until gives the lines before the one that is end, and its place, or -1.
func until(lines []string, from int, end string) ([]string, int) {
	for i := from; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == end {
			return slices.Clone(lines[from:i]), i
		}
	}
	return nil, -1
}

// session reads the commands of a block.
func session(block []string, base Step) ([]Step, error) {
	var steps []Step
	for i, line := range block {
		command, is := strings.CutPrefix(line, "$ ")
		more, goesOn := strings.CutPrefix(line, "> ")
		switch {
		case is:
			s := base
			s.Line, s.Command = base.Line+i, command
			if m := exitCode.FindStringSubmatch(command); m != nil {
				s.Exit, _ = strconv.Atoi(m[1])
				s.Command = strings.TrimSuffix(command, m[0])
			}
			steps = append(steps, s)
		case len(steps) == 0:
			return nil, fmt.Errorf(`line %d: a block of console begins with "$ "`, base.Line+i)
		case goesOn && len(steps[len(steps)-1].Want) == 0:
			steps[len(steps)-1].Command += "\n" + more
		default:
			last := &steps[len(steps)-1]
			last.Want = append(last.Want, line)
		}
	}
	return steps, nil
}

// Options say how a document is run.
type Options struct {
	// Dir is the working folder at the start.
	Dir string
	// Env is the whole environment.
	Env []string
	// Elsewhere are parts of paths, and addresses, that stand for others: in commands
	// and files each key is exchanged for its value, in what is printed back again.
	// So a document can speak of /etc/, and two of them of one port.
	Elsewhere map[string]string
	// Timeout bounds a command. Defaults to 5 minutes.
	Timeout time.Duration
	// All has what needs a program that is not there fail.
	All bool
	// Log is told what is left out. May be nil.
	Log func(format string, args ...any)
}

// Run does the steps in order, in one shell, and gives one error for each that
// did not do as the document says. A command that does not end ends the run.
func Run(ctx context.Context, steps []Step, o Options) []error {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	there, back := exchange(o.Elsewhere)
	sh, err := newShell(ctx, o)
	if err != nil {
		return []error{err}
	}
	defer sh.close()
	var errs []error
	for _, s := range steps {
		if why := leftOut(s, o); why != "" {
			if o.All && s.Skip == "" {
				errs = append(errs, fmt.Errorf("line %d: %s", s.Line, why))
				continue
			}
			o.Log("line %d is left out: %s", s.Line, why)
			continue
		}
		if s.File != "" {
			if err := write(o.Dir, s.File, there.Replace(s.File), there.Replace(s.Text)); err != nil {
				errs = append(errs, fmt.Errorf("line %d: %w", s.Line, err))
			}
			continue
		}
		out, code, err := sh.run(there.Replace(s.Command))
		out = back.Replace(out)
		if err != nil {
			return append(errs, fmt.Errorf("line %d: %s: %w; it printed\n%s", s.Line, s.Command, err, out))
		}
		got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if out == "" {
			got = nil
		}
		switch {
		case code != s.Exit:
			errs = append(errs, fmt.Errorf("line %d: %s: exit code %d, want %d; it printed\n%s", s.Line, s.Command, code, s.Exit, out))
		case (!s.AnyOutput || len(s.Want) > 0) && !Match(s.Want, got):
			errs = append(errs, fmt.Errorf("line %d: %s: it printed\n%s\nwant\n%s", s.Line, s.Command, out, strings.Join(s.Want, "\n")))
		}
	}
	return errs
}

func leftOut(s Step, o Options) string {
	if s.Skip != "" {
		return s.Skip
	}
	for _, tool := range s.Needs {
		if files, err := filepath.Glob(tool); filepath.IsAbs(tool) && err == nil && len(files) > 0 {
			continue
		}
		if !inPath(tool, o.Env) {
			return tool + " is not there"
		}
	}
	return ""
}

// inPath looks for a program in the PATH of an environment.
func inPath(tool string, env []string) bool {
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if info, err := os.Stat(filepath.Join(dir, tool)); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return true
			}
		}
	}
	return false
}

// write writes the file that the document calls as, and the run name.
func write(dir, as, name, text string) error {
	switch {
	case !filepath.IsAbs(name):
		name = filepath.Join(dir, name)
	case name == as:
		return fmt.Errorf("file %s is not below the folder", as)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

// exchange gives the ways from a document to its run, and back.
func exchange(elsewhere map[string]string) (there, back *strings.Replacer) {
	// The longer one first, where one begins with another.
	keys := slices.SortedFunc(maps.Keys(elsewhere), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var t, b []string
	for _, k := range keys {
		t, b = append(t, k, elsewhere[k]), append(b, elsewhere[k], k)
	}
	return strings.NewReplacer(t...), strings.NewReplacer(b...)
}

// Match compares lines with those of a document, in which … stands for any text
// or, alone, for any lines. Blank lines at the end do not count.
func Match(want, got []string) bool {
	want, got = trimmed(want), trimmed(got)
	// reach[j] is true when the lines wanted so far can be the first j lines got.
	reach := make([]bool, len(got)+1)
	reach[0] = true
	for _, w := range want {
		then := make([]bool, len(got)+1)
		if strings.TrimSpace(w) == "…" {
			any := false
			for j := range reach {
				any = any || reach[j]
				then[j] = any
			}
		} else {
			for j := range got {
				then[j+1] = reach[j] && fits(w, got[j])
			}
		}
		reach = then
	}
	return reach[len(got)]
}

func trimmed(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// fits compares a line; spaces at its end do not count.
func fits(want, got string) bool {
	want, got = strings.TrimRight(want, " \t"), strings.TrimRight(got, " \t")
	parts := strings.Split(want, "…")
	if len(parts) == 1 {
		return want == got
	}
	got, ok := strings.CutPrefix(got, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(got, p)
		if i < 0 {
			return false
		}
		got = got[i+len(p):]
	}
	return strings.HasSuffix(got, parts[len(parts)-1])
}

// shell is a bash that runs one command after the other.
type shell struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *os.File
	lines   chan string
	timeout time.Duration
	n       int
}

// maxOutput bounds what is kept of one command.
const maxOutput = 1 << 20

var errTimeout = errors.New("it did not end in time")

func newShell(ctx context.Context, o Options) (*shell, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "bash", "--norc", "--noprofile")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = o.Dir, o.Env, w, w
	group(cmd)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s := &shell{cmd: cmd, in: in, out: r, lines: make(chan string, 1000), timeout: o.Timeout}
	go func() {
		defer close(s.lines)
		read := bufio.NewReader(r)
		for {
			line, err := read.ReadString('\n')
			if line != "" {
				s.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	return s, nil
}

// run runs a command to its end.
func (s *shell) run(command string) (out string, code int, err error) {
	s.n++
	mark := fmt.Sprintf("doctest-%d-%d", os.Getpid(), s.n)
	// The command reads no input: what follows is for the shell.
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null\nprintf '\\n%%s %%d\\n' %s $?\n", command, mark); err != nil {
		return "", 0, err
	}
	var kept bytes.Buffer
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return kept.String(), 0, errors.New("the shell ended")
			}
			if rest, ok := strings.CutPrefix(line, mark+" "); ok {
				code, err := strconv.Atoi(strings.TrimSpace(rest))
				out := strings.TrimSuffix(kept.String(), "\n") // the mark's own
				return strings.TrimSuffix(out, "\n"), code, err
			}
			if kept.Len() < maxOutput {
				kept.WriteString(line)
			}
		case <-timer.C:
			return kept.String(), 0, errTimeout
		}
	}
}

// close ends the shell and all that it started.
func (s *shell) close() {
	_ = s.in.Close()
	kill(s.cmd)
	_ = s.cmd.Wait()
	_ = s.out.Close()
	for range s.lines { // until who reads has ended
	}
}
