"""Small models that between them have everything that makes cutting hard.

Each is the same at every build. Those of the issue are cut in 1 to 4 stages in every test that runs the zoo.
"""

from __future__ import annotations

from tests.zoo.control_flow import CONTROL_FLOW
from tests.zoo.decoder import DECODERS
from tests.zoo.odd_values import ODD_VALUES
from tests.zoo.odd_weights import ODD_WEIGHTS
from tests.zoo.odd_wiring import ODD_WIRING
from tests.zoo.plain_networks import PLAIN_NETWORKS
from tests.zoo.quantised_networks import QUANTISED_NETWORKS
from tests.zoo.transformer import TRANSFORMERS
from tests.zoo.zoo_model import ZooModel

ZOO: dict[str, ZooModel] = {
    made.name: made
    for made in (
        *PLAIN_NETWORKS,
        *TRANSFORMERS,
        *DECODERS,
        *QUANTISED_NETWORKS,
        *CONTROL_FLOW,
        *ODD_VALUES,
        *ODD_WEIGHTS,
        *ODD_WIRING,
    )
}
"""Every model by name."""

__all__ = ["ZOO", "ZooModel"]
