"""The live websocket: JPEG frames with a number in, the faces of each analysed frame out.

In: binary messages, 4 bytes number (little endian) and a JPEG; text messages, JSON {"smooth": bool, "cam": bool,
"regions": bool}. Out: JSON {"number", "faces", "seconds"} for each analysed frame, or {"error"} before the end. A frame
that was not analysed when a newer one came is never answered: an answer acknowledges all before it.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.demo.live import LiveRoom, Seat
from streamer.drawing.heat import levels
from streamer.faces.regions import REGIONS, region_of
from streamer.types import Face, Result

IDLE = 20.0  # seconds without a message after which a guest has gone
AGAIN = 0.2  # seconds between looks at whether a seat has rested
LONGEST = 1800.0  # seconds of one visit
PARTS = set(REGIONS) - {"face"}  # regions that are drawn where they were looked at
MOST_PIXELS = 1920 * 1080
MOST_BYTES = 2 << 20  # of a message
BUSY = "All places are taken at the moment. Please try again in a minute."


class Visit:
    """Serve one browser on one seat: decode what it brings, send what was found. Lives in the server's event loop."""

    def __init__(self, room: LiveRoom, socket: WebSocket) -> None:
        self.room, self.socket = room, socket
        self.wanted = {"smooth": True, "cam": False, "regions": False}
        self._loop = asyncio.get_running_loop()
        self._newest: Result | None = None
        self._there = asyncio.Event()

    async def serve(self) -> None:
        """Go on until the browser leaves, is idle, breaks the rules, or its time is over."""
        while (seat := self.room.take_seat(self._deliver)) is None and self.room.has_place():
            await asyncio.sleep(AGAIN)
        if seat is None:
            await self._refuse(BUSY if self.room.failure is None else "The live analysis has stopped: see the log.")
            return
        sending = asyncio.create_task(self._send())
        try:
            async with asyncio.timeout(LONGEST):
                while True:
                    await self._take(seat, await asyncio.wait_for(self.socket.receive(), IDLE))
        except TimeoutError:
            await self._refuse("The connection was closed because nothing came for a while. Press Start to go on.")
        except UserError as error:
            await self._refuse(str(error))
        except (WebSocketDisconnect, RuntimeError):
            pass  # it has gone
        finally:
            sending.cancel()
            self.room.leave(seat)

    async def _take(self, seat: Seat, message: Mapping[str, Any]) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        data, text = message.get("bytes"), message.get("text")
        if data:
            number, image = await asyncio.to_thread(_decode, data)
            seat.bring(number, image, time.monotonic())
        elif text:
            self.wanted |= _switches(text)
            self.room.smooth(seat, self.wanted["smooth"])

    def _deliver(self, result: Result) -> None:
        """Take a result in the room's thread."""
        self._loop.call_soon_threadsafe(self._put, result)

    def _put(self, result: Result) -> None:
        self._newest = result
        self._there.set()

    async def _send(self) -> None:
        while True:
            await self._there.wait()
            self._there.clear()
            if (result := self._newest) is not None:
                await self.socket.send_text(json.dumps(answer(result, self.wanted), separators=(",", ":")))

    async def _refuse(self, reason: str) -> None:
        try:
            await self.socket.send_text(json.dumps({"error": reason}))
            await self.socket.close(code=1008)
        except (WebSocketDisconnect, RuntimeError):
            pass


def answer(result: Result, wanted: Mapping[str, bool]) -> dict[str, Any]:
    """Return what a browser is told about a frame; boxes in whole pixels."""
    return {
        "number": result.frame.index,
        "seconds": round(time.monotonic() - result.frame.captured_at, 4),
        "faces": [_face(face, wanted) for face in result.faces],
    }


def _face(face: Face, wanted: Mapping[str, bool]) -> dict[str, Any]:
    said: dict[str, Any] = {"id": face.track_id, "box": _whole(face.box), "roll": round(face.roll, 3)}
    if face.expression:
        one = face.expression
        said |= {"label": one.label, "confidence": round(one.confidence, 3), "stable": one.stable}
        said |= {"region": one.region, "reliability": one.reliability}
        said["probabilities"] = {name: round(value, 3) for name, value in one.probabilities.items()}
        if wanted["regions"] and face.landmarks is not None and one.region in PARTS:
            said["used"] = _whole(region_of(face, one.region))
    if wanted["cam"] and face.heat:
        values, place = levels(face.heat.values), {"box": _whole(face.heat.box), "roll": round(face.heat.roll, 3)}
        said["heat"] = {**place, "width": values.shape[1], "values": values.ravel().tolist()}
    return said


def _whole(box: NDArray[np.float32]) -> list[int]:
    return [round(float(edge)) for edge in box]


def _switches(text: str) -> dict[str, bool]:
    try:
        read = json.loads(text)
        return {name: bool(read[name]) for name in ("smooth", "cam", "regions") if name in read}
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError("expected a JSON object of switches") from error


def _decode(data: bytes) -> tuple[int, NDArray[np.uint8]]:
    """Return number and picture of a message; its size is looked up before it is decoded."""
    from PIL import Image, UnidentifiedImageError

    if len(data) > MOST_BYTES:
        raise UserError(f"expected a frame of at most {MOST_BYTES >> 20} MiB")
    try:
        width, height = Image.open(io.BytesIO(data[4:])).size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError("expected 4 bytes of number and a JPEG picture") from error
    if width * height > MOST_PIXELS:
        raise UserError(f"expected at most 1920 x 1080 pixels, found {width} x {height}")
    image = cv2.imdecode(np.frombuffer(data, np.uint8, offset=4), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError("expected a JPEG picture that is whole")
    return struct.unpack_from("<I", data)[0], np.asarray(image, np.uint8)
