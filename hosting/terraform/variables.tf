# Names and meanings are those of mme.yaml; what is null there is null here.

variable "name" {
  description = "Name of the endpoint; what is made for it begins with it."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9](-?[A-Za-z0-9])*$", var.name)) && length(var.name) <= 50
    error_message = "A name has letters, digits and single hyphens between them, at most 50."
  }
}

variable "image" {
  description = "URI of the image in ECR, as mme push prints it."
  type        = string

  validation {
    condition     = can(regex("^\\d{12}\\.dkr\\.ecr[^/]*/.+$", var.image))
    error_message = "Write ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG."
  }
}

variable "models" {
  description = "Prefix in S3 below which the models' archives are; by default s3://sagemaker-REGION-ACCOUNT/NAME/models/."
  type        = string
  default     = null

  validation {
    condition     = var.models == null || can(regex("^s3://[a-z0-9][a-z0-9.-]+(/.*)?$", var.models))
    error_message = "Write s3://BUCKET/PREFIX/."
  }
}

variable "role" {
  description = "ARN of the execution role that the containers have; none with create_role."
  type        = string
  default     = null
}

variable "create_role" {
  description = "Whether to make the execution role, with what the containers need and no more."
  type        = bool
  default     = false
}

variable "instance_type" {
  description = "Type of each instance."
  type        = string
  default     = "ml.m5.large"
}

variable "instances" {
  description = "How many instances; with autoscaling, to begin with."
  type        = number
  default     = 1
}

variable "environment" {
  description = "Environment variables of the containers: the server's settings."
  type        = map(string)
  default     = {}
}

variable "cache_models" {
  description = "Whether a model stays loaded after it was invoked."
  type        = bool
  default     = true
}

variable "network_isolation" {
  description = "Whether the containers have no network at all."
  type        = bool
  default     = false
}

variable "vpc" {
  description = "Where the containers' network interfaces are; by default in no network of yours."
  type = object({
    subnets         = list(string)
    security_groups = list(string)
  })
  default = null
}

variable "kms_key" {
  description = "ARN of the key for the instances' volumes and the uploaded archives."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^arn:[a-z-]+:kms:.+:key/.+$", var.kms_key))
    error_message = "Write the key's ARN: Terraform takes no alias here."
  }
}

variable "volume_gb" {
  description = "Size of the volume for models that are not loaded; instance types with a disk take none."
  type        = number
  default     = null
}

variable "startup_seconds" {
  description = "Seconds within which a container must be healthy; SageMaker's default is 480."
  type        = number
  default     = null
}

variable "inference_ami" {
  description = "Name of the machine image of GPU instances, which decides on the driver."
  type        = string
  default     = null
}

variable "autoscaling" {
  description = "Target tracking on invocations per instance and minute; {} for the defaults. By default the number of instances stays."
  type = object({
    min                      = optional(number, 1)
    max                      = optional(number, 4)
    invocations_per_instance = optional(number, 1000)
    scale_out_cooldown       = optional(number, 300)
    scale_in_cooldown        = optional(number, 600)
  })
  default = null

  validation {
    condition     = var.autoscaling == null ? true : var.autoscaling.max >= var.autoscaling.min
    error_message = "The max is less than the min."
  }
}

# Of any type, because an object's optional attributes take null for "not given".
variable "alarms" {
  description = "Thresholds of CloudWatch's alarms: server_errors, latency_ms, cache_hit, memory_percent, disk_percent, of which null makes none, and notify, the ARN of an SNS topic; {} for the defaults. By default there are none."
  type        = any
  default     = null

  validation {
    condition = var.alarms == null ? true : length(setsubtract(keys(var.alarms), [
      "notify", "server_errors", "latency_ms", "cache_hit", "memory_percent", "disk_percent",
    ])) == 0
    error_message = "Known are notify, server_errors, latency_ms, cache_hit, memory_percent, disk_percent."
  }
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
