#!/bin/sh
# Makes the base image from Debian's packages, for machines that reach no image registry.
# Needs root, mmdebstrap, and an engine. Usage: base-image.sh [NAME]
set -eu
name=${1:-debian:bookworm-slim}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The certificates of this machine, so that a build behind a proxy of its own trusts it too.
# Without what Debian's slim images leave out too. The hook spares it usrmerge, which needs Perl.
mmdebstrap --quiet --variant=apt --include=ca-certificates \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
    bookworm "$work/base.tar" \
    'deb http://deb.debian.org/debian bookworm main' \
    'deb http://deb.debian.org/debian bookworm-updates main' \
    'deb http://deb.debian.org/debian-security bookworm-security main'
docker import "$work/base.tar" "$name"
