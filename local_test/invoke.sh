#!/usr/bin/env bash
# Send a file to a model, and show the answer.
#
#   local_test/invoke.sh TARGET PAYLOAD [CONTENT-TYPE]
#
#   e.g. local_test/invoke.sh Chicago_IL.tar.gz local_test/payloads/houses.csv
#
# The content type is by the file's ending, if it is not given. ACCEPT may be set.
set -euo pipefail

target=${1:?which model, as Chicago_IL.tar.gz?}
payload=${2:?which file?}
case $payload in
  *.csv) type=text/csv ;;
  *.json) type=application/json ;;
  *.jsonl) type=application/jsonlines ;;
  *.libsvm) type=text/libsvm ;;
  *) type=application/octet-stream ;;
esac
id=$(printf %s "$target" | sha256sum | cut -d' ' -f1)

curl -sS --fail-with-body "http://localhost:${PORT:-8080}/models/$id/invoke" -w '\n' \
  -H "Content-Type: ${3:-$type}" -H "Accept: ${ACCEPT:-application/json}" \
  -H "X-Amzn-SageMaker-Target-Model: $target" --data-binary "@$payload"
