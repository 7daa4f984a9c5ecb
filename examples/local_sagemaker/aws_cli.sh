#!/usr/bin/env bash
# House prices by the AWS CLI, as for AWS: nothing in it is local.
#
#     mme local exec -- examples/local_sagemaker/aws_cli.sh
#
# Leaves nothing behind but objects in the bucket. curl.sh is called while the endpoint is there.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
export AWS_PAGER=""
account=$(aws sts get-caller-identity --query Account --output text)
bucket=sagemaker-$AWS_DEFAULT_REGION-$account
image=683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1
name=houses-$(date +%s)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cities="Chicago_IL Houston_TX"

python3 "$here/houses.py" "$scratch/data" $cities >/dev/null
aws s3 sync --quiet "$scratch/data" "s3://$bucket/$name/data"

channel() { # CITY CHANNEL
    cat <<EOF
{"ChannelName": "$2", "ContentType": "text/csv", "DataSource": {"S3DataSource": {
  "S3DataType": "S3Prefix", "S3Uri": "s3://$bucket/$name/data/$1/$2/"}}}
EOF
}

for city in $cities; do
    cat >"$scratch/job.json" <<EOF
{
  "TrainingJobName": "${city/_/-}-$name",
  "AlgorithmSpecification": {"TrainingImage": "$image", "TrainingInputMode": "File"},
  "RoleArn": "$AWS_SAGEMAKER_ROLE",
  "HyperParameters": {"objective": "reg:squarederror", "num_round": "25"},
  "InputDataConfig": [$(channel "$city" train), $(channel "$city" validation)],
  "OutputDataConfig": {"S3OutputPath": "s3://$bucket/$name/artifacts/"},
  "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
  "StoppingCondition": {"MaxRuntimeInSeconds": 600}
}
EOF
    aws sagemaker create-training-job --cli-input-json "file://$scratch/job.json"
done
for city in $cities; do
    until [ "$(status=$(aws sagemaker describe-training-job --training-job-name "${city/_/-}-$name" \
        --query TrainingJobStatus --output text); echo "$status")" != InProgress ]; do sleep 1; done
    artifact=$(aws sagemaker describe-training-job --training-job-name "${city/_/-}-$name" \
        --query ModelArtifacts.S3ModelArtifacts --output text)
    aws s3 cp --quiet "$artifact" "s3://$bucket/$name/models/$city.tar.gz"
done

aws sagemaker create-model --model-name "$name" --execution-role-arn "$AWS_SAGEMAKER_ROLE" \
    --primary-container "Image=$image,Mode=MultiModel,ModelDataUrl=s3://$bucket/$name/models/"
aws sagemaker create-endpoint-config --endpoint-config-name "$name" --production-variants \
    "VariantName=AllTraffic,ModelName=$name,InstanceType=ml.m5.large,InitialInstanceCount=1"
aws sagemaker create-endpoint --endpoint-name "$name" --endpoint-config-name "$name"
aws sagemaker wait endpoint-in-service --endpoint-name "$name"

printf '1995,3000,3,2.0,1.0,2\n' >"$scratch/house.csv"
for city in $cities; do
    aws sagemaker-runtime invoke-endpoint --endpoint-name "$name" --target-model "$city.tar.gz" \
        --content-type text/csv --accept text/csv --body "fileb://$scratch/house.csv" \
        "$scratch/out.csv" >/dev/null
    echo "$city: $(cat "$scratch/out.csv")"
done
"$here/curl.sh" "$name" Chicago_IL.tar.gz

aws sagemaker delete-endpoint --endpoint-name "$name"
aws sagemaker wait endpoint-deleted --endpoint-name "$name"
aws sagemaker delete-endpoint-config --endpoint-config-name "$name"
aws sagemaker delete-model --model-name "$name"
echo done
