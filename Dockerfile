# CPU image: the core and nothing else. Build: docker build -t emotion-streamer .
# Use: docker run --rm --user "$(id -u)" -v "$PWD:/data" emotion-streamer run /data/clip.mp4 --video /data/out.mp4
# Metrics of a camera: docker run --rm -p 9100:9100 emotion-streamer run rtsp://camera/stream \
#     --set metrics.port=9100 --set metrics.address=0.0.0.0
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY streamer streamer
COPY engines engines
COPY train train
COPY configs configs
RUN pip install --no-cache-dir --prefix=/install .

FROM python:3.12-slim
COPY --from=build /install /usr/local
RUN useradd --create-home streamer
USER streamer
WORKDIR /data
EXPOSE 9100
ENTRYPOINT ["streamer"]
CMD ["--help"]
