# docker buildx bake -f container/docker-bake.hcl
variable "IMAGE" { default = "xgboost-mme" }
variable "BASE_IMAGE" { default = "debian:bookworm-slim" }
variable "REVISION" { default = "unknown" }
variable "VERSION" { default = "unknown" }

group "default" { targets = ["cpu", "gpu"] }

target "common" {
  context    = "."
  dockerfile = "container/Dockerfile"
  platforms  = ["linux/amd64"]
  args       = { BASE_IMAGE = BASE_IMAGE, REVISION = REVISION, VERSION = VERSION }
  # SageMaker takes a single manifest of Docker's own media type, and neither an OCI index nor what
  # attestations make of it.
  attest = ["type=provenance,disabled=true", "type=sbom,disabled=true"]
  output = ["type=docker,oci-mediatypes=false"]
}

target "cpu" {
  inherits = ["common"]
  target   = "cpu"
  tags     = ["${IMAGE}:cpu"]
}

target "gpu" {
  inherits = ["common"]
  target   = "gpu"
  tags     = ["${IMAGE}:gpu"]
}
