import pytest

from harness import builds, images


@pytest.fixture
def started() -> set[str]:
    """Names of the images that every cluster is given."""
    return {image.name for image in images.images()}


def test_a_cluster_starts_without_what_only_some_tests_look_at(started: set[str]) -> None:
    others = {image.name for image in (*images.rate_limits(), images.traefik())}

    assert len(others) == 3
    assert not others & started
    assert not {builds.RATE_LIMIT, builds.TRAEFIK, builds.KUBE_ROUTER} & set(builds.MODULES)


def test_the_gateways_custom_resources_are_those_of_its_program() -> None:
    version = images.TRAEFIK_WHEEL.partition("==")[2]

    assert f"github.com/traefik/traefik/v3 v{version}\n" in builds.Module(builds.TRAEFIK).go_mod
    assert images.traefik().name.endswith(f":{version}")


def test_what_has_no_program_is_copied_and_not_compiled() -> None:
    assert builds.Module(builds.TRAEFIK).packages == ()
    assert builds.Module(builds.RATE_LIMIT).packages == ("github.com/envoyproxy/ratelimit/src/service_cmd",)


def test_what_shares_libraries_is_built_anew_when_the_pins_of_another_change() -> None:
    pins = builds.GO_MODULES / "helm" / "go.mod"

    assert pins in builds.Module("coredns").sources
    assert pins not in builds.Module("kubernetes").sources


def test_what_shares_libraries_asks_for_one_go() -> None:
    assert builds.Module("coredns").go_version == builds.Module("envoy-gateway").go_version
