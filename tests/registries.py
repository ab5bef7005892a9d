"""Real places that models come from, on loopback: Debian's docker-registry, static web servers; and skopeo."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.brokers import free_port
from tests.fakes.certificates import Authority
from tests.required import needs
from tests.servers import Handler, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.certificates import Pair

EXECUTABLE = shutil.which("docker-registry")
SKOPEO = shutil.which("skopeo")
READY_S = 10.0
TOOL_S = 50.0


class _Process:
    """A server process that listens on a port of 127.0.0.1; subclasses give `_command`."""

    def __init__(self, port: int | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="registry-"))

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        """Start and wait until it accepts connections."""
        assert self.process is None
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        self._await()
        return self

    def stop(self) -> None:
        """End it cleanly (SIGTERM)."""
        self._signal(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """End it at once (SIGKILL): its port refuses connections."""
        self._signal(signal.SIGKILL)
        self._reap()

    def freeze(self) -> None:
        """Stop it without closing anything (SIGSTOP): connections are accepted by the kernel, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return what it wrote so far, all starts together."""
        path = self.directory / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its directory."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self._reap()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)

    def _reap(self) -> None:
        assert self.process is not None
        self.process.wait(READY_S)
        self.process = None

    def _await(self) -> None:
        """Try to connect until it accepts; its death ends the waiting at once."""
        assert self.process is not None
        deadline = time.monotonic() + READY_S
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while time.monotonic() < deadline:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection((self.host, self.port), 1.0):
                    return
                if select.select([pidfd], [], [], 0.01)[0]:
                    break
        finally:
            os.close(pidfd)
        self.process.kill()
        self._reap()
        msg = f"{self._command()[0]} did not start on port {self.port}:\n{self.log()}"
        raise RuntimeError(msg)


class Registry(_Process):
    """Debian's docker-registry (Docker distribution 2.8); its data lives in a directory of its own.

    Args:
        port: where it listens on 127.0.0.1; a free one by default. Restarts use the same.
        tls: certificate and key; without them plain HTTP.
        client_ca: demand a certificate of this authority from clients (mTLS).
        users: name -> password, for Basic authentication (htpasswd, bcrypt).
        token_server: for Bearer authentication.
        upstream: URL of another registry whose pull-through cache this one is; nothing can be pushed here then.
        upstream_user: name and password for it.
        upstream_ca: file of the authority that signed the certificate of it.
        deletes: allow DELETE of manifests and blobs.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        tls: Pair | None = None,
        client_ca: Path | None = None,
        users: Mapping[str, str] | None = None,
        token_server: TokenServer | None = None,
        upstream: str | None = None,
        upstream_user: tuple[str, str] | None = None,
        upstream_ca: Path | None = None,
        deletes: bool = False,
    ) -> None:
        needs(EXECUTABLE, "docker-registry: apt-get install docker-registry")
        super().__init__(port)
        self.scheme = "https" if tls else "http"
        self._upstream_ca = upstream_ca
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "data")},
                "delete": {"enabled": deletes},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.address, "secret": secrets.token_hex(8)},
        }
        if tls is not None:
            config["http"]["tls"] = {"certificate": str(tls.cert), "key": str(tls.key)}
            if client_ca is not None:
                config["http"]["tls"]["clientcas"] = [str(client_ca)]
        if users is not None:
            config["auth"] = {"htpasswd": {"realm": "basic-realm", "path": str(self._htpasswd(users))}}
        if token_server is not None:
            config["auth"] = {"token": token_server.settings()}
        if upstream is not None:
            user, password = upstream_user or ("", "")
            config["proxy"] = {"remoteurl": upstream, "username": user, "password": password}
        (self.directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.address}"

    @property
    def data(self) -> Path:
        """Where it keeps what was pushed."""
        return self.directory / "data"

    def requests(self) -> list[str]:
        """What was asked so far, as ``GET /v2/``, in the order of the answers."""
        found = [line.split('"')[1] for line in self.log().splitlines() if ' HTTP/1.1" ' in line]
        return [request.removesuffix(" HTTP/1.1") for request in found]

    def _command(self) -> list[str]:
        assert EXECUTABLE is not None
        return [EXECUTABLE, "serve", str(self.directory / "config.yml")]

    def _environment(self) -> dict[str, str]:
        more = {"SSL_CERT_FILE": str(self._upstream_ca)} if self._upstream_ca else {}
        return {"PATH": os.environ.get("PATH", ""), **more}

    def _htpasswd(self, users: Mapping[str, str]) -> Path:
        path = self.directory / "htpasswd"
        path.touch(0o600)
        for name, password in users.items():
            command = ["htpasswd", "-B", "-i", "-C", "4", str(path), name]
            subprocess.run(command, input=password.encode(), check=True, capture_output=True, timeout=TOOL_S)
        return path


