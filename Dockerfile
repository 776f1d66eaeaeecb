# One image for every gateway: nothing of an organisation is in it, and nothing secret was near it.
# The tag pins Python's minor version and the system; to pin the bytes, add the digest that you reviewed.
FROM python:3.13-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/safehand \
    && /opt/safehand/bin/pip install --require-hashes --only-binary=:all: -r requirements.lock \
    && python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --only-binary=:all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY contracts/ contracts/
COPY keys/ keys/
COPY adapters/ adapters/
COPY gateway/ gateway/
# The gateway is built by pinned tools and installed without them; pip itself stays behind.
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/safehand/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/safehand/bin/python -m compileall -q /opt/safehand/lib \
    && /opt/safehand/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm

# A fixed number, so that files of the host can be given to it. The home is made here: a new volume takes its owner over.
RUN python -m pip uninstall --yes pip \
    && groupadd --gid 10001 safehand \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin safehand \
    && install --directory --mode 0700 --owner 10001 --group 10001 \
        /var/lib/safehand /var/lib/safehand/secrets /var/lib/safehand/data /var/lib/safehand/run
COPY --from=build /opt/safehand /opt/safehand

ENV PATH=/opt/safehand/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SAFEHAND_HOME=/var/lib/safehand
USER 10001:10001
WORKDIR /var/lib/safehand
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/readyz', timeout=4)"]
ENTRYPOINT ["safehand"]
CMD ["serve"]
