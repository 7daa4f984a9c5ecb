#!/usr/bin/env bash
# A prediction by curl. On AWS the request is signed: curl --aws-sigv4 does that.
#
#     mme local exec -- examples/local_sagemaker/curl.sh ENDPOINT MODEL
set -euo pipefail

curl --silent --show-error --fail-with-body \
    "$AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME/endpoints/$1/invocations" \
    -H "X-Amzn-SageMaker-Target-Model: $2" \
    -H 'Content-Type: text/csv' -H 'Accept: application/json' \
    -d '1995,3000,3,2.0,1.0,2'
echo
