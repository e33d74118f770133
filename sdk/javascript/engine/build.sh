#!/bin/bash
# Builds the JavaScript engine from Debian's source package of QuickJS:
# build.sh WORK OUT.wasm
#
# Needs Debian 12's clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc dpkg-dev,
# and Go. The same sources and tools make the same bytes, in whichever folder.
set -euo pipefail

# What is built: of Debian 13, as Debian 12 has none.
SUITE=trixie
VERSION=2025.04.26-1
DSC_SHA256=9dc1d44c9d68023ba42778f2263b25409e0037aefa32cd72a56420d2ed4fdc06
ORIG_SHA256=ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
out=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")

for tool in clang-19 wasm-ld-19 dpkg-source; do
	command -v $tool >/dev/null || {
		echo "$tool is missing: apt install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc dpkg-dev" >&2
		exit 1
	}
done

if [ ! -d "$work/quickjs" ]; then
	cd "$work"
	# From where this machine has its packages, without touching its own lists.
	site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -1)
	mkdir -p apt/lists/partial apt/cache apt/parts
	echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $SUITE main" >apt/sources.list
	options=(-qq -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts="$work/apt/parts" -o Dir::State::Lists="$work/apt/lists"
		-o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root)
	apt-get "${options[@]}" update
	apt-get "${options[@]}" source --download-only quickjs=$VERSION
	sha256sum -c --quiet <<-EOF
		$DSC_SHA256  quickjs_$VERSION.dsc
		$ORIG_SHA256  quickjs_${VERSION%-*}.orig.tar.xz
	EOF
	rm -rf quickjs.part
	dpkg-source --no-check -x quickjs_$VERSION.dsc quickjs.part >/dev/null
	mv quickjs.part quickjs
fi

cd "$work/quickjs"
objects=$work/objects
mkdir -p "$objects"
CC="clang-19 --target=wasm32-wasi -nostdlibinc -isystem /usr/include/wasm32-wasi -isystem $here/include"
# EMSCRIPTEN is what QuickJS calls WebAssembly: no threads, no computed gotos.
CFLAGS="-O2 -DNDEBUG -mbulk-memory -mnontrapping-fptoint -msign-ext -fno-strict-aliasing -fwrapv
	-DEMSCRIPTEN -DCONFIG_STACK_CHECK -D_GNU_SOURCE -DCONFIG_VERSION=\"$(cat VERSION)\"
	-ffile-prefix-map=$work=. -ffile-prefix-map=$here=engine -ffile-prefix-map=$root=."
for unit in quickjs cutils dtoa libregexp libunicode; do
	# shellcheck disable=SC2086 # the flags are words
	[ "$unit.c" -ot "$objects/$unit.o" ] || $CC $CFLAGS -w -c $unit.c -o "$objects/$unit.o"
done
# shellcheck disable=SC2086
$CC $CFLAGS -Wall -Wno-c23-extensions -std=c23 --embed-dir="$here/../lib" -I . -c "$here/engine.c" -o "$objects/engine.o"
cd "$objects"
wasm-ld-19 --no-entry -z stack-size=524288 --stack-first --strip-debug --gc-sections --export-memory -o "$work/raw.wasm" \
	engine.o quickjs.o cutils.o dtoa.o libregexp.o libunicode.o \
	-L /usr/lib/wasm32-wasi -lc -lm /usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a
cd "$root"
go run ./runtime/internal/freeze "$work/raw.wasm" "$out"
