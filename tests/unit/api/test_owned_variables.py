"""What the pod template sets, the CRD refuses in a spec: the value of a user is never dropped in silence."""

from builders import model_deployment, queue_class
from pilothouse.api.modeldeployment import OWNED_VARIABLES
from pilothouse.plan.lifecycle import Lifecycle
from pilothouse.plan.podtemplate import pod_template


def test_every_variable_that_pilothouse_sets_is_refused_in_a_spec() -> None:
    gated = model_deployment({"model": {"checkpoint": {"secretRef": {"name": "hf-token"}}}})

    template = pod_template(gated, queue_class(), Lifecycle(startup=60, drain=30), "7f3a9c1d20")

    containers = template["spec"]["initContainers"] + template["spec"]["containers"]
    rendered = {entry["name"] for container in containers for entry in container["env"]}
    assert {name for name in rendered if not name.startswith("PILOTHOUSE_")} <= set(OWNED_VARIABLES)
