"""SVG drawings to pixels: a short list of what a drawing may hold, and one renderer (resvg)."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from xml.etree.ElementTree import Element

import resvg_py
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import Image, ImageColor

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.foreign import reason

NAMESPACE = "http://www.w3.org/2000/svg"
LINK_NAMESPACE = "http://www.w3.org/1999/xlink"
MAX_SIDE = bounds.DRAWING_SIDE
SHAPES = {"svg", "g", "defs", "path", "circle", "ellipse", "rect", "line", "polygon", "polyline", "use"}
PAINTS = {"clipPath", "mask", "linearGradient", "radialGradient", "stop", "filter"}
FILTERS = {"feBlend", "feColorMatrix", "feComposite", "feFlood", "feGaussianBlur", "feMerge", "feMergeNode"}
ELEMENTS = frozenset(SHAPES | PAINTS | FILTERS | {"feOffset"})
_HANDED_DOWN = ("svg", "g", "defs", "use", "clipPath", "mask")
_LAYERS = ("filter", "mask", "clipPath")
_REFERENCE = re.compile(r"(?:^\s*|url\(\s*)#([^)\s]+)", re.IGNORECASE)
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
    are refused too, and so are drawings that nest deeper or draw more than `kdx2i.bounds` allows.
    """
    try:
        root = fromstring(document, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException:
        raise UserError(f"the drawing {source} declares a document type or an entity: refused") from None
    except Exception as error:  # noqa: BLE001 (the parser raises more than its own errors)
        raise UserError(f"the drawing {source} is not well-formed SVG: {reason(error)}") from None
    _check_extent(root, source)
    for element in root.iter():
        space, _, tag = str(element.tag).rpartition("}")
        if space != "{" + NAMESPACE or tag not in ELEMENTS:
            raise UserError(f"the drawing {source} has the element <{tag}>, which no drawing needs: refused")
        for attribute, value in element.attrib.items():
            _check_attribute(attribute.rpartition("}")[2].lower(), value, source)


def _check_extent(root: Element, source: str) -> None:
    """Refuse a drawing that nests too deeply or, with what it refers to, draws too much; without recursion."""
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [child for element in level for child in element]
    if depth > bounds.SVG_DEPTH:
        raise UserError(f"the drawing {source} nests {depth} elements in each other: refused")
    named = {element.get("id"): element for element in root.iter()}
    drawn: dict[Element, int] = {}  # with everything below and referred to
    path: dict[Element, list[Element]] = {root: _below(root, named)}
    while path:
        element, waiting = next(reversed(path.items()))
        if not waiting:
            drawn[element] = _weight(element, source) + sum(drawn[part] for part in _below(element, named))
            del path[element]
            continue
        part = waiting.pop()
        if part in path:
            raise UserError(f"the drawing {source} refers to itself: refused")
        if part not in drawn:
            path[part] = _below(part, named)
    if drawn[root] > bounds.SVG_ELEMENTS:
        raise UserError(f"the drawing {source} draws more than {bounds.SVG_ELEMENTS} elements: refused")


def _weight(element: Element, source: str) -> int:
    """Return how many elements one counts for: dashes are drawn one by one, filters and masks on their own layers."""
    tag = str(element.tag).rpartition("}")[2]
    dashed = any("dasharray" in name.lower() or "dasharray" in value.lower() for name, value in element.attrib.items())
    if dashed and tag in _HANDED_DOWN:
        raise UserError(f"the drawing {source} hands dashes down to other elements: refused")
    most = bounds.SVG_DASHED if dashed else bounds.SVG_LAYERS if tag in _LAYERS else bounds.SVG_ELEMENTS
    return bounds.SVG_ELEMENTS // most


def _below(element: Element, named: Mapping[str | None, Element]) -> list[Element]:
    """Return the children of an element and the elements that its attributes refer to."""
    names = [name for value in element.attrib.values() for name in _REFERENCE.findall(value)]
    return [*element, *(named[name] for name in names if name in named)]


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
    except Exception as error:  # noqa: BLE001 (the renderer is a foreign library)
        raise UserError(f"the drawing {icon.source} cannot be drawn: {reason(error)}") from None
    with Image.open(io.BytesIO(bytes(png))) as drawn:
        # Composited here and not by the renderer: these are the pixels whose hashes the manifest has.
        return Image.alpha_composite(_background(background, size), drawn.convert("RGBA")).convert("RGB")
