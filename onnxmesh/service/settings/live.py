"""Settings of the Redis by which services share live state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, field_validator

from onnxmesh.errors import InvalidRequest
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.service.settings.consul import ConsulSettings

if TYPE_CHECKING:
    from onnxmesh.live.redis import RedisLiveState


class LiveSettings(ConsulSettings):
    """Settings of a service that shares live state."""

    redis: SecretStr | None = Field(
        None,
        description="URL of a Redis, by which gateways and schedulers share loads, link estimates, ejections and "
        "sessions: redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://; better given as ONNXMESH_REDIS",
    )

    @field_validator("redis")
    @classmethod
    def _redis_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            from onnxmesh.live.redis_url import open_redis  # noqa: PLC0415 - imported only where Redis is used

            try:
                open_redis(url.get_secret_value(), 1.0)  # connects on first use, and this one is never used
            except InvalidRequest as error:
                raise ValueError(error.message) from error
        return url

    def live_state(self, writer: str) -> EmbeddedLiveState | RedisLiveState:
        """Returns the live state of this process: in Redis, or its own alone.

        Args:
            writer: The name of this process.
        """
        own = EmbeddedLiveState(writer)
        if self.redis is None:
            return own

        # Redis's client library is a large part of a service's start.
        from onnxmesh.live.redis import RedisLiveState  # noqa: PLC0415 - imported only where Redis is used

        return RedisLiveState(self.redis.get_secret_value(), own, prefix=self.consul_prefix)
