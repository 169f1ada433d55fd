"""The bytes of a picture file decoded to pixels, in bounded memory: large pictures become small on the way."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, printable
from triptych.image.files.container import FirstPicture, first_picture

if TYPE_CHECKING:
    from PIL import Image

Picture = NDArray[np.uint8]
Size = tuple[int, int]

MAX_PIXELS = 2**24  # of a picture that is read at its full size
MAX_DECODED_PIXELS = 50_000_000  # pixels that are decoded at once: of a picture that is made small, or of a mask
MAX_SCALED_PIXELS = 2**27  # pixels of a JPEG whose decoder makes it small, line by line
FINER = 4  # a picture is reduced to at least this many times the target size, so that resizing stays accurate
SCALES = (8, 4, 2)  # of which that decoder is capable
STRIP = 2**20  # pixels that are converted at once
# EXIF orientations as steps in rows and columns, after rows and columns were exchanged from 5 on.
TURNS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
ON_WHITE = "transparency is put on white"


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture of a file. pixels: uint8 [height, width, channels], upright, maybe reduced. size: height and width of
    the whole. warnings: one for each change.
    """

    pixels: Picture
    size: Size
    warnings: list[str]


@dataclass(frozen=True)
class Header:
    """The header of a picture file: height and width, upright, and whether the picture is grey."""

    size: Size
    grey: bool


def decode(data: bytes, name: str, *, channels: int | None, behind: int = 255, size: Size | None = None) -> Decoded:
    """Decode the first picture of a file; see `files.read_picture`.

    size: height and width that the picture is going to be resized to. Only then it may have more than `MAX_PIXELS`,
    and such a picture comes back reduced by a whole factor, if it then is at least four times as large as `size`.
    Raises UserError, which names the file, where nothing can be decoded.
    """
    try:
        first = first_picture(data)
        del data  # may be as large as what is kept of it
        return _decoded(first, name, channels, behind, size)
    except UserError:
        raise
    # A decoder that meets a damaged file raises what it pleases: OSError, SyntaxError, ValueError, IndexError,
    # EOFError, struct.error, zlib.error, MemoryError, ... All are about the file, for nothing else is at work here.
    except Exception as error:
        raise _damaged(name, error) from None


def read_header(data: bytes, name: str) -> Header:
    """Read the header of a picture file; no pixels are decoded. Raises UserError where it is damaged."""
    from PIL import Image

    try:
        first = first_picture(data)
        with catch_warnings():
            filterwarnings("ignore", module=r"PIL\.")
            with Image.open(io.BytesIO(first.data), formats=(first.format,)) as picture:
                grey = picture.mode in ("1", "L", "LA") or picture.mode.startswith("I")
    except Exception as error:
        raise _damaged(name, error) from None
    size = (first.height, first.width) if first.orientation < 5 else (first.width, first.height)
    return Header(size, grey)


def _damaged(name: str, error: Exception) -> UserError:
    kind = type(error).__name__
    reason = "its header is damaged" if kind == "UnidentifiedImageError" else printable(str(error), 200) or kind
    return UserError(f"expected a whole PNG, JPEG or WebP file, got {name!r}: {reason}; save it anew as PNG")


def _decoded(first: FirstPicture, name: str, channels: int | None, behind: int, size: Size | None) -> Decoded:
    turned = first.orientation >= 5
    scale, factor = _reduction(first, name, size[::-1] if size is not None and turned else size)
    warnings = ["only the first of several pictures is read"] if first.more else []
    with catch_warnings():
        # Those of Pillow alone: what other threads are warned of meanwhile is shown.
        filterwarnings("ignore", module=r"PIL\.")
        pixels = _pixels(first, warnings, channels, behind, scale, factor)
    whole = (first.height, first.width)
    if first.orientation > 1:
        warnings.append("turned by its EXIF orientation")
        rows, columns = TURNS[first.orientation]
        pixels = np.ascontiguousarray((pixels.swapaxes(0, 1) if turned else pixels)[::rows, ::columns])
    return Decoded(pixels, whole[::-1] if turned else whole, warnings)


