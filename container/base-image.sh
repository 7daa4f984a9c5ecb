#!/bin/sh
# Makes the base image from Debian's packages, for machines that reach no image registry.
# Needs root, mmdebstrap, and an engine. Usage: base-image.sh [NAME]
set -eu
name=${1:-debian:bookworm-slim}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The certificates of this machine, so that a build behind a proxy of its own trusts it too.
mmdebstrap --quiet --variant=minbase --include=ca-certificates \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
    bookworm "$work/base.tar" http://deb.debian.org/debian
docker import "$work/base.tar" "$name"
