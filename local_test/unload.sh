#!/usr/bin/env bash
# Unload a model.
#
#   local_test/unload.sh TARGET      e.g. local_test/unload.sh Chicago_IL.tar.gz
set -euo pipefail

target=${1:?which model, as Chicago_IL.tar.gz?}
id=$(printf %s "$target" | sha256sum | cut -d' ' -f1)

curl -sS --fail-with-body -X DELETE "http://localhost:${PORT:-8080}/models/$id"
