"""The manifest of a release: what is written is read back, and what a stranger may write is refused by name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import parse_manifest as parse_package
from edge_runtime.registry.descriptor import Descriptor, describe, digest_of
from edge_runtime.registry.package import modelpack as mp

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS = b"weights"
PACKAGE = {
    "schema": "edge-model/1",
    "name": "weld",
    "version": "1.2.0",
    "release": 7,
    "task": "detection",
    "decoder": "yolo",
    "weights": {"file": "cpu/Model.onnx", "format": "onnx", "precision": "int8", "sha256": digest_of(WEIGHTS)[7:]},
}
RAW = json.dumps(PACKAGE).encode()
FILES = {
    "edge-model.json": describe(RAW, mp.WEIGHT_CONFIG),
    "cpu/Model.onnx": describe(WEIGHTS, mp.WEIGHT),
    "golden/frame-01.JPG": describe(b"picture", mp.DATASET),
    "golden/expected.json": describe(b"{}", mp.DATASET),
    "LICENSE": describe(b"free", mp.DOC),
}
CONFIG = mp.make_config(parse_package(RAW), FILES, ["Apache-2.0"])


def written() -> bytes:
    return mp.make_manifest(FILES, describe(CONFIG, mp.CONFIG))


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the manifest with one thing wrong."""
    document = json.loads(written())
    change(document)
    return json.dumps(document).encode()


def refusal(raw: bytes, **limits: int) -> DataError:
    with pytest.raises(DataError) as caught:
        mp.parse_manifest(raw, "weld 7", **limits)
    assert caught.value.message.startswith("weld 7")
    return caught.value


def layers(*changes: dict[str, object]) -> bytes:
    """Return the manifest with more layers, each a document with these changes."""

    def add(document: dict[str, Any]) -> None:
        for number, fields in enumerate(changes):
            blob = describe(b"%d" % number, mp.DOC, **{mp.FILEPATH: f"doc-{number}.md"}).as_fields()
            document["layers"].append({**blob, **fields})

    return changed(add)


def at(path: object) -> dict[str, object]:
    return {"annotations": {mp.FILEPATH: path}}


def test_what_was_written_is_read_back() -> None:
    artifact = mp.parse_manifest(written(), "weld 7")
    assert artifact.digest == digest_of(written())
    assert {path: (blob.digest, blob.size, blob.media_type) for path, blob in artifact.files.items()} == {
        path: (blob.digest, blob.size, blob.media_type) for path, blob in FILES.items()
    }
    assert list(artifact.files) == sorted(FILES)
    assert (artifact.config.digest, artifact.config.size) == (digest_of(CONFIG), len(CONFIG))


def test_the_manifest_is_the_same_whatever_the_order_of_the_files() -> None:
    backwards = dict(reversed(FILES.items()))
    assert mp.make_manifest(backwards, describe(CONFIG, mp.CONFIG)) == written()
    assert mp.make_config(parse_package(RAW), backwards, ["Apache-2.0"]) == CONFIG


def test_the_manifest_is_that_of_the_specification() -> None:
    document = json.loads(written())
    assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert document["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert document["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert document["layers"][1] == {
        "mediaType": "application/vnd.cncf.model.weight.v1.raw",
        "digest": digest_of(WEIGHTS),
        "size": len(WEIGHTS),
        "annotations": {
            "org.cncf.model.filepath": "cpu/Model.onnx",
            "org.opencontainers.image.title": "cpu/Model.onnx",
        },
    }


def test_the_config_says_what_other_tools_ask_for() -> None:
    document = json.loads(CONFIG)
    assert document["descriptor"] == {"name": "weld", "version": "1.2.0", "revision": "7", "licenses": ["Apache-2.0"]}
    assert document["config"]["format"] == "onnx"
    assert document["config"]["precision"] == "int8"
    assert document["modelfs"]["diffIds"] == [FILES[path].digest for path in sorted(FILES)]


def test_the_config_leaves_out_what_is_not_known() -> None:
    chain = {key: PACKAGE[key] for key in ("schema", "name", "version")}
    digest = "sha256:" + "0" * 64
    steps = [{"package": name, "digest": digest} for name in ("find", "sort")]
    package = parse_package(json.dumps({**chain, "task": "chain", "steps": steps}).encode())
    document = json.loads(mp.make_config(package, FILES))
    assert document["descriptor"] == {"name": "weld", "version": "1.2.0"}
    assert document["config"]["architecture"] == "chain"
    assert "format" not in document["config"]


def test_blobs_come_once_and_the_largest_first() -> None:
    same = {**FILES, "NOTICE": describe(b"free", mp.DOC), "empty.md": describe(b"", mp.DOC)}
    artifact = mp.parse_manifest(mp.make_manifest(same, describe(CONFIG, mp.CONFIG)), "weld 7")
    sizes = [blob.size for blob in artifact.blobs]
    assert sizes == sorted(sizes, reverse=True)
    assert len(artifact.blobs) == len(FILES) + 2  # the empty one and the config
    assert artifact.size_bytes == sum(sizes)


def test_a_quota_that_is_just_kept_is_kept() -> None:
    size = mp.parse_manifest(written(), "weld 7").size_bytes
    assert mp.parse_manifest(written(), "weld 7", quota_bytes=size).size_bytes == size
    assert refusal(written(), quota_bytes=size - 1).code == "package.quota"


def test_what_a_box_would_refuse_is_not_written() -> None:
    with pytest.raises(DataError, match="this package"):
        mp.make_manifest({**FILES, "run.py": describe(b"import os", mp.DOC)}, describe(CONFIG, mp.CONFIG))


def test_a_manifest_without_a_media_type_of_its_own_is_taken() -> None:
    """It is optional in image-spec 1.1."""
    assert mp.parse_manifest(changed(lambda d: d.pop("mediaType")), "weld 7").files.keys() == FILES.keys()


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b'{"schemaVersion": 2}' + b" " * mp.MANIFEST_BYTES_MAX, "the limit is 1048576"),
        (nested(mp.DEPTH_MAX + 1), "nested deeper than 16"),
        (nested(100_000), "not a sensible JSON document"),
        (b'{"layers":' * 16 + b"[" + b"}" * 16, "not JSON"),
        (b'{"layers": [], "layers": []}', "written twice"),
        (b"[]", "expected an object at the top"),
        (b'{"schemaVersion": NaN}', "NaN is not a JSON number"),
        (b'{"size": ' + b"9" * 5000 + b"}", "not a sensible JSON document"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "not a sensible JSON document"),
    ],
    ids=["large", "depth", "bomb", "cut", "twice", "list", "nan", "digits", "latin1", "surrogate"],
)
def test_attack_05_manifest_that_no_reader_should_have_to_read(raw: bytes, what: str) -> None:
    error = refusal(raw)
    assert error.code == "manifest.unreadable"
    assert what in error.message


