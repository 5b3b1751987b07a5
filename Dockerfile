# One image for every process of flash: `docker run flash web`, `docker run flash inventory`, `docker run flash migrate`.
# It runs as a user without rights, writes nothing (--read-only), and takes its settings from the environment.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
COPY requirements.txt /build/
# Wheels only, each with the hash that it had when it was pinned. No pip in the result.
RUN python -m venv --without-pip /opt/flash \
    && pip --python /opt/flash/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
        --only-binary=:all: --require-hashes -r /build/requirements.txt
# The package is not built, since that would fetch the tools of a build unpinned: it is put where Python finds it.
COPY flash /opt/flash/app/flash
COPY deploy/docker/healthcheck.py /opt/flash/
RUN /opt/flash/bin/python -m compileall -q /opt/flash

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin flash
COPY --from=build /opt/flash /opt/flash
ENV PATH=/opt/flash/bin:$PATH \
    PYTHONPATH=/opt/flash/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLASH_HOST=0.0.0.0 \
    PORT=8080 \
    WEB_CONCURRENCY=1
# a number, so that Kubernetes can see that it is not root
USER 10001
WORKDIR /opt/flash/app
EXPOSE 8080
STOPSIGNAL SIGTERM
# For a web process; compose.yaml says what others do.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python", "/opt/flash/healthcheck.py"]
ENTRYPOINT ["python", "-m", "flash"]
CMD ["web"]
