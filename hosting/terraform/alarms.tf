# https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html

locals {
  alarms = merge({
    notify         = null
    server_errors  = 5
    latency_ms     = 1000
    cache_hit      = 0.5
    memory_percent = 95
    disk_percent   = 90
  }, var.alarms)

  invocations = "AWS/SageMaker"
  machines    = "/aws/sagemaker/Endpoints"

  # By the end of an alarm's name. minutes: how many in a row, of_them: how many of them must be bad.
  every_alarm = {
    server-errors = {
      namespace = local.invocations, metric = "Invocation5XXErrors", statistic = "Sum"
      threshold = local.alarms.server_errors, minutes = 3, of_them = 3
    }
    latency = {
      namespace = local.invocations, metric = "ModelLatency", statistic = "p99"
      # The metric is in microseconds.
      threshold = local.alarms.latency_ms == null ? null : local.alarms.latency_ms * 1000, minutes = 10, of_them = 5
    }
    cache-hit = {
      namespace = local.invocations, metric = "ModelCacheHit", statistic = "Average"
      threshold = local.alarms.cache_hit, minutes = 15, of_them = 15
    }
    memory = {
      namespace = local.machines, metric = "MemoryUtilization", statistic = "Maximum"
      threshold = local.alarms.memory_percent, minutes = 15, of_them = 15
    }
    disk = {
      namespace = local.machines, metric = "DiskUtilization", statistic = "Maximum"
      threshold = local.alarms.disk_percent, minutes = 15, of_them = 15
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = {
    for name, alarm in local.every_alarm : name => alarm
    if var.alarms != null && alarm.threshold != null
  }

  alarm_name          = "${var.name}/mme/${each.key}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic == "p99" ? null : each.value.statistic
  extended_statistic  = each.value.statistic == "p99" ? "p99" : null
  threshold           = each.value.threshold
  comparison_operator = each.key == "cache-hit" ? "LessThanThreshold" : "GreaterThanThreshold"
  evaluation_periods  = each.value.minutes
  datapoints_to_alarm = each.value.of_them
  period              = 60
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarms.notify[*]
  tags                = var.tags

  dimensions = {
    EndpointName = aws_sagemaker_endpoint.this.name
    VariantName  = local.variant
  }
}
