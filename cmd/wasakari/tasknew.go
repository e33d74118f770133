package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasakari/wasakari/abi"
	"github.com/wasakari/wasakari/config"
	"github.com/wasakari/wasakari/internal/scaffold"
	"github.com/wasakari/wasakari/internal/standardtasks"
)

func newTaskNew(w world) *cobra.Command {
	var lang, dir string
	languages := strings.Join(scaffold.Languages(), ", ")
	cmd := &cobra.Command{
		Use:   "new --lang LANGUAGE KEY",
		Short: "Make the first files of a task",
		Long: `Makes a folder with a small task that builds, its tests and a README. KEY is the
entry-point key: the name by which flows of the configuration call the task.

The task counts the servers of the failed host. Try it with wasakari task test,
then write your own in its place. A project of a compiled language carries a copy
of Wasakari's SDK, so that it builds without a network; Python and JavaScript
need no tools at all.

Languages: ` + languages + `.`,
		Example: `  wasakari task new --lang python my_task
  cd my_task
  wasakari task test
  wasakari task build`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if lang == "" {
				return usagef("name a language with --lang: %s", languages)
			}
			if !slices.Contains(scaffold.Languages(), lang) {
				hint := "want one of " + languages
				if near, ok := config.Nearest(lang, scaffold.Languages()); ok {
					hint = "did you mean " + near + "?"
				}
				return usagef("--lang %s: %s", lang, hint)
			}
			key := args[0]
			names, err := scaffold.NamesOf(key, config.Reserved)
			if err != nil {
				return &usageError{err}
			}
			standard, err := abi.ReadManifest(standardtasks.Module())
			if err != nil {
				return err
			}
			if standard.Task(key) != nil {
				return usagef("%s is a standard task, which is built in; choose another key", key)
			}
			files, err := scaffold.Files(lang, names)
			if err != nil {
				return &usageError{err}
			}
			if dir == "" {
				dir = key
			}
			switch err := scaffold.Write(dir, files); {
			case errors.Is(err, fs.ErrExist):
				return usagef("%s is there already; nothing is overwritten: choose another folder with --dir", dir)
			case err != nil:
				return &usageError{err}
			}
			fmt.Fprintf(w.stdout, "%s: a task in %s\n", dir, lang)
			for _, f := range files {
				if !strings.HasPrefix(f.Path, "sdk/") {
					fmt.Fprintf(w.stdout, "  %s\n", f.Path)
				}
			}
			if scaffold.CarriesSDK(lang) {
				fmt.Fprintln(w.stdout, "  sdk/")
			}
			fmt.Fprintf(w.stdout, `
next:
  cd %s
  wasakari task test       # runs it on a simulated cloud, as tests/*.yaml say
  wasakari task trace      # shows every call of the host
  wasakari task build      # writes %s.wasm, which task push uploads
`, quoteArg(filepath.Clean(dir)), key)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&lang, "lang", "", "`LANGUAGE`: "+languages)
	f.StringVar(&dir, "dir", "", "`folder` to make (default: KEY, here)")
	return cmd
}

// plainArg is what a shell reads as it stands.
var plainArg = regexp.MustCompile(`^[A-Za-z0-9/._+:@%-]+$`)

// quoteArg quotes what a shell would read otherwise.
func quoteArg(s string) string {
	if plainArg.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
