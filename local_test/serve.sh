#!/usr/bin/env bash
# Start a container as a multi-model endpoint does, and wait until it is healthy.
#
#   local_test/serve.sh [options of docker run]      e.g. local_test/serve.sh -m 4g --cpus 2
#
# IMAGE, PORT and WORK (its models/ is what the container sees as /opt/ml/models) may be set.
set -euo pipefail

models=${WORK:-/tmp/mme}/models
url=http://localhost:${PORT:-8080}

mkdir -p "$models"
docker run --detach --name "${NAME:-mme}" \
  --publish "127.0.0.1:${PORT:-8080}:8080" \
  --env SAGEMAKER_MULTI_MODEL=true \
  --volume "$models:/opt/ml/models:ro" \
  "$@" "${IMAGE:-xgboost-mme:cpu}" serve > /dev/null

until curl -sf -o /dev/null "$url/ping"; do
  if [ "$(docker inspect -f '{{.State.Running}}' "${NAME:-mme}")" = false ]; then
    docker logs "${NAME:-mme}"
    exit 1
  fi
  sleep 0.2
done
echo "healthy at $url"
