"""The profile for a plan: found beside the model, and checked to be of that model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.ids import Digest
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import Profile


@dataclass(frozen=True, slots=True)
class FoundProfile:
    """A profile and its file.

    Attributes:
        path: The file.
        profile: Its content.
    """

    path: Path
    profile: Profile

    def check(
        self, digest: Digest, level: OptimisationLevel, shapes: Mapping[str, tuple[int, ...]], mode: CutMode
    ) -> None:
        """Checks that the profile is of this model, cut mode and optimisation level, at these shapes.

        Raises:
            InvalidRequest: It is not; the message names both values (INVALID_ARGUMENT).
        """
        # Portable mode has no level: nothing is optimised before the cut.
        wanted = OptimisationLevel.NONE if mode is CutMode.PORTABLE else level
        try:
            self.profile.check(digest, wanted, shapes, mode)
        except InvalidRequest as error:
            raise InvalidRequest(
                f"'{self.path}': {error.message}: measure again with `onnxmesh profile`, or plan with --no-profile"
            ) from error


def profile_beside(model: Path) -> Path:
    """Returns the default file of a model's profile."""
    return model.with_name(f"{model.stem}.profile.json")


def find_profile(model: Path, given: Path | None) -> FoundProfile | None:
    """Reads the given profile, or the one beside the model if it exists.

    Raises:
        InvalidRequest: It cannot be read, or is no profile (INVALID_ARGUMENT).
    """
    path = given or profile_beside(model)
    if given is None and not path.is_file():
        return None
    try:
        return FoundProfile(path, Profile.from_json(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidRequest(f"--profile: cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{path}' is not a profile: not UTF-8 text") from error
    except CorruptData as error:
        raise InvalidRequest(f"'{path}' is {error.message}") from error


def times_sources(cluster: Cluster, profile: Profile | None) -> dict[str, tuple[str, str]]:
    """Returns the source of each device kind's times, as `planning.node_times` uses them.

    Returns:
        By kind: `measured`, `scaled` or `estimated`, and the device that was measured, or "".
    """
    sources: dict[str, tuple[str, str]] = {}
    for kind in cluster.kinds:
        known = kind.profile or kind.name
        if profile is None or not profile.devices:
            sources[kind.name] = ("estimated", "")
        elif known in profile.devices:
            sources[kind.name] = ("measured", known)
        else:
            sources[kind.name] = ("scaled", next(iter(profile.devices)))
    return sources


def times_text(sources: Mapping[str, tuple[str, str]]) -> str:
    """Returns where times come from: "estimated", "measured", or which of them are which."""
    how = {source for source, _ in sources.values()}
    if how == {"measured"}:
        return "measured"
    if how == {"estimated"}:
        return "estimated"
    if how == {"scaled"}:
        return f"scaled from those measured on '{next(device for _, device in sources.values())}'"
    scaled = ", ".join(f"'{kind}'" for kind, (source, _) in sources.items() if source == "scaled")
    return f"measured, and scaled from those for {scaled}"
