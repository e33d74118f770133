package toolchain

import (
	"context"
	"os"
	"path/filepath"
)

var assemblyScriptLanguage = language{
	name:  "assemblyscript",
	marks: []string{"asconfig.json"},
	tools: []tool{
		{"node", "apt install nodejs npm"},
		{"npm", "apt install npm"},
	},
	build: func(ctx context.Context, b *builder, out string) error {
		asc := filepath.Join("node_modules", "assemblyscript", "bin", "asc.js")
		if _, err := os.Stat(filepath.Join(b.dir, asc)); err != nil {
			return &MissingToolError{Language: "assemblyscript", Tool: "the compiler of package.json", Install: "npm install, in " + b.dir}
		}
		b.version(ctx, "node", asc, "--version")
		// asconfig.json holds the flags; a name beside the sources is its own.
		_, err := b.run(ctx, nil, "node", asc, "assembly/index.ts", "--target", "release", "--outFile", out)
		return err
	},
}
