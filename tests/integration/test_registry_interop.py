"""What our publisher signs travels through registries and tools of others, and a box takes it wherever it arrives."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from edge_runtime.engine.package import open_package
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Report, Standing
from edge_runtime.registry.carriers.open import Access
from edge_runtime.registry.descriptor import digest_of
from edge_runtime.registry.package.modelpack import WEIGHT, WEIGHT_CONFIG
from tests.assets.make_models import write_package
from tests.fakes.certificates import Authority
from tests.foreign_clients import modelpack_push, oras_push
from tests.registries import Registry, StaticServer, TokenServer, skopeo
from tests.release_desk import SITE, ReleaseDesk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL, RELEASE = "colours", 4
NAMES = ("tuf:latest", f"{MODEL}:{RELEASE}")
USER = ("robot", "s3cret")


class Plant:
    """A registry, what was published there, and boxes that pull from wherever they are told to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = Registry().start()
        self.url = f"oci://{self.registry.address}/fleet"
        self.desk = ReleaseDesk(directory / "desk", self.url)
        self.package = write_package(directory, MODEL, release=RELEASE)
        self.manifest, _ = self.desk.publish(self.package)
        self.desk.assign(MODEL, RELEASE)

    def close(self) -> None:
        self.desk.close()
        self.registry.close()

    def pull(self, state: Path, *urls: str, model: str = MODEL, access: Access | None = None) -> Report:
        """Let a box look once."""
        return Pull(
            Order(
                root=state,
                anchor=self.desk.root,
                urls=urls,
                access=access or Access(),
                site=SITE,
                line="line-1",
                edge="box-1",
                wants=(Want("top", model),),
            )
        ).run()

    def is_taken(self, state: Path, report: Report) -> None:
        """Fail unless the box has what was published, as a package that an engine opens."""
        (slot,) = report.slots
        assert (report.contact, slot.standing, slot.message) == (Contact.OK, Standing.CURRENT, None)
        assert slot.current is not None
        assert slot.current.manifest == self.manifest
        assert open_package(state / "slots" / "top" / "current").ref == open_package(self.package).ref


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    made = Plant(tmp_path_factory.mktemp("plant"))
    yield made
    made.close()


def package_called(name: str, directory: Path) -> Path:
    """Write a package of another model, release 1."""
    package = write_package(directory, MODEL, release=1)
    manifest = package / "edge-model.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": name}))
    return package


def copy(plant: Plant, to: str, ca: Path | None = None, *words: str) -> None:
    """Copy all of a registry with skopeo: what is listed, and each release."""
    for name in NAMES:
        source = f"docker://{plant.registry.address}/fleet/{name}"
        target = to.format(name=name)
        skopeo("copy", "--preserve-digests", "--src-tls-verify=false", *words, source, target, ca=ca)


def test_a_box_takes_a_release_from_every_place_that_skopeo_carries_it_to(plant: Plant, tmp_path: Path) -> None:
    """From the registry, another one with TLS, own authority and password, a directory, an archive, a web server."""
    plant.is_taken(tmp_path / "a", plant.pull(tmp_path / "a", plant.url))

    authority, layout = Authority(tmp_path), tmp_path / "layout"
    with Registry(tls=authority.sign("registry"), users=dict([USER])) as other:
        copy(plant, f"docker://{other.address}/mirror/{{name}}", authority.ca, "--dest-creds", ":".join(USER))
        access = Access(username=USER[0], password=USER[1], ca_file=authority.ca)
        report = plant.pull(tmp_path / "b", f"oci://{other.address}/mirror", access=access)
        plant.is_taken(tmp_path / "b", report)

    copy(plant, f"oci:{layout}:{{name}}")
    plant.is_taken(tmp_path / "c", plant.pull(tmp_path / "c", f"oci-layout:{layout}"))
    archive = shutil.make_archive(str(tmp_path / "stick"), "tar", layout)
    plant.is_taken(tmp_path / "d", plant.pull(tmp_path / "d", f"oci-archive:{archive}"))
    with StaticServer(layout, authority.sign("web")) as web:
        access = Access(ca_file=authority.ca)
        plant.is_taken(tmp_path / "e", plant.pull(tmp_path / "e", f"{web.url}/", access=access))
        again = plant.pull(tmp_path / "e", f"{web.url}/", access=access)
        assert again.slots[0].standing is Standing.CURRENT


