import re

from pilothouse.telemetry import metrics


def test_every_metric_stands_in_the_docstring_with_its_labels() -> None:
    documented = dict(
        re.findall(r"^\| (pilothouse_\w+) \| \w+ \| (.*?) ?\|$", metrics.__doc__ or "", re.MULTILINE)
    )
    ours = [family for family in metrics.REGISTRY.collect() if family.name.startswith("pilothouse_")]
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in ours}
    assert names == documented.keys()
    for metric in vars(metrics).values():
        labels = getattr(metric, "_labelnames", ())
        for label in labels:
            name = f"{metric._name}_total" if metric._type == "counter" else metric._name  # noqa: SLF001
            assert label in documented[name]


def test_every_help_text_says_what_it_is_labeled_by() -> None:
    for metric in vars(metrics).values():
        labels = getattr(metric, "_labelnames", ())
        if labels:
            assert "Labeled by" in metric._documentation  # noqa: SLF001 -- not public otherwise
