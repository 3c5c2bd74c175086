"""`python -m services.worker`: runs one worker until it receives a stop signal."""

from __future__ import annotations

from onnxmesh.service.run_service import run_service
from services.worker.app import worker_app
from services.worker.settings import WorkerSettings

if __name__ == "__main__":
    run_service("worker", WorkerSettings, worker_app)
