"""Events to MQTT 5, by paho-mqtt: mqtt://[user:password@]host[:1883]/topic, or mqtts:// (8883) with TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import unquote

from engines.errors import MissingPackage, UserError
from streamer.events import Event, Tls, split_address
from streamer.sources import redact

PORTS = {"mqtt": 1883, "mqtts": 8883}
TIMEOUT = 10.0  # s to connect, and for a batch until all of it is acknowledged
SLICE = 0.2  # s between looks at how much time is left


class MqttPublisher:
    """Publish with quality of service 1, at least once; the key is in the payload."""

    def __init__(self, url: str, tls: Tls) -> None:
        try:
            import paho.mqtt.client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingPackage("mqtt:// needs paho-mqtt: pip install 'emotion-streamer[cluster]'") from error
        scheme = url.partition("://")[0]
        form = f"{scheme}://host:port/topic"
        self._parts, self._topic = parts, _ = split_address(url, form)
        expected = f"--events {redact(url)}: expected {form}"
        try:
            self._port = parts.port or PORTS[scheme]
        except ValueError as error:  # whose text may hold a part of a password
            raise UserError(f"{expected}, the port a number up to 65535") from error
        if not parts.hostname:
            raise UserError(expected)
        if "+" in self._topic or "#" in url or "?" in url:  # wildcards, which only subscribers may use; no options
            raise UserError(f"{expected} without '+', '#' and '?'")
        if scheme == "mqtt" and tls != Tls():
            raise UserError(f"{expected.replace('mqtt://host', 'mqtts://host')}, as events.ca or certificate is set")
        self._context = _context(tls) if scheme == "mqtts" else None
        self._new_client = partial(paho.Client, CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client = self._new_client()

    def publish(self, events: Sequence[Event], left: Callable[[], float]) -> list[int]:
        """Deliver; see `Publisher`."""
        ends = time.monotonic() + TIMEOUT

        def seconds() -> float:
            return min(ends - time.monotonic(), left())

        if not self._client.is_connected():
            self._connect(seconds)
        sent = [(event.place, self._client.publish(self._topic, event.value, qos=1)) for event in events]
        done = []
        for place, one in sent:
            try:
                while not one.is_published() and self._client.is_connected() and (rest := seconds()) > 0:
                    one.wait_for_publish(min(SLICE, rest))
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

    def _connect(self, seconds: Callable[[], float]) -> None:
        """Connect with a client of its own: what an earlier connection still holds would come twice, and late."""
        self._leave()
        self._client, parts = self._new_client(), self._parts
        self._client.max_inflight_messages_set(100)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if self._context:
            self._client.tls_set_context(self._context)
        self._client.connect_timeout = max(SLICE, seconds())
        self._client.connect(parts.hostname or "", self._port)
        self._client.loop_start()
        while not self._client.is_connected():
            if seconds() <= 0:
                self._leave()
                raise OSError(f"the broker does not let us in within {TIMEOUT:g} s: check user and password")
            time.sleep(0.01)

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def close(self) -> None:
        """Leave the broker."""
        self._leave()


def _context(tls: Tls) -> ssl.SSLContext:
    """Return how to speak TLS. Raises UserError for files that hold something else."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.ca:  # authorities made by hand often lack what Python asks of them from 3.13 on
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path)
        raise UserError(f"events: expected certificates and a key as PEM, found something else in {files}") from error
    return context
