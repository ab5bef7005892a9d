from __future__ import annotations

from edge_runtime.publish.mqtt.documents import POSTED_MAX, Documents
from edge_runtime.publish.mqtt.link import Outgoing


def status(body: bytes) -> Outgoing:
    return Outgoing("box/status", body, retain=True)


def nothing(_document: Outgoing) -> bool:
    return False


def test_only_the_newest_document_of_a_topic_counts_and_posted_messages_all_do() -> None:
    documents = Documents()
    documents.put(status(b"1"))
    documents.put(status(b"2"))
    reply = Outgoing("box/reply/1", b"{}")
    assert documents.post(reply)
    assert documents.post(reply)
    assert documents.take(1, nothing) == [reply]
    assert documents.take(9, nothing) == [reply, status(b"2")]
    assert documents.take(9, nothing) == []


def test_posted_messages_are_bounded_and_counted() -> None:
    documents = Documents()
    queued = [documents.post(Outgoing("box/reply/1", b"{}")) for _ in range(POSTED_MAX + 2)]
    assert queued == [True] * POSTED_MAX + [False] * 2
    assert documents.lost == 2


def test_what_did_not_arrive_is_put_back_unless_something_newer_waits_or_was_taken() -> None:
    documents = Documents()
    documents.put(status(b"1"))
    (first,) = documents.take(9, nothing)
    documents.restore(first)
    assert documents.take(9, nothing) == [first]
    documents.put(status(b"2"))
    documents.restore(first)
    (second,) = documents.take(9, nothing)
    assert second.body == b"2"
    documents.restore(first)
    assert documents.take(9, nothing) == []
    documents.restore(second)
    assert documents.take(9, nothing) == [second]


def test_only_retained_documents_are_put_back() -> None:
    documents = Documents()
    reply = Outgoing("box/reply/1", b"{}")
    documents.post(reply)
    documents.take(9, nothing)
    documents.restore(reply)
    assert documents.take(9, nothing) == []


def test_what_is_held_back_stays() -> None:
    documents = Documents()
    documents.put(status(b"1"))
    documents.put(Outgoing("box/metrics", b"{}", qos=0))
    documents.post(Outgoing("box/reply/1", b"{}", qos=0))
    assert [found.topic for found in documents.take(9, lambda document: not document.qos)] == ["box/status"]
    assert [found.topic for found in documents.take(9, nothing)] == ["box/reply/1", "box/metrics"]
