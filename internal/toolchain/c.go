package toolchain

import (
	"context"
	"path/filepath"
	"slices"
)

var cLanguage = language{
	name:  "c",
	marks: []string{"*.c"},
	tools: []tool{
		{"clang", "apt install clang lld"},
		{"wasm-ld", "apt install lld"},
	},
	build: func(ctx context.Context, b *builder, out string) error {
		b.version(ctx, "clang", "--version")
		sources, err := filepath.Glob(filepath.Join(globSafe(b.dir), "*.c"))
		if err != nil {
			return err
		}
		slices.Sort(sources)
		args := []string{
			// For the compiler alone: clang itself would run wasm-opt where there is one,
			// which takes the names of functions away, and makes other bytes.
			"-Xclang", "-Oz",
			"--target=wasm32", "-nostdlib", "-ffreestanding", "-Wall", "-Wextra", "-Isdk", "-Wl,--no-entry,--stack-first,-z,stack-size=262144", "-o", out,
		}
		for _, s := range sources {
			args = append(args, filepath.Base(s))
		}
		_, err = b.run(ctx, nil, "clang", args...)
		return err
	},
}
