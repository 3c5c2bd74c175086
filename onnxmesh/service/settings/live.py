"""What an operator can say about Redis, to services that share live state."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from onnxmesh.errors import InvalidRequest
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.redis import RedisLiveState
from onnxmesh.live.redis_url import open_redis
from onnxmesh.service.settings.consul import ConsulSettings


class LiveSettings(ConsulSettings):
    """Settings of a service that shares what it knows right now."""

    redis: SecretStr | None = Field(
        None,
        description="URL of a Redis, by which gateways and schedulers tell each other of load, ways, ejections and "
        "sessions: redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://; better given as ONNXMESH_REDIS",
    )

    @field_validator("redis")
    @classmethod
    def _redis_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                open_redis(url.get_secret_value(), 1.0)  # connects when it is used, which this one never is
            except InvalidRequest as error:
                raise ValueError(error.message) from error
        return url

    def live_state(self, writer: str) -> EmbeddedLiveState | RedisLiveState:
        """Returns where this process shares what it knows right now.

        Args:
            writer: The name of this process.
        """
        own = EmbeddedLiveState(writer)
        if self.redis is None:
            return own
        return RedisLiveState(self.redis.get_secret_value(), own, prefix=self.consul_prefix)
