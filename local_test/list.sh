#!/usr/bin/env bash
# List the models that are loaded, 100 a page; an answer names the next page's token.
#
#   local_test/list.sh [TOKEN]
set -euo pipefail

curl -sS --fail-with-body "http://localhost:${PORT:-8080}/models?next_page_token=${1:-0}"
