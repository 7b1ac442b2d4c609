# One image for dispatchers, workers and Flower: docker run IMAGE worker | beat | flower …
ARG PYTHON_VERSION=3.13

# The dependencies, in the versions of the lock file: a layer of their own, which a change of the code does not change.
FROM python:${PYTHON_VERSION}-slim AS dependencies
# Extras to install: postgresql, mysql, flower, metrics, signing.
ARG EXTRAS=postgresql,flower,metrics
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /source
RUN --mount=type=cache,target=/root/.cache pip install --root-user-action=ignore "uv>=0.9,<1"
COPY pyproject.toml uv.lock ./
# Modules are compiled here: the container is read-only.
RUN --mount=type=cache,target=/root/.cache \
    uv sync --quiet --locked --no-install-project $(echo "$EXTRAS" | tr , '\n' | sed 's/^/--extra /')

FROM dependencies AS package
COPY README.md LICENSE ./
COPY rowcache_tasks ./rowcache_tasks
# Through a wheel: of a folder, uv would take what it built before as long as pyproject.toml is the same.
RUN --mount=type=cache,target=/root/.cache \
    uv build --quiet --wheel --out-dir /wheels \
    && uv pip install --quiet --no-cache --python /opt/venv/bin/python --no-deps --target /opt/rowcache /wheels/*.whl \
    && cd / && PYTHONPATH=/opt/rowcache /opt/venv/bin/celery -A rowcache_tasks rowcache --version

FROM python:${PYTHON_VERSION}-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin rowcache
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
# Readable for every user, whatever the umask of the clone was.
COPY --chmod=644 celeryconfig.py flowerconfig.py ./
# Last: a new version of the code changes this layer and no other.
COPY --from=package /opt/rowcache /opt/rowcache
ENV PATH=/opt/venv/bin:/opt/rowcache/bin:$PATH \
    PYTHONPATH=/opt/rowcache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can check that it is not root.
USER 10001:10001
# Exec form: celery gets the SIGTERM of `docker stop`.
ENTRYPOINT ["celery", "-A", "rowcache_tasks"]
CMD ["worker", "--loglevel=INFO"]
ARG PYTHON_VERSION
LABEL org.opencontainers.image.title="rowcache_tasks" \
      org.opencontainers.image.description="Dispatchers, workers and Flower of rowcache_tasks" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/rowcache-tasks/rowcache-tasks" \
      org.opencontainers.image.documentation="https://github.com/rowcache-tasks/rowcache-tasks/blob/main/docs/deployment.md" \
      org.opencontainers.image.base.name="docker.io/library/python:${PYTHON_VERSION}-slim"
