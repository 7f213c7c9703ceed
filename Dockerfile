# Two images: `cpu` (the default) and `gpu` (PyTorch with CUDA; docker run --gpus all). Both run as a user without rights,
# on a read-only root, and write only to /data, /cache and /tmp.
#   docker build -t emotion-streamer .            docker build -t emotion-streamer:gpu --target gpu .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" emotion-streamer run clip.mp4 --video out.mp4
#   docker run --rm --read-only --tmpfs /tmp --tmpfs /cache:mode=1777 -p 8765:8765 -e STREAMER_TOKEN=... emotion-streamer
# Both hold PyAV, whose wheel carries x264 and x265 (GPL): whoever passes an image on passes them on. Nothing calls them;
# leave av out of requirements.lock for an image without. The wheel lists what it holds in av-*.dist-info/sboms.
# A service of several cameras with Prometheus and Kafka: configs/deploy/compose.yaml, configs/deploy/kubernetes.yaml.
FROM python:3.12-slim AS source
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY streamer streamer
COPY engines engines
COPY train train
COPY configs configs

# The versions of requirements.lock (`make lock`: serve, cluster, parquet, video, heic), each of a hash that is known.
FROM source AS cpu-packages
RUN pip install --no-cache-dir --prefix=/install --require-hashes --only-binary=:all: -r requirements.lock \
    && pip install --no-cache-dir --prefix=/install --no-deps .

# PyTorch's are not locked: which ones fit is for the driver of the machine to say.
FROM cpu-packages AS gpu-packages
ENV PYTHONPATH=/install/lib/python3.12/site-packages
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --prefix=/install ".[gpu]"

FROM python:3.12-slim AS base
ENV XDG_CACHE_HOME=/cache PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
RUN useradd --uid 10001 --no-create-home streamer && mkdir /data /cache && chown streamer /data /cache
LABEL org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later AND LGPL-3.0-or-later"
USER 10001
WORKDIR /data
EXPOSE 8765 9100
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9100/healthz', timeout=4)"]
ENTRYPOINT ["streamer"]
CMD ["--json-logs", "serve", "--set", "serve.address=0.0.0.0", "--set", "metrics.address=0.0.0.0", "--set", "metrics.port=9100"]

FROM base AS gpu
COPY --from=gpu-packages /install /usr/local

FROM base AS cpu
COPY --from=cpu-packages /install /usr/local
