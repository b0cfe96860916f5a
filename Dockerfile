# What a device runs: the toolchain with its native decoder, without torch.
#
#   docker build -t edgekit .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" edgekit inspect model.ekp

FROM python:3.11-slim-bookworm AS build

# hadolint ignore=DL3008  # the compiler leaves no trace but the decoder, which the tests pin
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm

COPY constraints.txt /tmp/constraints.txt
# Compiling is optional for the package, not for this image: the import fails if it didn't work.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt /wheels/*.whl \
    && python -c "import edgekit.codec._native" \
    && useradd --create-home --uid 10001 edgekit

USER 10001
WORKDIR /data
ENTRYPOINT ["edgekit"]
CMD ["--help"]
