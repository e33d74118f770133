package config

import (
	"os"
	"path/filepath"
	"slices"
)

// folders lists where a file that the configuration names by a relative path
// is looked for: beside the files that were read, the last one first, then
// where Masakari's and Wasakari's own are.
func (l *loader) folders(src Sources) []string {
	var out []string
	add := func(dir string) {
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	for _, f := range slices.Backward(l.c.files) {
		add(filepath.Dir(f))
	}
	etc := filepath.Join(src.Root, "/etc")
	if src.Root == "" {
		etc = "/etc"
	}
	add(filepath.Join(etc, "masakari"))
	add(filepath.Join(etc, "wasakari"))
	return out
}

// Find gives the path of a file or directory that the configuration names,
// such as Policy.File: an absolute one is itself; a relative one is looked for
// beside the configuration files, the last that was read first, then in
// /etc/masakari and /etc/wasakari. ok tells whether it is there.
func (c *Config) Find(name string) (path string, ok bool) {
	if name == "" {
		return "", false
	}
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return name, err == nil
	}
	for _, dir := range c.folders {
		p := filepath.Join(dir, name)
		if _, err := os.Stat(p); err == nil {
			return p, true
		}
	}
	return name, false
}
