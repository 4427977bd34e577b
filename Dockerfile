# The app with the shipped model, for a server: docs/deploy.md says how it is run.
FROM python:3.12-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /app
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt .
RUN /app/bin/pip install --requirement requirements.txt "Authlib>=1.9,<2"
COPY pyproject.toml README.md LICENSE app.py train.py ./
COPY xray_core xray_core
COPY pages pages
COPY ui ui
COPY models models
COPY .streamlit/config.toml .streamlit/config.toml
RUN /app/bin/pip install --no-deps . \
    # No tools for installing remain in what is copied from here, and nothing is compiled at start.
    && /app/bin/python -m compileall -q /app/lib \
    && /app/bin/pip uninstall --yes --quiet setuptools wheel pip

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin xray \
    && pip uninstall --yes --quiet setuptools wheel pip 2>/dev/null || true
COPY --from=build /app /app
# All that is written goes to /tmp, the only folder that has to be writable.
ENV HOME=/tmp XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib KERAS_HOME=/tmp/keras \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 XRAY_PUBLIC=1 \
    XRAY_HOST=localhost
USER xray
WORKDIR /tmp
EXPOSE 8501
# /ready answers 200 once the model is loaded.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 CMD ["/app/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://localhost:8501/ready', timeout=4)"]
CMD ["sh", "-c", "exec /app/bin/chest-xray app --address 0.0.0.0 --name \"$XRAY_HOST\""]
