"""The real parts that tests of the registry start do what those tests take for granted."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from tests.fakes.certificates import Authority
from tests.registries import PlainServer, Registry, StaticServer, TokenServer, basic, skopeo

if TYPE_CHECKING:
    from pathlib import Path

USERS = {"robot": "s3cret", "publisher": "pa:ss"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def ask(
    method: str, url: str, body: bytes | None = None, ca: Path | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own; header names of the answer in lower case."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(parts.netloc, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def push(base: str, name: str, content: bytes, **more: Any) -> str:
    """Push an artifact with one layer, tag ``1``; return the digest of its manifest."""
    layers = []
    for raw in (b"{}", content):
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        status, headers, _ = ask("POST", f"{base}/v2/{name}/blobs/uploads/", b"", **more)
        assert status == 202
        location = headers["location"]
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"
        assert ask("PUT", url, raw, Content_Type="application/octet-stream", **more)[0] == 201
        layers.append({"mediaType": "application/octet-stream", "digest": digest, "size": len(raw)})
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": layers[0], "layers": layers[1:]}
    raw = json.dumps(manifest).encode()
    assert ask("PUT", f"{base}/v2/{name}/manifests/1", raw, Content_Type=MANIFEST, **more)[0] == 201
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def test_a_plain_registry_keeps_what_is_pushed_over_a_kill_and_forgets_nothing(tmp_path: Path) -> None:
    """Tag, digest and Range are answered; skopeo copies it into a layout with the same digest; DELETE is refused."""
    with Registry() as registry:
        digest = push(registry.url, "a/model", b"weights" * 1000)
        registry.kill()
        registry.start()
        status, headers, _ = ask("HEAD", f"{registry.url}/v2/a/model/manifests/1", Accept=MANIFEST)
        assert (status, headers["docker-content-digest"]) == (200, digest)
        blob = "sha256:" + hashlib.sha256(b"weights" * 1000).hexdigest()
        status, _, body = ask("GET", f"{registry.url}/v2/a/model/blobs/{blob}", Range="bytes=7-13")
        assert (status, body) == (206, b"weights")
        assert ask("DELETE", f"{registry.url}/v2/a/model/manifests/{digest}")[0] == 405
        assert "HEAD /v2/a/model/manifests/1" in registry.requests()
        source = f"docker://{registry.address}/a/model:1"
        skopeo("copy", "--src-tls-verify=false", "--preserve-digests", source, f"oci:{tmp_path}/layout:1")
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == digest


def test_tls_with_an_own_authority_and_basic_authentication(tmp_path: Path) -> None:
    """Nobody gets in without a password; deletions can be allowed."""
    authority = Authority(tmp_path)
    with Registry(tls=authority.sign("registry"), users=USERS, deletes=True) as registry:
        status, headers, _ = ask("GET", f"{registry.url}/v2/", ca=authority.ca)
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="basic-realm"')
        granted = basic("publisher", USERS["publisher"])
        digest = push(registry.url, "m", b"x", ca=authority.ca, Authorization=granted)
        url = f"{registry.url}/v2/m/manifests/{digest}"
        assert ask("DELETE", url, ca=authority.ca, Authorization=basic("publisher", "wrong"))[0] == 401
        assert ask("DELETE", url, ca=authority.ca, Authorization=granted)[0] == 202


def test_a_token_lets_a_robot_pull_and_not_push() -> None:
    """The registry names the token server, whose tokens it believes as far as they go."""
    with TokenServer(USERS, pull_only=("robot",)) as tokens, Registry(token_server=tokens) as registry:
        status, headers, _ = ask("GET", f"{registry.url}/v2/m/manifests/1")
        assert status == 401
        assert headers["www-authenticate"].startswith(f'Bearer realm="{tokens.url}/token",service="registry.test"')

        def token(user: str) -> str:
            query = urlencode({"service": "registry.test", "scope": "repository:m:pull,push"})
            status, _, body = ask("GET", f"{tokens.url}/token?{query}", Authorization=basic(user, USERS[user]))
            assert status == 200
            return f"Bearer {json.loads(body)['token']}"

        digest = push(registry.url, "m", b"x", Authorization=token("publisher"))
        robot = token("robot")
        assert ask("HEAD", f"{registry.url}/v2/m/manifests/{digest}", Accept=MANIFEST, Authorization=robot)[0] == 200
        assert ask("POST", f"{registry.url}/v2/m/blobs/uploads/", b"", Authorization=robot)[0] == 401
        assert ask("GET", f"{tokens.url}/token?service=registry.test", Authorization=basic("robot", "no"))[0] == 401


def test_a_pull_through_cache_serves_by_digest_when_its_upstream_is_dead() -> None:
    """And what it never saw it cannot serve."""
    with Registry() as upstream, Registry(upstream=upstream.url) as cache:
        digest, other = push(upstream.url, "m", b"x"), push(upstream.url, "other", b"y")
        assert ask("GET", f"{cache.url}/v2/m/manifests/{digest}", Accept=MANIFEST)[0] == 200
        upstream.kill()
        assert ask("GET", f"{cache.url}/v2/m/manifests/{digest}", Accept=MANIFEST)[0] == 200
        assert ask("GET", f"{cache.url}/v2/other/manifests/{other}", Accept=MANIFEST)[0] >= 400


def test_a_static_server_knows_ranges_and_conditions_and_a_plain_one_does_not(tmp_path: Path) -> None:
    """Neither leaves the directory."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"no")
    authority = Authority(tmp_path)
    with StaticServer(root, authority.sign("web")) as server:
        status, headers, body = ask("GET", f"{server.url}/file", ca=authority.ca, Range="bytes=4-6")
        assert (status, headers["content-range"], body) == (206, "bytes 4-6/10", b"456")
        assert ask("GET", f"{server.url}/file", ca=authority.ca, If_None_Match=headers["etag"])[0] == 304
        assert ask("GET", f"{server.url}/file", ca=authority.ca, Range="bytes=10-")[0] == 416
        assert ask("GET", f"{server.url}/../secret", ca=authority.ca)[0] == 404
    with PlainServer(root) as plain:
        status, headers, body = ask("GET", f"{plain.url}/file", Range="bytes=4-6")
        assert (status, "etag" in headers, body) == (200, False, b"0123456789")
