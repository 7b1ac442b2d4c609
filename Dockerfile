# One image for dispatchers, workers and Flower: docker run IMAGE worker | beat | flower …
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
# Extras to install: postgresql, mysql, flower, metrics.
ARG EXTRAS=postgresql,flower,metrics
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY rowcache_tasks ./rowcache_tasks
# pip compiles the modules here: the container is read-only.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/venv \
    && pip wheel --no-deps --wheel-dir /wheels . \
    && pip --python /opt/venv/bin/python install "$(echo /wheels/*.whl)[${EXTRAS}]" \
    && /opt/venv/bin/celery --version

FROM python:${PYTHON_VERSION}-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin rowcache
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
# Readable for every user, whatever the umask of the clone was.
COPY --chmod=644 celeryconfig.py flowerconfig.py ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can check that it is not root.
USER 10001:10001
# Exec form: celery gets the SIGTERM of `docker stop`.
ENTRYPOINT ["celery", "-A", "rowcache_tasks"]
CMD ["worker", "--loglevel=INFO"]
