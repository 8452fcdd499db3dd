"""What a test counts of the operator's writes is of one moment."""

from pathlib import Path

from integration.loop.process import OperatorProcess

PAGE = """\
# TYPE pilothouse_api_requests_total counter
pilothouse_api_requests_total{kind="Service",verb="apply"} 2
pilothouse_api_requests_total{kind="Service",verb="get"} 7
pilothouse_api_requests_total{kind="Deployment",verb="create"} 1
pilothouse_api_requests_total{kind="Lease",verb="update"} %d
"""


class Renewing(OperatorProcess):
    """One that renews its Lease between any two looks at its metrics."""

    renewals = 0

    def metrics(self) -> str:
        self.renewals += 1
        return PAGE % self.renewals


def test_a_renewal_of_the_lease_is_no_write_whenever_it_comes() -> None:
    operator = Renewing(Path("kubeconfig"), "a", Path("log"))

    assert [operator.writes() for _ in range(3)] == [3, 3, 3]
