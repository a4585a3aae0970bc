"""What a file that others made may ask for: each bound stated once, with its reason.

A bound decides what is refused and never what a result is: changing one makes no result stale.
"""

from collections.abc import Mapping
from typing import Final, Literal

# Images: a photograph of 64 megapixels, which takes up to 267 MB decoded. Pillow warns of more pixels.
PIXELS: Final = 89_000_000
IMAGE_BYTES: Final = 256 * 2**20
DRAWING_SIDE: Final = 2048  # pixels of a rasterised drawing: four bytes a pixel, several layers

# Archives: the largest public data sets of the field have some millions of files below 300 GB.
MEMBER_BYTES: Final = 64 * 2**20  # a member is held in memory
ARCHIVE_BYTES: Final = 256 * 2**30
ARCHIVE_MEMBERS: Final = 5_000_000
UNPACKED_RATIO: Final = 200  # photographs hardly compress; text compresses some 20 times
RATIO_FROM: Final = 8 * 2**20  # bytes: below, the ratio says nothing
HEADER_BYTES: Final = 2**20  # of an archive's headers between two members

# The pack of drawings: its own size is 9 MB, unpacked 60 MB.
PACK_BYTES: Final = 64 * 2**20
PACK_DECODER_MEMORY: Final = 128 * 2**20
PACK_UNPACKED_BYTES: Final = 512 * 2**20
PACK_LINE_BYTES: Final = 4 * 2**20
DRAWING_UNITS: Final = 4096

# SVG: the renderer goes down a drawing by recursion and copies what `use` names.
SVG_DEPTH: Final = 64  # drawings of the pack have some five levels
SVG_ELEMENTS: Final = 100_000  # drawn, references followed
SVG_LAYERS: Final = 500  # of them; the pack's richest drawing refers to some 170
SVG_DASHED: Final = 5  # of them; the renderer draws up to a million dashes of each

# Settings (YAML, JSON) and tables (CSV): people write them, or the suite does.
SETTINGS_BYTES: Final = 2**20  # the longest file of `benchmarks/` has 60 KB
SETTINGS_NESTING: Final = 32
SETTINGS_NODES: Final = 100_000  # aliases followed
DOCUMENT_BYTES: Final = 64 * 2**20  # provenance, metrics, logs
DOCUMENT_NESTING: Final = 64
WHOLE_NUMBER_BITS: Final = 64
TABLE_BYTES: Final = 2**30  # some 300 bytes an image
CONDITION_BYTES: Final[Mapping[Literal["captions", "speech", "label-maps"], int]] = {
    "captions": 2**20,
    "speech": 16 * 2**20,
    "label-maps": 16 * 2**20,
}

# Tensors: no file may describe more than it holds, so its size bounds what its tensors take.
WEIGHTS_BYTES: Final = 2**31  # of a published network that scores: the largest has 109 MB
TENSOR_HEADER_BYTES: Final = 16 * 2**20  # StyleGAN2 at 1024 px has 20 KB
TENSORS: Final = 100_000
TENSOR_DIMENSIONS: Final = 8
TENSOR_ELEMENTS: Final = 2**40
NETWORK_LAYERS: Final = 64  # of a mapping network: the official ones have 2 to 8
NETWORK_RESOLUTION: Final = 4096
NETWORK_NUMBER: Final = 2**20  # any width, number of classes or resolution in the description of a network
NETWORK_LIST: Final = 64  # one width for each resolution
SEGMENTER_WIDTH: Final = 256  # channels; 24 by default

# Pickles of official weights, which are read and never run.
PICKLE_NESTING: Final = 256  # a network has some six levels of modules, of some four containers each
PICKLE_NODES: Final = 5_000_000  # shared objects counted each time: what a copy would hold
PICKLE_STEPS: Final = 10_000_000  # weights have some 100 000, the captions of birds some 2.4 million
PICKLE_NUMBER_BITS: Final = 128  # the longest number of a checkpoint is its mark, of 80
PICKLE_FREE_COPIES: Final = 2**20  # bytes that calls may copy whatever the file's length

# One sentence about a file: it fits on a screen, however long what it quotes.
SENTENCE: Final = 300  # characters
REASON: Final = 120  # of them, what a library says about the file
