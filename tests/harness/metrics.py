"""What a page of /metrics says."""

import math
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Metrics:
    """One scrape."""

    families: dict[str, Metric]

    def value(self, sample: str, **labels: str) -> float:
        """Return the sum of the samples with this full name and these labels; 0 where there are none."""
        return math.fsum(
            each.value
            for family in self.families.values()
            for each in family.samples
            if each.name == sample and labels.items() <= each.labels.items()
        )


def parse(text: str) -> Metrics:
    """Read the Prometheus text format."""
    return Metrics({family.name: family for family in text_string_to_metric_families(text)})
