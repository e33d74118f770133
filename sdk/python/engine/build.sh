#!/bin/bash
# Builds the Python engine from Debian's source package: build.sh WORK OUT.wasm
#
# Needs Debian 12's clang-19 lld-19 libclang-rt-19-dev-wasm32 llvm-14 wasi-libc
# python3.11 dpkg-dev make, and Go. The same sources and tools make the same
# bytes, in whichever folder.
set -euo pipefail

# What is built.
SUITE=bookworm
VERSION=3.11.2-6+deb12u8
DSC_SHA256=197fa19ab45f41c820f40f6d9ead671c2ea29ddc53ba9424b36f1bf58458a10e

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
out=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cpython=$work/cpython
build=$work/build

for tool in clang-19 wasm-ld-19 llvm-ar-14 llvm-ranlib-14 python3.11 dpkg-source make; do
	command -v $tool >/dev/null || {
		echo "$tool is missing: apt install clang-19 lld-19 libclang-rt-19-dev-wasm32 llvm-14 wasi-libc python3.11 dpkg-dev make" >&2
		exit 1
	}
done

if [ ! -d "$cpython" ]; then
	cd "$work"
	# From where this machine has its packages, without touching its own lists.
	site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' | head -1)
	mkdir -p apt/lists/partial apt/cache apt/parts
	for suite in $SUITE $SUITE-updates; do
		echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main"
	done >apt/sources.list
	options=(-qq -o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts="$work/apt/parts" -o Dir::State::Lists="$work/apt/lists"
		-o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root)
	apt-get "${options[@]}" update
	apt-get "${options[@]}" source --download-only "python3.11=$VERSION"
	dsc=python3.11_$VERSION.dsc
	echo "$DSC_SHA256  $dsc" | sha256sum -c --quiet
	sed -n '/^Checksums-Sha256:/,/^[^ ]/s/^ \([0-9a-f]\{64\}\) [0-9]* \(.*\)/\1  \2/p' "$dsc" | sha256sum -c --quiet
	rm -rf cpython.part
	dpkg-source --no-check -x "$dsc" cpython.part >/dev/null
	mv cpython.part cpython
fi

export SOURCE_DATE_EPOCH=1675814400 # of 3.11.2's release; it is in sys.version
export LC_ALL=C TZ=UTC PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1

# No --sysroot headers but those of wasi-libc; libraries come from there too.
CC="clang-19 --target=wasm32-wasi --sysroot=/usr -nostdlibinc -isystem /usr/include/wasm32-wasi"
CFLAGS="-mbulk-memory -mnontrapping-fptoint -msign-ext -Wno-int-conversion -ffile-prefix-map=$work=."

if [ ! -f "$build/libpython3.11.a" ]; then
	mkdir -p "$build"
	cd "$build"
	# Without PKG_CONFIG it finds this machine's libraries.
	CONFIG_SITE=$cpython/Tools/wasm/config.site-wasm32-wasi PKG_CONFIG=/bin/false \
		CC="$CC" CPP="$CC -E" AR=llvm-ar-14 RANLIB=llvm-ranlib-14 CFLAGS="$CFLAGS" LDFLAGS=--ld-path=/usr/bin/wasm-ld-19 OPT="-DNDEBUG -Os" \
		../cpython/configure --prefix=/python --host=wasm32-unknown-wasi --build=x86_64-linux-gnu --with-build-python=/usr/bin/python3.11 \
		--without-ensurepip --disable-shared --with-pymalloc --disable-test-modules --disable-ipv6 --without-doc-strings >configure.log
	cp "$here/Setup.local" Modules/Setup.local
	make -j"$(nproc)" libpython3.11.a >make.log
fi

# The engine itself, with the modules that it carries.
objects=$work/objects
mkdir -p "$objects"
python3.11 "$here/freeze.py" "$cpython/Lib" "$here/../lib" "$objects"
include="-I $cpython/Include -I $build -I $objects --embed-dir=$objects"
# shellcheck disable=SC2086 # the flags are words
{
	$CC $CFLAGS -Os -DNDEBUG -std=c2x -Wno-c23-extensions -Wno-deprecated-declarations $include -ffile-prefix-map="$here=engine" -c "$here/engine.c" -o "$objects/engine.o"
	$CC $CFLAGS -Os -c "$here/wasi.c" -o "$objects/wasi.o"
	$CC -Wno-unused-command-line-argument --ld-path=/usr/bin/wasm-ld-19 -nostartfiles -Wl,--no-entry,--stack-first,-z,stack-size=1048576,--strip-all,--gc-sections \
		-o "$objects/raw.wasm" "$objects/engine.o" "$objects/wasi.o" "$build/libpython3.11.a" -lm -lwasi-emulated-signal -lwasi-emulated-getpid -lwasi-emulated-process-clocks
}
(cd "$root" && go run ./runtime/internal/freeze "$objects/raw.wasm" "$out")