def test_attack_05_nesting_at_the_limit_is_read() -> None:
    assert refusal(nested(mp.DEPTH_MAX)).code == "package.kind"


@pytest.mark.parametrize("count", [0, mp.LAYERS_MAX + 1, 100_000])
def test_attack_05_too_many_layers(count: int) -> None:
    error = refusal(changed(lambda d: d.update(layers=[{}] * count)))
    assert error.code == "package.invalid"
    assert f"found {count}" in error.message


def test_attack_05_as_many_layers_as_allowed_are_taken() -> None:
    raw = layers(*[{}] * (mp.LAYERS_MAX - len(FILES)))
    assert len(mp.parse_manifest(raw, "weld 7").files) == mp.LAYERS_MAX
    assert refusal(layers(*[{}] * (mp.LAYERS_MAX - len(FILES) + 1))).code == "package.invalid"


@pytest.mark.parametrize(
    "digest",
    [
        "md5:" + "0" * 32,
        "sha1:" + "0" * 40,
        "sha512:" + "0" * 128,
        "sha256:" + "0" * 63,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256+b64:" + "0" * 64,
        "../../etc/passwd",
        "",
        None,
        7,
        ["sha256:" + "0" * 64],
    ],
)
@pytest.mark.parametrize("place", ["config", "layer"])
def test_attack_07_digest_of_another_algorithm(digest: object, place: str) -> None:
    raw = layers({"digest": digest}) if place == "layer" else changed(lambda d: d["config"].update(digest=digest))
    assert refusal(raw).code == "registry.digest"


@pytest.mark.parametrize(
    "path",
    [
        "../escape.md",
        "golden/../../escape.md",
        "./a.md",
        "a/./b.md",
        "..",
        "/etc/passwd.md",
        "//server/share.md",
        "C:\\windows.md",
        "C:a.md",
        "a\\b.md",
        "a\x00.md",
        "a\n.md",
        "a .md",
        "a.md\n",
        "\u2024\u2024/a.md",
        "\uff0e\uff0e/a.md",
        "a\u2215b.md",
        "caf\u00e9.md",
        "\u212a.md",
        "%2e%2e/a.md",
        ".hidden.md",
        "a/.git/b.md",
        "-rf.md",
        "~/a.md",
        "a//b.md",
        "a/",
        "",
        "a/b/c/d/e.md",
        "a" * 65 + ".md",
        None,
    ],
)
def test_attack_23_path_that_is_none_of_a_release(path: object) -> None:
    raw = layers({"annotations": {mp.TITLE: "a.md"}} if path is None else at(path))
    error = refusal(raw)
    assert error.code == "package.path"
    assert len(error.message) < 400


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        (("license",), "would be one file"),
        (("a.md", "a.md"), "would be one file"),
        (("a.md", "A.MD"), "would be one file"),
        (("Golden/a.md",), "would be one directory"),
        (("LICENSE/a.md",), "a file and a directory"),
        (("license/a.md",), "a file and a directory"),
        (("a/b/c.md", "a/B/d.md"), "would be one directory"),
        (("verified.json",), "each box writes itself"),
        (("Verified.json",), "each box writes itself"),
        (("verified.json/a.md",), "a file and a directory"),
    ],
)
def test_attack_23_paths_that_meet(paths: tuple[str, ...], what: str) -> None:
    error = refusal(layers(*map(at, paths)))
    assert error.code == "package.path"
    assert what in error.message


