"""Events to MQTT 5, by paho-mqtt: mqtt://[user:password@]host[:1883]/topic, or mqtts:// (8883) with TLS."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from urllib.parse import unquote, urlsplit

from engines.errors import MissingPackage, UserError
from streamer.events import Event
from streamer.sources import redact

PORTS = {"mqtt": 1883, "mqtts": 8883}
TIMEOUT = 10.0  # s to connect, and for a batch until all of it is acknowledged


class MqttPublisher:
    """Publish with quality of service 1, at least once; the key is in the payload."""

    def __init__(self, url: str) -> None:
        try:
            import paho.mqtt.client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingPackage("mqtt:// needs paho-mqtt: pip install 'emotion-streamer[cluster]'") from error
        scheme = url.partition("://")[0]
        expected = f"--events {redact(url)}: expected {scheme}://host:port/topic"
        try:
            self._parts = parts = urlsplit(url)
            self._port = parts.port or PORTS[scheme]
        except ValueError as error:  # whose text may hold a part of a password
            raise UserError(f"{expected}, the port a number up to 65535") from error
        self._topic = parts.path.strip("/")
        if not parts.hostname or not self._topic:
            raise UserError(expected)
        if "+" in self._topic or "#" in url or "?" in url:  # wildcards, which only subscribers may use; no options
            raise UserError(f"{expected} without '+', '#' and '?'")
        self._new_client = partial(paho.Client, CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client = self._new_client()

    def publish(self, events: Sequence[Event]) -> list[int]:
        """Deliver; see `Publisher`."""
        ends = time.monotonic() + TIMEOUT
        if not self._client.is_connected():
            self._connect(ends)
        sent = [(event.place, self._client.publish(self._topic, event.value, qos=1)) for event in events]
        done = []
        for place, one in sent:
            try:
                one.wait_for_publish(max(0.0, ends - time.monotonic()))
                acknowledged = one.is_published()
            except (RuntimeError, ValueError):  # not connected any more
                acknowledged = False
            if acknowledged:
                done.append(place)
            elif not self._client.is_connected():
                break
        if len(done) < len(sent):
            self._leave()
        if not done:
            raise OSError("the broker does not acknowledge")
        return done

    def _connect(self, ends: float) -> None:
        """Connect with a client of its own: what an earlier connection still holds would come twice, and late."""
        self._leave()
        self._client, parts = self._new_client(), self._parts
        self._client.max_inflight_messages_set(100)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.connect(parts.hostname or "", self._port)
        self._client.loop_start()
        while not self._client.is_connected():
            if time.monotonic() > ends:
                self._leave()
                raise OSError(f"the broker does not let us in within {TIMEOUT:g} s: check user and password")
            time.sleep(0.01)

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def close(self) -> None:
        """Leave the broker."""
        self._leave()
