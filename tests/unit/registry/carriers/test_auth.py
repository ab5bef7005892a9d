"""Challenges of registries, and who is told a password for them."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError, PermissionDeniedError
from edge_runtime.registry.carriers import auth as module
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.auth import Auth, Challenge, parse_challenges

HTTPS = "https://registry.example"
SCOPE = "repository:fleet/weld:pull"
BASIC = "Basic " + base64.b64encode(b"robot:hunter22").decode()


class Realm:
    """Answers as a token server would, and keeps what it was asked."""

    def __init__(self, answer: object = None) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.answer = answer

    def __call__(self, url: str, authorization: str | None) -> bytes:
        self.asked.append((url, authorization))
        return json.dumps({"token": f"t{len(self.asked)}"} if self.answer is None else self.answer).encode()


def make(realm: Realm, **more: object) -> Auth:
    access = Access(**{"username": "robot", "password": "hunter22", **more})  # type: ignore[arg-type]
    return Auth("registry.example", access, realm)


def bearer(realm: str) -> str:
    return f'Bearer realm="{realm}",service="reg",scope="repository:other:pull,push"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="basic-realm"', [("basic", {"realm": "basic-realm"})]),
        ('BEARER Realm="https://h/t" , service=reg', [("bearer", {"realm": "https://h/t", "service": "reg"})]),
        ('Bearer realm="a",scope="x:pull,push", Basic realm="b"',
         [("bearer", {"realm": "a", "scope": "x:pull,push"}), ("basic", {"realm": "b"})]),
        ('Negotiate, Basic realm="b"', [("negotiate", {}), ("basic", {"realm": "b"})]),
        (r'Basic realm="say \"no\" \\"', [("basic", {"realm": 'say "no" \\'})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        ('"', []),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(scheme, parameters) for scheme, parameters in expected]


@settings(max_examples=40)
@given(st.text(alphabet='abB=,"\\ :/', max_size=200))
def test_no_header_hangs_or_breaks_the_reader(header: str) -> None:
    assert all(one.scheme for one in parse_challenges(header))


def test_a_basic_realm_is_no_url_and_the_password_is_sent_from_then_on() -> None:
    realm = Realm()
    auth = make(realm)
    assert auth.header(SCOPE) is None
    auth.learn('Basic realm="https://elsewhere.example/"', SCOPE, HTTPS)
    assert (auth.header(SCOPE), auth.header("another"), realm.asked) == (BASIC, BASIC, [])


def test_a_token_is_asked_for_what_we_need_and_kept_for_it() -> None:
    realm = Realm()
    auth = make(realm)
    auth.learn(bearer("https://registry.example/token?x=1"), SCOPE, HTTPS)
    query = "service=reg&scope=repository%3Afleet%2Fweld%3Apull"
    assert realm.asked == [(f"https://registry.example/token?x=1&{query}", BASIC)]
    assert (auth.header(SCOPE), auth.header("another")) == ("Bearer t1", None)


def test_an_anonymous_token_is_asked_for_without_a_password() -> None:
    realm = Realm()
    auth = make(realm, username=None, password=None)
    auth.learn(bearer("https://registry.example/token"), "", HTTPS)
    assert (realm.asked, auth.header("")) == ([("https://registry.example/token?service=reg", None)], "Bearer t1")


@pytest.mark.parametrize("life_s", [None, True, -1, "300", 0])
def test_a_token_that_does_not_say_lives_for_a_minute(life_s: object, monkeypatch: pytest.MonkeyPatch) -> None:
    _lives(life_s, 54.0, 56.0, monkeypatch)


@pytest.mark.parametrize(
    ("life_s", "good_s", "over_s"), [(300, 294, 296), (4, 1.5, 2.5), (1e300, 3594, 3596), (10**400, 3594, 3596)]
)
def test_a_token_is_not_used_at_the_end_of_its_life(
    life_s: float, good_s: float, over_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lives(life_s, good_s, over_s, monkeypatch)


def _lives(life_s: object, good_s: float, over_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now_s))
    auth = make(Realm({"access_token": "t", "expires_in": life_s}))
    auth.learn(bearer("https://registry.example/token"), SCOPE, HTTPS)
    now_s = 1000 + good_s
    assert auth.header(SCOPE) == "Bearer t"
    now_s = 1000 + over_s
    assert auth.header(SCOPE) is None


def test_tokens_that_are_kept_are_bounded() -> None:
    auth = make(Realm())
    for n in range(300):
        auth.learn(bearer("https://registry.example/token"), f"repository:m{n}:pull", HTTPS)
    assert len(auth._tokens) <= 256


FOREIGN = [
    "https://thief.example/token",
    "https://registry.example.thief.example/token",
    "https://registry.example@thief.example/token",
    "https://robot:x@registry.example/token",
    "http://registry.example/token",
    "ftp://registry.example/token",
    "//registry.example/token",
    "https://registry.example:notaport/token",
    "https://[registry.example/token",
    "basic-realm",
    "",
]


@pytest.mark.parametrize("realm", FOREIGN)
def test_attack_29_the_password_is_not_sent_to_a_foreign_realm(realm: str) -> None:
    server = Realm()
    with pytest.raises(PermissionDeniedError) as caught:
        make(server).learn(bearer(realm), SCOPE, HTTPS)
    assert (caught.value.code, server.asked) == ("registry.realm", [])
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("named", "realm"),
    [
        ("auth.example", "https://auth.example/token"),
        ("Auth.Example:8443", "https://auth.example:8443/token"),
        ("auth.example:443", "https://auth.example/token"),
    ],
)
def test_a_realm_that_the_operator_named_is_told_the_password(named: str, realm: str) -> None:
    server = Realm()
    make(server, realm_hosts=(named,)).learn(bearer(realm), SCOPE, HTTPS)
    assert server.asked[0][1] == BASIC


def test_attack_29_a_realm_at_another_port_than_named_is_foreign() -> None:
    with pytest.raises(PermissionDeniedError):
        make(Realm(), realm_hosts=("auth.example:8443",)).learn(bearer("https://auth.example/t"), SCOPE, HTTPS)


def test_a_registry_without_tls_may_have_a_realm_without() -> None:
    server = Realm()
    make(server).learn(bearer("http://registry.example/t"), SCOPE, "http://registry.example")
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [{}, {"token": ""}, {"token": 1}, {"token": "a b"}, {"token": "a\r\nX: y"}])
def test_what_is_no_token_is_refused(answer: object) -> None:
    with pytest.raises(DataError, match=r"gives no token"):
        make(Realm(answer)).learn(bearer("https://registry.example/t"), SCOPE, HTTPS)


@pytest.mark.parametrize("header", ["", 'Basic realm="x"'])
def test_who_has_no_password_is_told_so(header: str) -> None:
    with pytest.raises(PermissionDeniedError, match=r"wants a name and a password"):
        make(Realm(), username=None).learn(header, SCOPE, HTTPS)


def test_a_scheme_that_nobody_knows_is_named() -> None:
    with pytest.raises(PermissionDeniedError, match=r"it knows digest, negotiate, we know Basic and Bearer"):
        make(Realm()).learn('Negotiate, Digest realm="x"', SCOPE, HTTPS)


def test_a_name_without_a_password_is_sent_as_such() -> None:
    auth = make(Realm(), password=None)
    auth.learn("Basic", SCOPE, HTTPS)
    assert auth.header(SCOPE) == "Basic " + base64.b64encode(b"robot:").decode()


def test_attack_a_challenge_of_blanks_takes_no_time() -> None:
    header = "Basic a=b," + " " * 60_000 + '"'
    before_s = time.process_time()
    assert [one.scheme for one in parse_challenges(header)] == ["basic"]
    assert time.process_time() - before_s < 2  # with two ways to divide the blanks it was more than a minute


def test_attack_a_token_may_not_live_for_ever_whatever_the_number() -> None:
    server = Realm({"token": "t", "expires_in": 10**400})
    auth = make(server)
    auth.learn(bearer("https://registry.example/t"), SCOPE, HTTPS)
    assert auth.header(SCOPE) == "Bearer t"