def test_a_cache_in_the_plant_serves_when_the_registry_behind_it_is_gone(tmp_path: Path) -> None:
    """Frozen: the cache cannot say what is tagged, so a mirror is asked. Killed: what it has seen is all there."""
    plant = Plant(tmp_path / "plant")
    try:
        with Registry(upstream=plant.registry.url) as cache, Registry() as mirror:
            url, access = f"oci://{cache.address}/fleet", Access(answer_s=0.5)
            plant.is_taken(tmp_path / "warm", plant.pull(tmp_path / "warm", url))
            copy(plant, f"docker://{mirror.address}/fleet/{{name}}", None, "--dest-tls-verify=false")
            plant.registry.freeze()
            alone = plant.pull(tmp_path / "warm", url, access=access)
            assert alone.contact is Contact.UNREACHABLE
            assert alone.slots[0].current is not None, "what it has it keeps"
            urls = (url, f"oci://{mirror.address}/fleet")
            plant.is_taken(tmp_path / "mirrored", plant.pull(tmp_path / "mirrored", *urls, access=access))
            plant.registry.kill()
            plant.is_taken(tmp_path / "cold", plant.pull(tmp_path / "cold", url))
    finally:
        plant.close()


def test_a_robot_that_may_only_pull_gets_its_token_and_its_release(tmp_path: Path) -> None:
    """Token authentication: the publisher may push, the box may not, and both only show a password to the realm."""
    with (
        TokenServer({"board": "pa:ss", **dict([USER])}, pull_only=(USER[0],)) as tokens,
        Registry(token_server=tokens) as registry,
    ):
        url, hosts = f"oci://{registry.address}/fleet", (tokens.address,)
        board = Access(username="board", password="pa:ss", realm_hosts=hosts)
        with ReleaseDesk(tmp_path / "desk", url, access=board) as desk:
            package = write_package(tmp_path, MODEL, release=RELEASE)
            manifest, _ = desk.publish(package)
            desk.assign(MODEL, RELEASE)
            order = Order(
                root=tmp_path / "box",
                anchor=desk.root,
                urls=(url,),
                access=Access(username=USER[0], password=USER[1], realm_hosts=hosts),
                site=SITE,
                line="line-1",
                edge="box-1",
                wants=(Want("top", MODEL),),
            )
            (slot,) = Pull(order).run().slots
        assert slot.current is not None
        assert slot.current.manifest == manifest
        assert {one.partition(" ")[0] for one in tokens.credentials} == {"Basic"}


def test_what_modelpack_client_pushed_is_taken_once_it_is_signed(plant: Plant, tmp_path: Path) -> None:
    """Somebody else's tool packs and pushes; only the signature is ours."""
    package = package_called("foreign", tmp_path)
    files = {
        "edge-model.json": (package / "edge-model.json", WEIGHT_CONFIG),
        "colours.onnx": (package / "colours.onnx", WEIGHT),
    }
    digest = modelpack_push(f"{plant.registry.address}/fleet/foreign:1", files, name="foreign")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{plant.registry.address}/fleet/foreign:1")
    plant.desk.list_manifest("foreign", 1, raw, digest_of((package / "edge-model.json").read_bytes()))
    plant.desk.assign("foreign", 1)
    (slot,) = plant.pull(tmp_path / "box", plant.url, model="foreign").slots
    assert (slot.standing, slot.message) == (Standing.CURRENT, None)
    assert slot.current is not None
    assert slot.current.manifest == digest
    assert open_package(tmp_path / "box" / "slots" / "top" / "current").ref == open_package(package).ref


def test_what_oras_pushed_is_no_model_package_and_is_refused_in_words(plant: Plant, tmp_path: Path) -> None:
    """Its artifacts have no artifactType, and say of no file what it is: even signed they are not taken."""
    package = package_called("loose", tmp_path)
    digest = oras_push(f"{plant.registry.address}/fleet/loose:1", package, ["edge-model.json", "colours.onnx"])
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{plant.registry.address}/fleet/loose:1")
    assert digest_of(raw) == digest
    plant.desk.list_manifest("loose", 1, raw, digest_of((package / "edge-model.json").read_bytes()))
    plant.desk.assign("loose", 1)
    (slot,) = plant.pull(tmp_path / "box", plant.url, model="loose").slots
    assert (slot.standing, slot.current) == (Standing.REFUSED, None)
    assert slot.message is not None
    assert "artifactType" in slot.message or "artifact" in slot.message
