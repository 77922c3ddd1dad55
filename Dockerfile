# The platform and this repository's pipelines. Your own image can start FROM it, or install the
# package beside your code; only celery, your modules and two URLs are needed.

FROM python:3.13.9-slim-bookworm AS build
RUN pip install --no-cache-dir "uv>=0.13,<0.14"
ENV UV_PROJECT_ENVIRONMENT=/opt/taskplatform \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
WORKDIR /src
# Dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --extra examples --no-install-project
COPY README.md LICENSE ./
COPY alembic alembic
COPY taskplatform taskplatform
RUN uv sync --frozen --no-dev --extra examples --no-editable

FROM python:3.13.9-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin taskplatform \
    && install -d -o taskplatform -g taskplatform /var/lib/taskplatform
COPY --from=build /opt/taskplatform /opt/taskplatform
WORKDIR /app
COPY pipelines pipelines
ENV PATH=/opt/taskplatform/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER taskplatform
CMD ["celery", "-A", "taskplatform", "worker"]
