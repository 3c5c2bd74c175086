# The images of a mesh, one target each: gateway, scheduler, worker, demo (deploys a model) and consul.
#   docker build --target gateway .
#   docker build --target worker --build-arg LOCK=worker-gpu .
# Packages of locks/ are installed with their hashes into a virtual environment, which the runtime images copy. The runtime
# images need no shell, no pip, no root and no writable root file system.

# --- Build stages: pip, and folders to copy with another owner
FROM python:3.13-slim-trixie AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip: the one of this stage installs into it.
RUN python -m venv --without-pip /venv && mkdir /empty

FROM builder AS base-packages
COPY locks/base.txt packages.txt
# Tests, headers and type stubs of packages are for developers.
RUN pip --python /venv/bin/python install --require-hashes -r packages.txt \
    && find /venv/lib -depth -type d \( -name tests -o -path '*/numpy/*/include' \) -exec rm -rf {} + \
    && find /venv/lib -name '*.pyi' -delete

FROM builder AS worker-packages
ARG LOCK=worker
COPY locks/${LOCK}.txt packages.txt
# onnx/backend/test is data of a test suite.
RUN pip --python /venv/bin/python install --require-hashes -r packages.txt \
    && find /venv/lib -depth -type d \
      \( -name tests -o -path '*/numpy/*/include' -o -path '*/onnx/backend/test' \) -exec rm -rf {} + \
    && find /venv/lib -name '*.pyi' -delete

# The demo's model, from the package magika.
FROM builder AS demo-model
COPY locks/dev.txt packages.txt
RUN awk '/^[a-z0-9]/ {wanted = /^magika==/} wanted' packages.txt > magika.txt \
    && pip install --require-hashes --no-deps --target unpacked -r magika.txt \
    && mkdir /models && cp unpacked/magika/models/standard_v3_3/model.onnx /models/magika.onnx

# The default locale of ONNX Runtime's StringNormalizer, which text models of scikit-learn need.
FROM builder AS locale
RUN apt-get update && apt-get install --yes --no-install-recommends locales \
    && localedef --no-archive -i en_US -f UTF-8 en_US.UTF-8

# Compiled here: the root file system of the runtime images is read-only.
FROM builder AS code
COPY onnxmesh/ /app/onnxmesh/
COPY services/ /app/services/
RUN python -m compileall -q --invalidation-mode unchecked-hash /app

# --- Runtime images
FROM python:3.13-slim-trixie AS runtime
LABEL org.opencontainers.image.title="onnxmesh" \
      org.opencontainers.image.description="A distributed inference mesh for ONNX models" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    ONNXMESH_LOG_FORMAT=json \
    ONNXMESH_READY_LINE=false
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001

FROM runtime AS base-runtime
COPY --from=base-packages /venv /venv
COPY --from=code /app/onnxmesh /app/onnxmesh

FROM base-runtime AS gateway
LABEL org.opencontainers.image.title="onnxmesh gateway"
COPY --from=code /app/services/__init__.py /app/services/
COPY --from=code /app/services/gateway /app/services/gateway
ENV ONNXMESH_LISTEN=0.0.0.0:8001
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "onnxmesh.service.health"]
ENTRYPOINT ["python", "-m", "services.gateway"]

FROM base-runtime AS scheduler
LABEL org.opencontainers.image.title="onnxmesh scheduler"
COPY --from=code /app/services/__init__.py /app/services/
COPY --from=code /app/services/scheduler /app/services/scheduler
COPY --from=builder --chown=10001:10001 /empty /state
ENV ONNXMESH_LISTEN=0.0.0.0:8010 ONNXMESH_STATE=/state
EXPOSE 8010
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "onnxmesh.service.health"]
ENTRYPOINT ["python", "-m", "services.scheduler"]

FROM runtime AS worker
LABEL org.opencontainers.image.title="onnxmesh worker"
COPY --from=locale /usr/lib/locale/en_US.utf8 /usr/lib/locale/en_US.utf8
COPY --from=worker-packages /venv /venv
COPY --from=code /app/onnxmesh /app/onnxmesh
COPY --from=code /app/services/__init__.py /app/services/
COPY --from=code /app/services/worker /app/services/worker
COPY --from=builder --chown=10001:10001 /empty /cache
ENV ONNXMESH_LISTEN=0.0.0.0:8020 ONNXMESH_CACHE=/cache ONNXMESH_SHARED_CACHE=true
EXPOSE 8020
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "onnxmesh.service.health"]
ENTRYPOINT ["python", "-m", "services.worker"]

FROM worker AS demo
LABEL org.opencontainers.image.title="onnxmesh demo"
COPY --from=demo-model /models /models
COPY examples/tiny_model.py /app/examples/
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "onnxmesh.cli"]

# The official image of Consul, without root.
FROM hashicorp/consul:1.20 AS consul
LABEL org.opencontainers.image.title="onnxmesh consul"
COPY --from=builder --chown=10001:10001 /empty /state
USER 10001:10001
