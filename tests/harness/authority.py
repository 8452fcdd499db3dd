"""A certificate authority that no trust store has, for servers of a test's own."""

from pathlib import Path

from harness.shell import run


class Authority:
    """A company's own certificate authority."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = self._make("authority", "-subj", "/CN=company")

    def issue(self, host: str) -> tuple[str, str]:
        """Return a certificate for a host, and its key."""
        authority = ("-CA", self._folder / "authority.crt", "-CAkey", self._folder / "authority.key")
        names = ("-subj", "/CN=keys", "-addext", f"subjectAltName=DNS:{host}")
        return self._make(host, *authority, *names), (self._folder / f"{host}.key").read_text()

    def _make(self, name: str, *options: str | Path) -> str:
        key, certificate = self._folder / f"{name}.key", self._folder / f"{name}.crt"
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", key)
        run(["openssl", "req", "-x509", *new, "-days", "2", *options, "-out", certificate])
        return certificate.read_text()
