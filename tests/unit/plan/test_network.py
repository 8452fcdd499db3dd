"""Who may reach engine pods."""

from builders import Cluster, by_kind, model_deployment, observed
from pilothouse.plan.network import network_policy


def test_nobody_is_kept_away_where_nobody_is_named() -> None:
    assert by_kind(Cluster().settle(), "NetworkPolicy") == []


def test_the_namespaces_that_are_named_reach_the_engines_port_and_nobody_else_does() -> None:
    [policy] = by_kind(
        Cluster(observed(allowed_namespaces=("gateways", "pilothouse-system"))).settle(), "NetworkPolicy"
    )

    assert policy["metadata"]["ownerReferences"][0]["name"] == "qwen-coder"
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {"pilothouse.dev/deployment": "qwen-coder"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {
                        "namespaceSelector": {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/metadata.name",
                                    "operator": "In",
                                    "values": ["gateways", "pilothouse-system"],
                                }
                            ]
                        }
                    }
                ],
                "ports": [{"protocol": "TCP", "port": 8000}],
            }
        ],
    }


def test_it_goes_when_the_value_does() -> None:
    cluster = Cluster(observed(allowed_namespaces=("gateways",)))
    cluster.settle()
    cluster.change(allowed_namespaces=()).settle()
    assert not [name for name in cluster.kinds() if name.startswith("NetworkPolicy")]


def test_a_namespace_that_is_named_twice_stands_there_once() -> None:
    spec = network_policy(model_deployment(), ["b", "a", "b"])["spec"]
    assert spec["ingress"][0]["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["a", "b"]