class TokenServer(LoopbackServer):
    """Gives tokens to those who know a password (distribution 2.8, docs/spec/auth: token, scope and jwt).

    Args:
        users: name -> password.
        pull_only: names that get no more than ``pull``, whatever they ask for.
        life_s: how long a token is good for.
        tls: certificate and key of the token server.
    """

    SERVICE = "registry.test"
    ISSUER = "token.test"

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        pull_only: tuple[str, ...] = (),
        life_s: int = 300,
        tls: Pair | None = None,
    ) -> None:
        super().__init__(_TokenHandler, tls)
        self.users, self.pull_only, self.life_s = users, pull_only, life_s
        self.directory = Path(tempfile.mkdtemp(prefix="tokens-"))
        authority = Authority(self.directory)
        pair = authority.sign("signer")
        self._bundle = authority.ca
        certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        self._x5c = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        shutil.rmtree(self.directory, ignore_errors=True)

    def settings(self) -> dict[str, str]:
        """The section ``auth.token`` of a registry that believes this server."""
        return {
            "realm": f"{self.url}/token",
            "service": self.SERVICE,
            "issuer": self.ISSUER,
            "rootcertbundle": str(self._bundle),
        }

    def token(self, user: str, scopes: list[str]) -> str:
        """Return a JWT that lets ``user`` do what ``repository:NAME:pull,push`` say, as far as he may."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = [a for a in actions.split(",") if a == "pull" or user not in self.pull_only]
            access.append({"type": kind, "name": name, "actions": granted})
        claims = {
            "iss": self.ISSUER,
            "sub": user,
            "aud": self.SERVICE,
            "nbf": now - 10,
            "iat": now - 10,
            "exp": now + self.life_s,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        header = {"typ": "JWT", "alg": "ES256", "x5c": [self._x5c]}
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32) + s.to_bytes(32))}"


class _TokenHandler(Handler):
    def respond(self) -> None:
        owner: TokenServer = self.owner
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        if not user or owner.users.get(user) != password:
            self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', WWW_Authenticate='Basic realm="tokens"')
            return
        query = parse_qs(urlsplit(self.path).query)
        scopes = [scope for text in query.get("scope", []) for scope in text.split(" ")]
        body = {"token": owner.token(user, scopes), "expires_in": owner.life_s}
        self.answer(200, json.dumps(body).encode(), Content_Type="application/json")


class StaticServer(LoopbackServer):
    """Serves the files of a directory with Range, ETag and If-None-Match, as nginx does.

    Args:
        root: the directory; what is written to it later is served too.
        tls: certificate and key.
        users: name -> password, for Basic authentication.
    """

    def __init__(self, root: Path, tls: Pair | None = None, users: Mapping[str, str] | None = None) -> None:
        super().__init__(_StaticHandler, tls)
        self.root, self.users = root, users


class _StaticHandler(Handler):
    def respond(self) -> None:
        owner: StaticServer = self.owner
        if owner.users is not None and not self._known(owner.users):
            self.answer(401, WWW_Authenticate='Basic realm="files"')
            return
        root = owner.root.resolve()
        path = (root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            self.answer(404, b"not found")
            return
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
            headers = {
                "ETag": etag,
                "Last_Modified": formatdate(status.st_mtime, usegmt=True),
                "Accept_Ranges": "bytes",
            }
            if self.headers.get("If-None-Match") == etag:
                self.answer(304, Content_Length="0", ETag=etag)
                return
            wanted = self._range(status.st_size, etag)
            if wanted is None:
                self.answer(416, Content_Range=f"bytes */{status.st_size}")
                return
            first, last, part = wanted
            if part:
                headers["Content-Range"] = f"bytes {first}-{last}/{status.st_size}"
            file.seek(first)
            length = last + 1 - first
            self.send_response(206 if part else 200)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            while length and (piece := file.read(min(length, 1 << 18))):
                self.wfile.write(piece)
                length -= len(piece)

    def _range(self, size: int, etag: str) -> tuple[int, int, bool] | None:
        """Return first byte, last byte and whether that is a part; ``None`` when it cannot be satisfied."""
        unit, _, text = self.headers.get("Range", "").partition("=")
        if unit != "bytes" or self.headers.get("If-Range", etag) != etag:
            return 0, size - 1, False
        first, _, last = text.partition("-")
        if not first.isdigit() or int(first) >= size:
            return None
        return int(first), min(int(last), size - 1) if last else size - 1, True

    def _known(self, users: Mapping[str, str]) -> bool:
        given = self.headers.get("Authorization", "")
        return any(given == basic(user, password) for user, password in users.items())


class PlainServer(_Process):
    """``python -m http.server``: neither Range nor ETag."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self.url = f"http://{self.address}"

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "http.server", "--bind", self.host, "--directory", str(self._root)),
            str(self.port),
        ]


def basic(user: str, password: str) -> str:
    """Return the value of the header Authorization."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def skopeo(*arguments: str, ca: Path | None = None) -> bytes:
    """Run skopeo with a home of its own, which is removed again; return what it printed.

    Args:
        arguments: for example ``"copy", "--preserve-digests", "docker://...", "oci:DIR:TAG"``.
        ca: certificate of the authority of the registries in ``arguments``.
    """
    needs(SKOPEO, "skopeo: apt-get install skopeo")
    assert SKOPEO is not None
    with tempfile.TemporaryDirectory(prefix="skopeo-") as home:
        environment = {"HOME": home, "XDG_RUNTIME_DIR": home, "TMPDIR": home, "PATH": os.environ.get("PATH", "")}
        verb, *rest = arguments
        certs = []
        if ca is not None:
            trusted = Path(home, "trusted")  # beside the certificate it would find keys, and take them for a client's
            trusted.mkdir()
            shutil.copy(ca, trusted / "ca.crt")
            options = ("--src-cert-dir", "--dest-cert-dir") if verb == "copy" else ("--cert-dir",)
            certs = [word for option in options for word in (option, str(trusted))]
        command = [SKOPEO, "--insecure-policy", "--tmpdir", home, verb, *certs, *rest]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=TOOL_S, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stderr.decode('utf-8', 'replace')}"
    return done.stdout


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
