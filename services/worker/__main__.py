"""`python -m services.worker`: runs one worker until it receives a stop signal."""

from __future__ import annotations

from onnxmesh.errors import Unsatisfiable
from onnxmesh.service.run_service import run_service
from onnxmesh.worker_extra import require_worker_extra


def main() -> None:
    """Runs a worker until it is stopped."""
    try:
        with require_worker_extra():
            from services.worker.app import worker_app  # noqa: PLC0415 - not in the base install
            from services.worker.settings import WorkerSettings  # noqa: PLC0415 - not in the base install
    except Unsatisfiable as error:
        raise SystemExit(f"worker: {error.message}") from error
    run_service("worker", WorkerSettings, worker_app)


if __name__ == "__main__":
    main()
