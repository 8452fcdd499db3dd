"""The RolloutPolicy that is followed where a ModelDeployment names none."""

from typing import Final

from pilothouse.api.common import Metadata
from pilothouse.api.rolloutpolicy import BUILT_IN, RolloutPolicy

BUILT_IN_POLICY: Final = RolloutPolicy(metadata=Metadata(name="built-in"), spec=BUILT_IN)
