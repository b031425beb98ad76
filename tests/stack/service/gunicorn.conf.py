"""How the API is served. A worker is renewed after about 1,000 requests, not all of them at the same time."""

import os

bind = f"unix:{os.environ['SOCKET']}"
workers = int(os.environ.get("WORKERS", "2"))
worker_class = "uvicorn_worker.UvicornWorker"
timeout = 300
graceful_timeout = 60
keepalive = 5
max_requests = 1000
max_requests_jitter = 50
