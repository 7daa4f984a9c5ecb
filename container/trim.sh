#!/bin/sh
# Takes out of a virtual environment what nothing in the image uses, and compiles the rest.
# Puts into /native the library that netty would else unpack into the temporary directory and load
# from there, which may be mounted noexec.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)
find "$packages" -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -rf {} +
rm -rf "$packages"/pyarrow/include "$packages"/pyarrow/src "$packages"/numpy/_core/include
rm -f "$packages"/pyarrow/*flight* "$packages"/pyarrow/_pyarrow_cpp_tests*
find "$packages" -name '*.pyx' -delete
find "$packages" -name '*.pxd' -delete
# What is left must load: nothing else may need what was taken out.
"$1/bin/python" -B -c "
import pandas, pyarrow.csv, pyarrow.dataset, pyarrow.parquet, scipy.sparse, sklearn, xgboost
import boto3, dask, distributed, httpx, rich"
"$1/bin/python" -m compileall -q -j 0 "$packages"
mkdir -p /native
"$1/bin/python" - "$packages/mms/frontend/model-server.jar" /native <<'SCRIPT'
import pathlib, platform, sys, zipfile
name = f"libnetty_transport_native_epoll_{platform.machine().replace('aarch', 'aarch_')}.so"
with zipfile.ZipFile(sys.argv[1]) as jar:
    pathlib.Path(sys.argv[2], name).write_bytes(jar.read(f"META-INF/native/{name}"))
SCRIPT
