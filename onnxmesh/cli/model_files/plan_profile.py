"""The profile that a plan is made with: found beside the model, and checked to be of that model."""

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
    """A profile, and where it was.

    Attributes:
        path: Of its file.
        profile: What it says.
    """

    path: Path
    profile: Profile

    def check(
        self, digest: Digest, level: OptimisationLevel, shapes: Mapping[str, tuple[int, ...]], mode: CutMode
    ) -> None:
        """Checks that it is of this model, cut in this way, at these shapes.

        Raises:
            InvalidRequest: It is of something else; the message names both (INVALID_ARGUMENT).
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
    """Returns where `onnxmesh profile` keeps the profile of a model."""
    return model.with_name(f"{model.stem}.profile.json")


def find_profile(model: Path, given: Path | None) -> FoundProfile | None:
    """Reads the profile that was given, or the one beside the model if it is there.

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
    """Returns how the times of each kind of device come about, as `planning.node_times` takes them.

    Returns:
        By kind: `measured`, `scaled` or `estimated`, and the device that was measured (or nothing).
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
    """Says where times come from: "estimated", "measured", or which of them are what."""
    how = {source for source, _ in sources.values()}
    if how == {"measured"}:
        return "measured"
    if how == {"estimated"}:
        return "estimated"
    if how == {"scaled"}:
        return f"scaled from those measured on '{next(device for _, device in sources.values())}'"
    scaled = ", ".join(f"'{kind}'" for kind, (source, _) in sources.items() if source == "scaled")
    return f"measured, and scaled from those for {scaled}"
