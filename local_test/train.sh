#!/usr/bin/env bash
# Train a city's model as a SageMaker training job does, on files that `mme houses` has written.
#
#   local_test/train.sh CITY      e.g. local_test/train.sh Chicago_IL
#
# Reads WORK/houses/CITY; leaves WORK/jobs/CITY/model.tar.gz, and why it failed in output/failure.
set -euo pipefail

work=${WORK:-/tmp/mme}
city=${1:?which city?}
ml=$work/jobs/$city

mkdir -p "$ml"/input/{config,data} "$ml"/{model,output}
cp -r "$work/houses/$city"/{train,validation} "$ml/input/data"
cat > "$ml/input/config/hyperparameters.json" << END
{"objective": "reg:squarederror", "num_round": "25", "early_stopping_rounds": "5"}
END
cat > "$ml/input/config/inputdataconfig.json" << END
{"train": {"ContentType": "text/csv"}, "validation": {"ContentType": "text/csv"}}
END
docker run --rm --user "$(id -u):$(id -g)" --volume "$ml:/opt/ml" \
  "${IMAGE:-xgboost-mme:cpu}" train
tar -czf "$ml/model.tar.gz" -C "$ml/model" .
