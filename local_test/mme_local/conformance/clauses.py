"""What the checks are from: AWS's documentation, or what users saw where that says nothing.

What is in quotation marks is AWS's own words; the rest is a paraphrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_GUIDE: Final = "https://docs.aws.amazon.com/sagemaker/latest/dg"
_REFERENCE: Final = "https://docs.aws.amazon.com/sagemaker/latest/APIReference"


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence that a container is held to."""

    text: str
    url: str
    seen_in_practice: bool = False
    """Whether it is a user's report: AWS documents nothing of it."""

    def __str__(self) -> str:
        return f"{'seen in practice: ' if self.seen_in_practice else ''}{self.text} ({self.url})"


def _page(name: str) -> str:
    return f"{_GUIDE}/{name}.html"


_BUILD: Final = _page("build-multi-model-build-container")
_CODE: Final = _page("your-algorithms-inference-code")
_CONTRACT: Final = _page("mms-container-apis")
_PIPELINE: Final = _page("inference-pipeline-real-time")

LABEL: Final = Clause(
    '"To indicate that the container complies with the additional requirements, you can add the '
    'following command": LABEL com.amazonaws.sagemaker.capabilities.multi-models=true. '
    "CreateModel refuses an image without it",
    _BUILD,
)
BIND_TO_PORT: Final = Clause(
    '"The containers in a pipeline listen on the port specified in the SAGEMAKER_BIND_TO_PORT '
    'environment variable (instead of 8080)", and have the label '
    "com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true",
    _PIPELINE,
)
MANIFEST: Final = Clause(
    "CreateModel refused OCI manifests and indexes: Unsupported manifest media type "
    "application/vnd.oci.image.index.v1+json",
    "https://github.com/aws/amazon-sagemaker-feedback/issues/180",
    seen_in_practice=True,
)
ENTRYPOINT: Final = Clause(
    '"The exec form of the ENTRYPOINT instruction starts the executable directly, not as a child '
    'of /bin/sh. This enables it to receive signals like SIGTERM", "which is a requirement"',
    f"{_CODE}#your-algorithms-inference-code-run-image",
)
SERVE: Final = Clause(
    '"SageMaker AI runs the container as: docker run image serve", which overrides CMD',
    f"{_CODE}#your-algorithms-inference-code-run-image",
)
PORT: Final = Clause(
    '"the container must have a web server listening on port 8080"',
    f"{_CODE}#your-algorithms-inference-code-container-response",
)
ROOT: Final = Clause(
    '"SageMaker AI expects all containers to run with root users"',
    f"{_CODE}#your-algorithms-inference-code-run-image",
)
NOT_ROOT: Final = Clause(
    "Not asked for by AWS, which runs containers as root: good practice elsewhere",
    f"{_CODE}#your-algorithms-inference-code-run-image",
)
READ_ONLY: Final = Clause(
    "Not asked for by AWS: a container that writes to temporary directories alone can be confined",
    "https://docs.docker.com/reference/cli/docker/container/run/#read-only",
)
DRIVERS: Final = Clause(
    '"Don\'t bundle NVIDIA drivers with the image"',
    f"{_CODE}#your-algorithms-inference-code-run-image",
)
SIZE: Final = Clause(
    "What an endpoint downloads to each new instance: told, not judged",
    _page("your-algorithms-inference-main"),
)
PING: Final = Clause(
    '"The request timeout on /ping attempts is 2 seconds"; the container has to pass "by '
    'consistently responding with 200s" within 8 minutes of its start',
    f"{_CODE}#your-algorithms-inference-algo-ping-requests",
)
MODELS_IS_HEALTH: Final = Clause(
    "a multi-model endpoint polls GET /models as it does /ping; a container whose /models was 404 "
    "did not pass the health check",
    "https://github.com/pytorch/serve/issues/397",
    seen_in_practice=True,
)
ACCEPT: Final = Clause(
    '"A customer\'s model containers must accept socket connection requests within 250 ms"',
    f"{_CODE}#your-algorithms-inference-code-container-response",
)
ISOLATION: Final = Clause(
    "With network isolation, containers make no outbound network calls",
    _page("mkt-algo-model-internet-free"),
)
LOAD: Final = Clause(
    '"After a model is loaded, the container should be ready to serve inference requests using '
    'this model_name"',
    f"{_CONTRACT}#multi-model-api-load-model",
)
LOADED: Final = Clause(
    '"If model_name is already loaded, this API should return 409"',
    f"{_CONTRACT}#multi-model-api-load-model",
)
FAILED_LOAD: Final = Clause(
    "model_name is the key that loaded models are tracked by: what did not load is not loaded, so "
    "GET is 404, and a later load is not 409",
    f"{_CONTRACT}#multi-model-api-load-model",
)
OPAQUE: Final = Clause(
    '"the model_name is an opaque identifier and is not necessarily the value of the TargetModel '
    'parameter"',
    _CONTRACT,
)
LIST: Final = Clause(
    '"Returns the list of models loaded into the memory of the customer container": '
    '{"models": [{"modelName", "modelUrl"}]}',
    f"{_CONTRACT}#multi-model-api-list-model",
)
PAGES: Final = Clause(
    '"If a nextPageToken field is returned as part of the response, it will be provided as the '
    "value for next_page_token in a subsequent List Models call. If a nextPageToken is not "
    'returned, it means that there are no more models to return"',
    f"{_CONTRACT}#multi-model-api-list-model",
)
GET: Final = Clause(
    'GET /models/{model_name} is {"modelName", "modelUrl"}; "If model_name is not loaded, this '
    'API should return 404"',
    f"{_CONTRACT}#multi-model-api-get-model",
)
UNLOAD: Final = Clause(
    '"If model_name is not loaded, this API should return 404"',
    f"{_CONTRACT}#multi-model-api-unload-model",
)
RECLAIMED: Final = Clause(
    '"The resources provisioned to model_name should be reclaimed by the container when this API '
    'returns a response"',
    f"{_CONTRACT}#multi-model-api-unload-model",
)
INVOKE: Final = Clause(
    'POST /models/{model_name}/invoke: "If model_name is not loaded, this API should return 404"',
    f"{_CONTRACT}#multi-model-api-invoke-model",
)
FULL: Final = Clause(
    '"Any time a model cannot be loaded due to lack of memory or to any other resource, this API '
    "should return a 507 HTTP status code to SageMaker AI, which then initiates unloading unused "
    'models to reclaim"',
    f"{_CONTRACT}#multi-model-api-load-model",
)
HEADERS: Final = Clause(
    '"SageMaker might add additional headers. Inference containers must be able to safely ignore '
    'these additional headers"',
    f"{_CODE}#your-algorithms-inference-code-container-response",
)
BODY: Final = Clause(
    "The request body is passed to the container as it is, with its Content-Type and Accept",
    f"{_REFERENCE}/API_runtime_InvokeEndpoint.html",
)
CUSTOM_ATTRIBUTES: Final = Clause(
    "Custom attributes, up to 1,024 visible ASCII characters, are forwarded verbatim",
    f"{_REFERENCE}/API_runtime_InvokeEndpoint.html",
)
MODEL_ERROR: Final = Clause(
    "ModelError tells the client the status that the container answered with, 4xx or 5xx: a "
    "mistake of the client is a 4xx",
    f"{_REFERENCE}/API_runtime_InvokeEndpoint.html",
)
PAYLOAD: Final = Clause("Requests to real-time endpoints carry up to 25 MB", _page("hosting-faqs"))
SIXTY_SECONDS: Final = Clause(
    '"A customer\'s model containers must respond to requests within 60 seconds"',
    f"{_CODE}#your-algorithms-inference-code-container-response",
)
CONCURRENT: Final = Clause(
    "Multi-model endpoints load different models and invoke others at the same time; with model "
    "caching disabled, several are loaded in parallel",
    _page("multi-model-caching"),
)
STOP: Final = Clause(
    '"To stop a Docker container, command sends the SIGTERM signal, then it sends the SIGKILL '
    'signal 30 seconds later"',
    f"{_CODE}#your-algorithms-inference-code-run-image",
)
REAP: Final = Clause(
    "Process 1 of a container inherits every orphan, and tini cannot be the entry point of a "
    "SageMaker container: workers that outlive a model were reported to fill instances",
    "https://github.com/awslabs/multi-model-server/pull/942",
    seen_in_practice=True,
)