FAMILIES = ("weight", "weight.config", "doc", "dataset", "code")
ARCHIVES = ("tar", "tar+gzip", "tar+zstd")


@pytest.mark.parametrize(
    "kind",
    [
        f"application/vnd.cncf.model.{family}.v1.{form}"
        for family in FAMILIES
        for form in ("tar", "tar+gzip", "tar+zstd")
    ]
    + [
        "application/vnd.cncf.model.code.v1.raw",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/octet-stream",
        "APPLICATION/vnd.cncf.model.doc.v1.raw",
        "application/vnd.cncf.model.doc.v1.raw; charset=x",
        "",
        None,
        ["application/vnd.cncf.model.doc.v1.raw"],
    ],
)
def test_attack_24_layer_that_would_have_to_be_unpacked_or_run(kind: object) -> None:
    refused = refusal(layers({"mediaType": kind}))
    assert refused.code == "package.kind"
    assert "an ending" not in refused.message  # what it is called does not matter


@pytest.mark.parametrize("kind", [mp.WEIGHT, mp.WEIGHT_CONFIG, mp.DATASET, mp.DOC])
@pytest.mark.parametrize(
    "ending", ["pt", "pth", "pkl", "pickle", "so", "py", "pyc", "dll", "sh", "SO", "tar", "gz", "zip", "joblib", "npy"]
)
def test_attack_26_file_that_could_be_loaded_as_a_program(kind: str, ending: str) -> None:
    error = refusal(layers({**at(f"model.{ending}"), "mediaType": kind}))
    assert error.code == "package.kind"
    assert "ending" in error.message


def test_attack_26_weights_without_an_ending() -> None:
    assert refusal(layers({**at("weights"), "mediaType": mp.WEIGHT})).code == "package.kind"


def test_attack_06_declared_size_beyond_every_quota() -> None:
    assert refusal(layers({"size": 10**15})).code == "package.quota"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (changed(lambda d: d.update(schemaVersion=1)), "kind"),
        (changed(lambda d: d.update(mediaType="application/vnd.oci.image.index.v1+json")), "kind"),
        (changed(lambda d: d.pop("artifactType")), "kind"),
        (changed(lambda d: d.update(artifactType=[1])), "kind"),
        (changed(lambda d: d.update(layers={})), "invalid"),
        (changed(lambda d: d.pop("config")), "invalid"),
        (changed(lambda d: d["config"].update(mediaType="application/vnd.oci.empty.v1+json")), "kind"),
        (changed(lambda d: d["config"].update(size=mp.CONFIG_BYTES_MAX + 1)), "invalid"),
        (layers({"size": -1}), "invalid"),
        (layers({"size": True}), "invalid"),
        (layers({"size": 1.0}), "invalid"),
        (layers({"size": "1"}), "invalid"),
        (layers({"annotations": []}), "invalid"),
        (layers({"annotations": {mp.FILEPATH: 1}}), "invalid"),
        (layers({"digest": FILES["LICENSE"].digest}), "invalid"),
        (changed(lambda d: d["layers"].append("layer")), "invalid"),
        (changed(lambda d: d.update(layers=[one for one in d["layers"] if "edge" not in json.dumps(one)])), "invalid"),
    ],
)
def test_a_manifest_that_is_none_of_a_release_is_refused(raw: bytes, code: str) -> None:
    assert refusal(raw).code == f"package.{code}"


def test_edge_model_json_of_another_kind_is_refused() -> None:
    files = {**FILES, "edge-model.json": describe(RAW, mp.DOC)}
    with pytest.raises(DataError, match=r"no edge-model\.json among"):
        mp.make_manifest(files, describe(CONFIG, mp.CONFIG))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    read_or_refuse(json.dumps(value).encode())


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    read_or_refuse(raw)


@settings(deadline=None)
@given(st.data())
def test_a_manifest_with_anything_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(written())
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    read_or_refuse(json.dumps(document).encode())


@settings(deadline=None)
@given(st.lists(st.text("aA.-_/\\\0é", max_size=12).map(lambda text: f"{text}.md"), max_size=4))
def test_any_path_that_is_taken_stays_a_file_of_its_own_below_the_directory(paths: list[str]) -> None:
    try:
        artifact = mp.parse_manifest(layers(*map(at, paths)), "weld 7")
    except DataError:
        return
    found = [os.path.normpath(f"/releases/1/{path}") for path in artifact.files]
    assert found == [f"/releases/1/{path}" for path in artifact.files]
    folders = {os.path.dirname(path).lower() for path in artifact.files}  # noqa: PTH120 - of texts
    assert len({path.lower() for path in artifact.files} - folders) == len(FILES) + len(paths)


def read_or_refuse(raw: bytes) -> None:
    try:
        artifact = mp.parse_manifest(raw, "weld 7")
    except DataError:
        return
    assert 1 <= len(artifact.files) <= mp.LAYERS_MAX
    assert all(isinstance(blob, Descriptor) and len(blob.hex) == 64 for blob in artifact.blobs)
    assert artifact.size_bytes <= mp.QUOTA_BYTES
