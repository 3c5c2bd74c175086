"""The catalogue: every deployment, in memory and in the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import Conflict, NotFound
from onnxmesh.ids import ModelKey, ModelName, Version
from onnxmesh.state.base import Deployment, DeploymentStore
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec
from services.scheduler.deployments.retention import Retention
from services.scheduler.desired.deployment_spec import same_spec


class Catalogue:
    """Holds every deployment, saves it, and keeps its blobs. For one event loop.

    Deployments are compared by the identity of their `source`; spec and plan may differ.

    Args:
        store: Where deployments outlive this process.
        retention: Keeps their blobs.
    """

    def __init__(self, store: DeploymentStore, retention: Retention) -> None:
        self._store = store
        self._retention = retention
        self._deployments: dict[ModelKey, Deployment] = {}
        self._standby: dict[ModelKey, Deployment] = {}
        self._probation: set[ModelKey] = set()
        self._deleting: set[ModelKey] = set()
        self._deploy_locks: dict[ModelName, asyncio.Lock] = {}
        self._change_lock = asyncio.Lock()

    @property
    def deployments(self) -> Mapping[ModelKey, Deployment]:
        """Every deployment that is to be served, under the plan in force."""
        return self._deployments

    @property
    def standby(self) -> Mapping[ModelKey, Deployment]:
        """Deployments under another plan, which is loaded beside the one in force and not routed to."""
        return self._standby

    @property
    def probation(self) -> set[ModelKey]:
        """Deployments that have not been ready yet, whose `Deploy` call still runs: a failure withdraws them."""
        return self._probation

    async def restore(self) -> None:
        """Reads the deployments that an earlier scheduler saved.

        Raises:
            CorruptData: The store cannot be read (DATA_LOSS).
        """
        for deployment in await self._store.all():
            self._deployments[deployment.name, deployment.version] = deployment
            self._hold(deployment)

    def close(self) -> None:
        """Ends the holds on all blobs and leaves the blobs where they are; the catalogue is not used again."""
        for deployment in (*self._deployments.values(), *self._standby.values()):
            for artefact in artefacts_of(deployment):
                self._retention.detach(artefact)

    @asynccontextmanager
    async def deploy_lock(self, name: ModelName) -> AsyncIterator[None]:
        """Lets one deploy of a name run at a time."""
        lock = self._deploy_locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield

    def same(self, spec: DeploymentSpec, source_digest: str) -> Deployment | None:
        """Returns the newest deployment of the same content with the same spec; None: there is none."""
        for key in sorted(self._deployments, reverse=True):
            deployment = self._deployments[key]
            if (
                deployment.source.digest == source_digest
                and same_spec(deployment.spec, spec)
                and spec.version in {0, deployment.version}
            ):
                return deployment
        return None

    def version_for(self, spec: DeploymentSpec) -> Version:
        """Returns the version that a new deployment gets.

        Raises:
            Conflict: The requested version exists with other content or another spec (ALREADY_EXISTS).
        """
        name = ModelName(spec.name)
        versions = self.versions(name)
        if spec.version == 0:
            return Version(max(versions, default=0) + 1)
        if spec.version in versions:
            raise Conflict(
                f"model '{name}' has a version {spec.version} with another content or other settings: "
                "undeploy it first, or leave the version out to get the next one"
            )
        return Version(spec.version)

    def versions(self, name: ModelName) -> list[Version]:
        """Returns the versions of a model, ascending."""
        return sorted(version for each, version in self._deployments if each == name)

    def find(self, name: ModelName, version: int) -> list[Deployment]:
        """Returns one version of a model, or with 0 all of them.

        Raises:
            NotFound: There is none; the message names those there are (NOT_FOUND).
        """
        versions = self.versions(name)
        if not versions:
            names = sorted({each for each, _ in self._deployments})
            deployed = f"deployed models are {listed(names)}{did_you_mean(name, names)}"
            raise NotFound(
                f"model '{name}' is not deployed: {deployed if names else 'there is no model at all'}"
            )
        if version and version not in versions:
            raise NotFound(
                f"model '{name}' has no version {version}: deployed versions are {listed(versions, quoted=False)}"
            )
        return [self._deployments[name, each] for each in versions if version in {0, each}]

    async def add(self, deployment: Deployment) -> None:
        """Saves a new deployment and adds it, on probation; all or nothing, also when cancelled."""
        key = (deployment.name, deployment.version)
        self._hold(deployment)
        try:
            await self._store.save(deployment)
        except BaseException:
            # The store works in order: this delete follows a save that could not be cancelled any more.
            self._release(deployment)
            await self._store.delete(*key)
            raise
        self._deployments[key] = deployment
        self._probation.add(key)

    def accept(self, key: ModelKey) -> None:
        """Ends a deployment's probation."""
        self._probation.discard(key)

    async def delete(self, deployment: Deployment) -> None:
        """Deletes a deployment from the store; `remove` follows, whether this succeeds or not."""
        if self.current(deployment) is not None:
            self._deleting.add((deployment.name, deployment.version))
        await self._store.delete(deployment.name, deployment.version)

    def remove(self, deployment: Deployment) -> bool:
        """Removes a deployment, whatever its plan is by now, and releases its blobs; returns False if it was removed before."""
        key = (deployment.name, deployment.version)
        current = self._deployments.get(key)
        if current is None or current.source is not deployment.source:
            return False
        self.remove_standby(key)
        del self._deployments[key]
        self._probation.discard(key)
        self._deleting.discard(key)
        self._release(current)
        return True

    def current(self, deployment: Deployment) -> Deployment | None:
        """Returns a deployment under the plan in force; None: it is removed, or about to be."""
        key = (deployment.name, deployment.version)
        current = self._deployments.get(key)
        if current is None or current.source is not deployment.source or key in self._deleting:
            return None
        return current

    def add_standby(self, deployment: Deployment) -> bool:
        """Adds another plan of a deployment, to be loaded beside the one in force; returns False if the deployment is removed."""
        current = self.current(deployment)
        if current is None:
            return False
        self._hold(deployment)
        self._standby[deployment.name, deployment.version] = replace(deployment, spec=current.spec)
        return True

    async def swap(self, deployment: Deployment) -> bool:
        """Saves the standby plan and puts it in force, the other on standby; returns False if the deployment is removed."""
        key = (deployment.name, deployment.version)
        async with self._change_lock:
            if not await self._save_current(self._standby.get(key, deployment)):
                return False
            self._deployments[key], self._standby[key] = self._standby[key], self._deployments[key]
        return True

    def remove_standby(self, key: ModelKey) -> None:
        """Removes the standby plan, if there is one, and releases its blobs."""
        deployment = self._standby.pop(key, None)
        if deployment is not None:
            self._release(deployment)

    async def renew(self, deployment: Deployment) -> bool:
        """Saves and adopts the same partitions with other workers in the plan; returns False if the deployment is removed."""
        async with self._change_lock:
            current = self.current(deployment)
            return current is not None and await self._adopt(replace(deployment, spec=current.spec))

    async def rescale(self, deployment: Deployment, replicas: int) -> bool:
        """Saves and adopts a number of replicas, for every plan; returns False if the deployment is removed."""
        async with self._change_lock:
            current = self.current(deployment)
            if current is None:
                return False
            spec = DeploymentSpec()
            spec.CopyFrom(current.spec)
            spec.replicas = replicas
            if not await self._adopt(replace(current, spec=spec)):
                return False
            key = (deployment.name, deployment.version)
            if key in self._standby:
                self._standby[key] = replace(self._standby[key], spec=spec)
            return True

    async def _adopt(self, deployment: Deployment) -> bool:
        if not await self._save_current(deployment):
            return False
        self._deployments[deployment.name, deployment.version] = deployment
        return True

    async def _save_current(self, deployment: Deployment) -> bool:
        """Saves a deployment again; returns False if it is removed.

        The store works in order: a removal meanwhile deletes it after this.
        """
        if self.current(deployment) is None:
            return False
        await self._store.save(deployment)
        return self.current(deployment) is not None

    def _hold(self, deployment: Deployment) -> None:
        for artefact in artefacts_of(deployment):
            self._retention.hold(artefact)

    def _release(self, deployment: Deployment) -> None:
        for artefact in artefacts_of(deployment):
            self._retention.release(artefact)


def artefacts_of(deployment: Deployment) -> list[Artefact]:
    """Returns the artefacts that a deployment needs: the model as it was uploaded, and its partitions."""
    return [deployment.source, *(partition.artefact for partition in deployment.plan.partitions)]
