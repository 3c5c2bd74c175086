"""`python -m services.scheduler`: runs one scheduler; `--help` lists its settings."""

from onnxmesh.service.run_service import run_service
from services.scheduler.app import scheduler_app
from services.scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    run_service("scheduler", SchedulerSettings, scheduler_app)
