"""Certificates for a test, made by `openssl` in its folder."""

import subprocess
from pathlib import Path


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class Authority:
    """Somebody who vouches for names; `ca` is the file that says so."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        self.ca = folder / f"{name}.pem"
        _openssl(
            folder, "req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-addext", "keyUsage=critical,keyCertSign", "-out", self.ca.name,
        )  # fmt: skip

    def certify(self, name: str, alternatives: str = "", days: int = 1) -> tuple[Path, Path]:
        """Return the files of a certificate and its key; with days below 0 its time is over."""
        folder = self._folder
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(folder, "req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key.name, "-out", f"{name}.csr")
        extensions = folder / f"{name}.ext"
        extensions.write_text(
            "basicConstraints=CA:FALSE\n" + (f"subjectAltName={alternatives}\n" if alternatives else "")
        )
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", self.ca.name, "-CAkey", f"{self._name}.key",
            "-CAcreateserial", "-days", str(days), "-extfile", extensions.name, "-out", certificate.name,
        )  # fmt: skip
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
