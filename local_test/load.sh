#!/usr/bin/env bash
# Unpack an archive where SageMaker would, and have the server load it.
#
#   local_test/load.sh ARCHIVE      e.g. local_test/load.sh /tmp/mme/Chicago_IL.tar.gz
#
# The archive's name is the TargetModel; the server knows the model by a hash of that name.
set -euo pipefail

archive=${1:?which archive?}
id=$(printf %s "$(basename "$archive")" | sha256sum | cut -d' ' -f1)
directory=${WORK:-/tmp/mme}/models/$id/model

mkdir -p "$directory"
tar -xzf "$archive" -C "$directory"
curl -sS --fail-with-body "http://localhost:${PORT:-8080}/models" \
  -H 'Content-Type: application/json' \
  -d "{\"model_name\": \"$id\", \"url\": \"/opt/ml/models/$id/model\"}"
