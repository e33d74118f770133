#!/bin/sh
# Builds a Debian package: deb.sh PROGRAM VERSION OUTDIR. The same input gives the
# same bytes; SOURCE_DATE_EPOCH is the time of everything in it.
set -eu

program=$(realpath "$1") out=$(realpath "$3")
here=$(cd "$(dirname "$0")" && pwd)
: "${SOURCE_DATE_EPOCH:?the time of the package, in seconds}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

# v1.2.3-4-gabc is after 1.2.3 and before 1.2.4; a tree without tags is before all.
version=$(printf %s "${2#v}" | tr - +)
case $version in
[0-9]*.*) ;;
*) version="0~git$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)+$version" ;;
esac
arch=$(dpkg --print-architecture)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
put() { # MODE FROM TO
	install -D -m "$1" "$2" "$root/$3"
}
packed() { # FILE: standard input, compressed
	mkdir -p "$(dirname "$root/$1")"
	gzip -9n >"$root/$1"
}

put 0755 "$program" usr/bin/wasakari
put 0644 "$here/wasakari.service" usr/lib/systemd/system/wasakari.service
put 0644 "$here/wasakari.sysusers" usr/lib/sysusers.d/wasakari.conf
put 0644 "$here/wasakari.tmpfiles" usr/lib/tmpfiles.d/wasakari.conf
put 0640 "$here/wasakari.conf" etc/wasakari/wasakari.conf
put 0644 "$here/wasakari.default" etc/default/wasakari
put 0644 "$here/wasakari.logrotate" etc/logrotate.d/wasakari
install -d -m 0755 "$root/etc/wasakari/tasks"
put 0644 "$here/debian/copyright" usr/share/doc/wasakari/copyright
packed usr/share/doc/wasakari/changelog.gz <"$here/../CHANGELOG.md"
packed usr/share/doc/wasakari/operation.md.gz <"$here/../docs/operation.md"
"$program" config sample | packed usr/share/doc/wasakari/wasakari.conf.sample.gz
"$program" manual | packed usr/share/man/man8/wasakari.8.gz
mkdir -p "$root/usr/share/bash-completion/completions"
"$program" completion bash >"$root/usr/share/bash-completion/completions/wasakari"

for script in postinst prerm postrm; do
	put 0755 "$here/debian/$script" "DEBIAN/$script"
done
(cd "$root" && find etc -type f | LC_ALL=C sort | sed 's,^,/,') >"$root/DEBIAN/conffiles"
(cd "$root" && find etc usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<CONTROL
Package: wasakari
Version: $version
Architecture: $arch
Maintainer: The authors of Wasakari <wasakari@localhost>
Installed-Size: $(find "$root/usr" "$root/etc" -type f -printf '%s\n' | awk '{n += int(($1 + 1023) / 1024)} END {print n}')
Depends: passwd
Recommends: ca-certificates, systemd
Section: net
Priority: optional
Description: recovery of failed OpenStack hosts by sandboxed tasks
 Wasakari does what masakari-api and masakari-engine do: it takes notifications
 of failed hosts, processes and servers and runs recovery flows. The tasks of a
 flow are WebAssembly modules, each in a sandbox of its own.
CONTROL
find "$root" -print0 | xargs -0 touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
mkdir -p "$out"
# One thread: what several make depends on how many they are.
dpkg-deb --root-owner-group --threads-max=1 -Zxz --build "$root" "$out/wasakari_${version}_$arch.deb" >/dev/null
echo "$out/wasakari_${version}_$arch.deb"
