# The sidecar as an image: `make image`. Docs: docs/kubernetes.md.
#
# The base is named by its tag. To pin what a tag may move to, or to use a mirror's copy, name it:
#   docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:… .
# (`docker buildx imagetools inspect python:3.11-slim-bookworm` prints the digest.) Packages come from
# wherever pip looks by default, or from PIP_INDEX_URL; where from makes no difference to what is
# accepted, since each has to have a hash of requirements.lock.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_INDEX_URL
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY image image
COPY middleware middleware
COPY sidecar sidecar
RUN ["sh", "image/build-tree.sh", "/opt/tiergate"]

FROM ${BASE}
# The base comes without compiled files of the standard library, and a read-only root lets Python
# make none: each start and each health check would compile them anew. pip is of no use here.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel \
 && python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/(ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo)/' /usr/local/lib/python3.11
COPY --from=build /opt/tiergate /opt/tiergate

ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tiergate" \
      org.opencontainers.image.description="A tier-routed gateway to many model providers, as a sidecar." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}"

# Probes on loopback alone: the health check below asks there without reading a configuration.
# Whoever runs it opens more: TIERGATE_SERVER__PROBES=:4192, --listen :4190.
ENV PATH=/opt/tiergate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TIERGATE_SERVER__PROBES=127.0.0.1:4192

# By number: a kubelet that must run nobody as root cannot tell that from a name.
USER 65532:65532
WORKDIR /etc/tiergate
# Clients; probes and metrics. The operators' pages are for loopback.
EXPOSE 4190 4192
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/tiergate/bin/tiergate", "health"]
ENTRYPOINT ["/opt/tiergate/bin/tiergate"]
CMD ["serve", "-c", "/etc/tiergate/tiergate.toml"]
