output "endpoint" {
  description = "Name of the endpoint, for InvokeEndpoint and name: in mme.yaml."
  value       = aws_sagemaker_endpoint.this.name
}

output "endpoint_arn" {
  description = "ARN of the endpoint, for policies of those who invoke it."
  value       = aws_sagemaker_endpoint.this.arn
}

output "models" {
  description = "Prefix in S3 below which the models' archives are, for models: in mme.yaml."
  value       = local.models
}

output "role" {
  description = "ARN of the execution role, for role: in mme.yaml."
  value       = local.role
}
