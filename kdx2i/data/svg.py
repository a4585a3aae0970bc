"""SVG drawings to pixels: a short list of what a drawing may hold, and one renderer (resvg)."""

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from xml.etree.ElementTree import ParseError

import resvg_py
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import Image, ImageColor

from kdx2i.errors import UserError

NAMESPACE = "http://www.w3.org/2000/svg"
LINK_NAMESPACE = "http://www.w3.org/1999/xlink"
MAX_SIDE = 2048
SHAPES = {"svg", "g", "defs", "path", "circle", "ellipse", "rect", "line", "polygon", "polyline", "use"}
PAINTS = {"clipPath", "mask", "linearGradient", "radialGradient", "stop", "filter"}
FILTERS = {"feBlend", "feColorMatrix", "feComposite", "feFlood", "feGaussianBlur", "feMerge", "feMergeNode"}
ELEMENTS = frozenset(SHAPES | PAINTS | FILTERS | {"feOffset"})
_OUTWARD_URL = re.compile(r"url\(\s*(?!#)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Icon:
    """One drawing of the pack: its set and name, its size in user units, the inside of its `<svg>`."""

    set: str
    name: str
    width: float
    height: float
    body: str

    @property
    def source(self) -> str:
        """The drawing's address, `<set>:<name>`."""
        return f"{self.set}:{self.name}"


def svg_document(icon: Icon) -> str:
    """Return the whole SVG of a drawing, its view box widened to a square with the drawing in the middle."""
    side = max(icon.width, icon.height)
    left, top = (icon.width - side) / 2, (icon.height - side) / 2
    return (
        f'<svg xmlns="{NAMESPACE}" xmlns:xlink="{LINK_NAMESPACE}" '
        f'viewBox="{left:g} {top:g} {side:g} {side:g}">{icon.body}</svg>'
    )


def check_svg(document: str, source: str) -> None:
    """Raise `UserError` unless `document` is plain drawing: no entity, script, style sheet or outward link.

    `source` names the drawing in the message. Only `ELEMENTS` may occur, so text, images and animations
    are refused too.
    """
    try:
        root = fromstring(document, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException:
        raise UserError(f"the drawing {source} declares a document type or an entity: refused") from None
    except (ParseError, ValueError) as error:
        raise UserError(f"the drawing {source} is not well-formed SVG: {error}") from None
    for element in root.iter():
        space, _, tag = str(element.tag).rpartition("}")
        if space != "{" + NAMESPACE or tag not in ELEMENTS:
            raise UserError(f"the drawing {source} has the element <{tag}>, which no drawing needs: refused")
        for attribute, value in element.attrib.items():
            _check_attribute(attribute.rpartition("}")[2].lower(), value, source)


def _check_attribute(name: str, value: str, source: str) -> None:
    """Refuse event handlers and links that leave the drawing."""
    if name.startswith("on"):
        raise UserError(f"the drawing {source} has the script attribute {name}: refused")
    outward_link = name == "href" and not value.lstrip().startswith("#")
    if outward_link or _OUTWARD_URL.search(value) or name == "base":
        raise UserError(f"the drawing {source} refers to something outside itself ({value[:60]!r}): refused")


@lru_cache(maxsize=4)
def _background(colour: str, size: int) -> Image.Image:
    """Return an opaque RGBA square of one colour."""
    return Image.new("RGBA", (size, size), ImageColor.getrgb(colour))


def rasterise(icon: Icon, size: int, background: str = "#ffffff") -> Image.Image:
    """Draw an icon as an RGB image of `size` x `size` pixels on a background colour (#rrggbb).

    The drawing is checked with `check_svg` first. A drawing that the renderer refuses raises `UserError`.
    """
    if not 1 <= size <= MAX_SIDE:
        raise UserError(f"the size {size} is not between 1 and {MAX_SIDE} pixels")
    document = svg_document(icon)
    check_svg(document, icon.source)
    try:
        png = resvg_py.svg_to_bytes(svg_string=document, width=size, height=size, skip_system_fonts=True)
    except ValueError as error:
        raise UserError(f"the drawing {icon.source} cannot be drawn: {error}") from None
    with Image.open(io.BytesIO(bytes(png))) as drawn:
        # Composited here and not by the renderer: these are the pixels whose hashes the manifest has.
        return Image.alpha_composite(_background(background, size), drawn.convert("RGBA")).convert("RGB")
