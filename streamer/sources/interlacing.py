"""Whether a video can hold interlaced pictures, by what its codec's header says.

OpenCV from 4.13 on (FFmpeg 8) cannot convert an interlaced picture and says nothing: `read` is True, and the picture is
the one before or memory that was never written. It does not tell which pictures are interlaced, but it hands out the
codec's header, which for the codecs of cameras and discs says that none is. H.264: ITU-T H.264 7.3.2.1.1; HEVC: H.265
7.3.3; MPEG-2: ISO 13818-2 6.2.2.3; MPEG-4: ISO 14496-2 6.2.3.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2

ALWAYS = {"dvsd", "dvcp", "dvhd", "dv25", "dv50", "dvpp", "dvc ", "cdvc", "cdv5"}  # DV: every picture has two fields
# codecs without interlaced pictures, and Motion JPEG, whose rare ones no header tells
NEVER = {
    *("vp80", "vp90", "av01", "mpg1", "mjpg", "gif ", "png ", "apng", "webp", "flv1", "theo", "h261", "h263", "s263"),
    *("div3", "mp42", "mp43", "wmv1", "wmv2", "drac", "cvid", "svq1", "svq3", "rle "),
}
HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # with a chroma format in their header


def may_be_interlaced(capture: cv2.VideoCapture) -> bool:
    """Tell whether some of an opened stream's pictures may be interlaced: False only where a header rules it out."""
    tag = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("latin-1").lower()
    if tag in NEVER:
        return False
    upright = capture.get(cv2.CAP_PROP_ORIENTATION_AUTO)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # else the header, too, is turned like a picture
    found, header = capture.retrieve(flag=int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, upright)
    return tag in ALWAYS or not (found and header is not None and is_progressive(tag, header.tobytes()))


def is_progressive(tag: str, header: bytes) -> bool:
    """Tell whether a codec's header, as containers and start-code streams carry it, rules out interlaced pictures."""
    try:
        look = {"h264": _h264, "avc1": _h264, "hevc": _hevc, "hev1": _hevc, "hvc1": _hevc, "mpg2": _mpeg2}
        return look.get(tag, _mpeg4 if tag in ("fmp4", "mp4v", "xvid", "divx", "dx50") else _unknown)(header)
    except IndexError:  # a header that was cut off
        return False


def _unknown(header: bytes) -> bool:
    return False


class _Bits:
    """Read bits from the front of bytes. Raises IndexError behind their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, count: int) -> int:
        value = 0
        for at in range(self._at, self._at + count):
            value = 2 * value + (self._data[at // 8] >> (7 - at % 8) & 1)
        self._at += count
        return value

    def golomb(self) -> int:
        """Read an exponential Golomb code (H.264, 9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_golomb(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _units(header: bytes, prefix: bytes = b"\0\0\1") -> Iterator[bytes]:
    """Yield what follows each start code."""
    yield from header.split(prefix)[1:]


def _plain(unit: bytes) -> bytes:
    """Return a unit of H.264 or HEVC without the bytes that keep it free of start codes."""
    return unit.replace(b"\0\0\3", b"\0\0")


def _h264(header: bytes) -> bool:
    """All sequences say `frame_mbs_only_flag`."""
    if header[0] == 1:  # as MP4 and Matroska have it: units behind their length
        count, at, units = header[5] & 31, 6, []
        for _ in range(count):
            length = int.from_bytes(header[at : at + 2])
            units.append(header[at + 2 : at + 2 + length])
            at += 2 + length
    else:
        units = [unit for unit in _units(header) if unit[0] & 31 == 7]
    return bool(units) and all(_frames_only(_Bits(_plain(unit[1:]))) for unit in units)


def _frames_only(bits: _Bits) -> bool:
    profile = bits.read(8)
    bits.read(16)
    bits.golomb()
    if profile in HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.read(1)
        bits.golomb()
        bits.golomb()
        bits.read(1)
        if bits.read(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.read(1)
    bits.golomb()
    bits.golomb()
    return bool(bits.read(1))


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for number in range(count):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.signed_golomb()) % 256
            last = following or last


def _hevc(header: bytes) -> bool:
    """No sequence says that its source is interlaced."""
    if header[0] == 1:
        return not header[6] & 0x40
    units = [_plain(unit) for unit in _units(header) if unit[0] >> 1 & 63 == 33]
    return bool(units) and not any(unit[8] & 0x40 for unit in units)


def _mpeg2(header: bytes) -> bool:
    """The sequence extension says `progressive_sequence`; MPEG-1 has none, and no interlaced pictures."""
    extensions = [unit for unit in _units(header) if unit[0] == 0xB5 and unit[1] >> 4 == 1]
    return all(unit[2] & 8 for unit in extensions)


def _mpeg4(header: bytes) -> bool:
    """The video object layer does not say `interlaced`."""
    layers = [unit for unit in _units(header) if 0x20 <= unit[0] <= 0x2F]
    return bool(layers) and all(_progressive_layer(_Bits(unit[1:])) for unit in layers)


def _progressive_layer(bits: _Bits) -> bool:
    bits.read(9)
    version = 1
    if bits.read(1):
        version = bits.read(4)
        bits.read(3)
    if bits.read(4) == 15:  # the shape of a pixel in so many words
        bits.read(16)
    if bits.read(1):
        bits.read(3)
        if bits.read(1):
            bits.read(79)
    shape = bits.read(2)
    if shape == 3 and version != 1:
        bits.read(4)
    bits.read(1)
    ticks = bits.read(16)
    bits.read(1)
    if bits.read(1):
        bits.read(max(1, (ticks - 1).bit_length()))
    if shape == 0:
        bits.read(29)
    return not bits.read(1)
