# One multi-model endpoint as `mme deploy` makes it.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  variant = "main"
  bucket  = "sagemaker-${data.aws_region.current.id}-${data.aws_caller_identity.current.account_id}"
  prefix  = var.models == null ? "s3://${local.bucket}/${var.name}/models" : replace(var.models, "/\\/+$/", "")
  models  = "${local.prefix}/"
  role    = var.create_role ? aws_iam_role.execution[0].arn : var.role

  # SageMaker can only make and delete models and configurations. A name that ends in a digest of
  # the content lets the new one be made beside the old, before the endpoint moves to it.
  model = {
    image             = var.image
    models            = local.models
    environment       = var.environment
    cache_models      = var.cache_models
    role              = local.role
    network_isolation = var.network_isolation
    vpc               = var.vpc
  }
  config = {
    model           = aws_sagemaker_model.this.name
    instance_type   = var.instance_type
    instances       = var.instances
    volume_gb       = var.volume_gb
    startup_seconds = var.startup_seconds
    inference_ami   = var.inference_ami
    kms_key         = var.kms_key
  }
}

resource "aws_sagemaker_model" "this" {
  name                     = "${var.name}-${substr(sha256(jsonencode(local.model)), 0, 8)}"
  execution_role_arn       = local.model.role
  enable_network_isolation = local.model.network_isolation
  tags                     = var.tags

  primary_container {
    image          = local.model.image
    mode           = "MultiModel"
    model_data_url = local.model.models
    environment    = local.model.environment

    multi_model_config {
      model_cache_setting = local.model.cache_models ? "Enabled" : "Disabled"
    }
  }

  dynamic "vpc_config" {
    for_each = local.model.vpc[*]
    content {
      subnets            = vpc_config.value.subnets
      security_group_ids = vpc_config.value.security_groups
    }
  }

  # The containers may read their models from the first moment.
  depends_on = [aws_iam_role_policy.execution]

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = var.create_role == (var.role == null)
      error_message = "Give role, the ARN of an execution role, or create_role = true, not both."
    }
  }
}

resource "aws_sagemaker_endpoint_configuration" "this" {
  name        = "${var.name}-${substr(sha256(jsonencode(local.config)), 0, 8)}"
  kms_key_arn = local.config.kms_key
  tags        = var.tags

  production_variants {
    variant_name                                      = local.variant
    model_name                                        = local.config.model
    instance_type                                     = local.config.instance_type
    initial_instance_count                            = local.config.instances
    initial_variant_weight                            = 1
    volume_size_in_gb                                 = local.config.volume_gb
    container_startup_health_check_timeout_in_seconds = local.config.startup_seconds
    inference_ami_version                             = local.config.inference_ami
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint" "this" {
  name                 = var.name
  endpoint_config_name = aws_sagemaker_endpoint_configuration.this.name
  tags                 = var.tags

  lifecycle {
    # The provider takes an update that failed for one that is done: the endpoint is in service, with
    # what it had before. That must not be deleted then.
    postcondition {
      condition     = self.endpoint_config_name == aws_sagemaker_endpoint_configuration.this.name
      error_message = "The update failed, and the endpoint serves as before: mme endpoints says why."
    }
  }
}