def _reduction(first: FirstPicture, name: str, size: Size | None) -> tuple[int, int]:
    """The factors by which the decoder, then `_converted`, reduce the picture. Raises UserError if it is too large
    even so.
    """
    pixels, most = first.width * first.height, MAX_PIXELS
    scale = factor = 1
    if size is not None and pixels > MAX_PIXELS:
        factor = max(1, min(first.height // (FINER * size[0]), first.width // (FINER * size[1])))
        most = MAX_DECODED_PIXELS
        if first.format == "JPEG":
            scale = next((scale for scale in SCALES if scale <= factor), 1)
        if first.sequential:
            most = min(MAX_SCALED_PIXELS, MAX_DECODED_PIXELS * scale * scale)
    if pixels > most:
        raise UserError(
            f"expected a picture of at most {most:,} pixels, got {name!r} of {first.width} x {first.height}; shrink it"
        )
    return scale, factor // scale


def _pixels(
    first: FirstPicture, warnings: list[str], channels: int | None, behind: int, scale: int, factor: int
) -> Picture:
    """The picture as it lies in the file, uint8 [height, width, channels], reduced."""
    from PIL import Image

    file = io.BytesIO(first.data)
    first.data = b""  # a decoder keeps a copy of its own, and lets go of the file once it has it
    with Image.open(file, formats=(first.format,)) as picture:
        del file
        if picture.size != (first.width, first.height):
            raise ValueError("its header contradicts itself")
        if ";16B'" in str(picture.tile):
            warnings.append("16 bits a channel become 8")
        if scale > 1:
            picture.draft(None, (first.width // scale, first.height // scale))
        picture.load()
        return _converted(picture, warnings, channels, behind, factor)


def _converted(picture: Image.Image, warnings: list[str], channels: int | None, behind: int, factor: int) -> Picture:
    """Pixels of a loaded picture, strip by strip, so that nothing is held twice as a whole."""
    width, height = picture.size
    rows = max(1, STRIP // max(1, width) // factor) * factor
    found: Picture | None = None
    for top in range(0, height, rows):
        strip = picture if rows >= height else picture.crop((0, top, width, min(top + rows, height)))
        flat = _flat(strip, warnings, behind)
        if channels is not None and flat.mode != (mode := "L" if channels == 1 else "RGB"):
            warnings.append(f"made {'grey' if channels == 1 else 'RGB'}")
            flat = flat.convert(mode)
        small = np.asarray(flat if factor == 1 else flat.reduce(factor))
        if found is None:
            found = np.empty((-(-height // factor), small.shape[1], 3 if small.ndim == 3 else 1), np.uint8)
        found[top // factor : top // factor + len(small)] = small.reshape(*small.shape[:2], -1)
    assert found is not None
    warnings[:] = dict.fromkeys(warnings)  # one a kind, not one a strip
    return found


def _flat(picture: Image.Image, warnings: list[str], behind: int) -> Image.Image:
    """The picture in mode L or RGB, on the shade behind it where it is transparent."""
    from PIL import Image

    if picture.mode.startswith("I"):
        return _eight_bits(picture, warnings, behind)
    grey = picture.mode in ("1", "L", "LA")
    if not picture.has_transparency_data:
        return picture.convert("L" if grey else "RGB")
    mode = "LA" if grey else "RGBA"
    clear = picture if picture.mode == mode else picture.convert(mode)
    alpha = clear.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return clear.convert("L" if grey else "RGB")
    warnings.append(ON_WHITE)
    ground = Image.new("L" if grey else "RGB", picture.size, behind if grey else (behind, behind, behind))
    ground.paste(clear.convert("L") if grey else clear, mask=alpha)
    return ground


def _eight_bits(picture: Image.Image, warnings: list[str], behind: int) -> Image.Image:
    """Mode L of 16 bits grey."""
    from PIL import Image

    values = np.asarray(picture)
    shades = ((np.arange(0x10000) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)[values]
    clear = values == picture.info.get("transparency", -1)
    if clear.any():
        warnings.append(ON_WHITE)
        shades[clear] = behind
    return Image.fromarray(shades)
