"""Croissant metadata (MLCommons, version 1.0) of the embedded drawings, beside them: `croissant.json`."""

import csv
import json
from pathlib import Path
from typing import Any

from kdx2i import __version__, bounds
from kdx2i.files import sha256_file, write_text
from kdx2i.foreign import read_text

FOLDER = "benchmarks/datasets/open_emoji"
FILE = f"{FOLDER}/croissant.json"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_FILES = {
    "manifest.csv": (
        "text/csv",
        "Which drawing is in which stand-in, its class, role, near-duplicates, licence, captions",
    ),
    "classes.csv": ("text/csv", "The classes of every stand-in with their counts"),
    "packages.csv": ("text/csv", "The published packages that the drawings come from, with checksums"),
    "icons.jsonl.xz": (
        "application/x-xz",
        "Drawings of the permissively licensed sets: one JSON object a line, SVG bodies",
    ),
    "icons-sa.jsonl.xz": ("application/x-xz", "Drawings of the CC BY-SA sets, unused unless a data set says so"),
    "face_parts_128.npz": ("application/octet-stream", "Label maps of faces, 128 x 128"),
}
_LICENCES = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}
_INTEGERS = ("images_all", "images_permissive", "families", "train_permissive", "test", "share_alike")


def render(root: Path) -> str:
    """Return the metadata as JSON-LD: the files with their checksums, and the columns of the tables as records."""
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "open-emoji",
        "description": (
            "Vector emoji of several design houses in classes of few drawings each, with splits that keep "
            "near-duplicates together, captions, and label maps of face parts: openly licensed stand-ins for few-shot "
            "image translation and synthesis."
        ),
        "license": list(_LICENCES.values()),
        "url": "https://github.com/iconify/icon-sets",
        "version": __version__,
        "datePublished": "2026-11-22",
        "creator": {"@type": "sc:Organization", "name": "The kdx2i maintainers; drawings: see ATTRIBUTION.md"},
        "keywords": ["emoji", "few-shot", "image-to-image translation", "generative adversarial networks"],
        "citeAs": "Credits and licences of the drawings: ATTRIBUTION.md beside this file.",
        "isLiveDataset": False,
        "distribution": [_file(root, name, *about) for name, about in _FILES.items()],
        "recordSet": [_records(root, name) for name in _FILES if name.endswith(".csv")],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def write(root: Path) -> Path:
    """Write the metadata beside the drawings and return its path."""
    path = root / FILE
    write_text(path, render(root))
    return path


def _file(root: Path, name: str, encoding: str, description: str) -> dict[str, Any]:
    path = root / FOLDER / name
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": encoding,
        "sha256": sha256_file(path),
    }


def _records(root: Path, name: str) -> dict[str, Any]:
    """Describe the columns of a CSV file as the fields of a record set."""
    heading = next(csv.reader(read_text(root / FOLDER / name, bounds.PACK_BYTES).splitlines()))
    record_set = name.removesuffix(".csv")
    return {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{record_set}/{column}",
                "name": f"{record_set}/{column}",
                "description": column.replace("_", " "),
                "dataType": "sc:Integer" if column in _INTEGERS else "sc:Text",
                "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
            }
            for column in heading
        ],
    }
