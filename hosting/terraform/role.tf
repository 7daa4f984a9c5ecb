# The execution role, with what `mme iam execution` says and no more.
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html

locals {
  place = regex("^s3://(?P<bucket>[^/]+)/(?P<key>.*)$", local.models)
  image = regex("^(?P<account>\\d{12})\\.dkr\\.ecr(?:-fips)?\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<repository>[^:@]+)", var.image)

  account    = data.aws_caller_identity.current.account_id
  arn        = "arn:${data.aws_partition.current.partition}"
  own        = "${data.aws_region.current.id}:${local.account}"
  interfaces = "${local.arn}:ec2:${local.own}:network-interface/*"
  logs       = "${local.arn}:logs:${local.own}:log-group:/aws/sagemaker/Endpoints/${var.name}"
}

# Only SageMaker assumes the role, and only for this account:
# https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "SageMaker"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Models"
    actions   = ["s3:GetObject"]
    resources = ["${local.arn}:s3:::${local.place.bucket}/${local.place.key}*"]
  }

  statement {
    sid       = "ListModels"
    actions   = ["s3:ListBucket"]
    resources = ["${local.arn}:s3:::${local.place.bucket}"]

    dynamic "condition" {
      for_each = local.place.key == "" ? [] : ["${local.place.key}*"]
      content {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = [condition.value]
      }
    }
  }

  dynamic "statement" {
    for_each = var.kms_key[*]
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }

  # A grant that only a service of AWS can use: for the volumes.
  dynamic "statement" {
    for_each = var.kms_key[*]
    content {
      sid       = "Volumes"
      actions   = ["kms:CreateGrant"]
      resources = [statement.value]

      condition {
        test     = "Bool"
        variable = "kms:GrantIsForAWSResource"
        values   = ["true"]
      }
    }
  }

  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["${local.arn}:ecr:${local.image.region}:${local.image.account}:repository/${local.image.repository}"]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [local.logs, "${local.logs}:*"]
  }

  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]
    }
  }

  dynamic "statement" {
    for_each = var.vpc[*]
    content {
      sid = "Network"
      actions = [
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.vpc[*]
    content {
      sid     = "NetworkInterfaces"
      actions = ["ec2:CreateNetworkInterface"]
      # Subnets and security groups may be another account's, and shared.
      resources = concat(
        [local.interfaces],
        [for id in statement.value.subnets : "${local.arn}:ec2:${data.aws_region.current.id}:*:subnet/${id}"],
        [for id in statement.value.security_groups : "${local.arn}:ec2:${data.aws_region.current.id}:*:security-group/${id}"],
      )
    }
  }

  dynamic "statement" {
    for_each = var.vpc[*]
    content {
      sid = "OwnNetworkInterfaces"
      actions = [
        "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteNetworkInterfacePermission",
      ]
      resources = [local.interfaces]
    }
  }
}

resource "aws_iam_role" "execution" {
  count = var.create_role ? 1 : 0

  # Not name_prefix, which has room for 38 characters only.
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "execution" {
  count = var.create_role ? 1 : 0

  name   = "execution"
  role   = aws_iam_role.execution[0].name
  policy = data.aws_iam_policy_document.execution.json
}
