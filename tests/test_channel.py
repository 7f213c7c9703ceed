from __future__ import annotations

import threading
from functools import partial

import pytest

from streamer.channel import Cancelled, Channel


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_takes_one_put_of_every_sender_longest_waiting_first():
    channel: Channel[int] = Channel(["a", "b"])
    channel.put("a", [1])
    channel.put("b", [2, 3])
    assert channel.replace("a", [4]) == 1
    assert channel.take() == [2, 3, 4]


def test_a_slot_is_handed_out_once():
    channel: Channel[int] = Channel(["a"])
    channel.put("a", [1])
    assert channel.take() == [1]
    assert channel.take(timeout=0.01) == []


def test_put_waits_until_the_slot_was_taken():
    channel: Channel[int] = Channel(["a"])
    order = []

    def sender():
        channel.put("a", [1])
        channel.put("a", [2])
        order.append("second put")
        channel.close("a")

    thread = in_thread(sender)
    assert channel.take(5) == [1]
    assert channel.take(5) == [2]
    thread.join(5)
    assert order == ["second put"]
    assert channel.take(5) is None


def test_close_drains_and_cancel_forgets():
    channel: Channel[int] = Channel(["a"])
    channel.put("a", [1])
    channel.close("a")
    assert channel.take() == [1]
    assert channel.take() is None
    channel.open("b")
    channel.put("b", [2])
    channel.cancel()
    with pytest.raises(Cancelled):
        channel.take()
    with pytest.raises(Cancelled):
        channel.replace("b", [3])


def test_cancel_wakes_everybody_who_waits():
    channel: Channel[int] = Channel(["a"])
    empty: Channel[int] = Channel(["b"])
    channel.put("a", [1])
    woken = []

    def wait(call):
        with pytest.raises(Cancelled):
            call()
        woken.append(call)

    calls = (lambda: channel.put("a", [2]), lambda: channel.wait_for_room("a"), empty.take)
    threads = [in_thread(partial(wait, call)) for call in calls]
    for thread in threads:
        thread.join(0.1)
    assert all(thread.is_alive() for thread in threads)
    assert not woken
    channel.cancel()
    empty.cancel()
    for thread in threads:
        thread.join(5)
    assert len(woken) == 3


def test_a_take_of_few_is_fair_however_often_a_sender_puts():
    channel: Channel[str] = Channel(["fast", "slow", "other"])
    taken: list[str] = []
    for _ in range(30):
        for sender in ("slow", "other", "fast"):
            channel.replace(sender, [sender])
        taken += channel.take(most=1) or []
    assert {sender: taken.count(sender) for sender in set(taken)} == {"fast": 10, "slow": 10, "other": 10}
    assert len(channel.take() or []) == 2
