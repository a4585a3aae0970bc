"""Checkpoints of Xiaoming-Yu/DMIT: `dec_<epoch>.pth`, beside it `enc_style_...` and `enc_content_...`, flat each."""

from pathlib import Path

from kdx2i.methods.published import Published, beside, materialised, read_flat, shapes_of

OFFICIAL_RESOLUTION = 128


def read_published(path: Path, resolution: int | None) -> Published:
    """Return decoder and encoders, for images of `resolution` px (officially 128 for birds); `path`: the decoder's."""
    files = [path, *beside(path, "dec_", "enc_style_", "enc_content_")]
    lazy = [read_flat(file) for file in files]
    decoder, style, content = (shapes_of(file, state) for file, state in zip(files, lazy, strict=True))
    style_dim = style.of("fc.weight_orig", 0)
    upsampling = "transpose" if decoder.count(r"decode\.(\d+)\.upsample\.trConv") else "nearest"
    networks = {
        "width": content.of("encode.0.conv.weight_orig", 0),
        "style_dim": style_dim,
        "encoder_blocks": content.count(r"encode\.(\d+)\.encode\."),
        "style_blocks": style.count(r"encode\.(\d+)\.shortcut\.") + 1,
        "decoder_blocks": decoder.count(r"decode\.(\d+)\.c1\."),
        "upsampling": upsampling,
    }
    classes = decoder.of("decode.0.n1.ConBias.0.weight_orig", 1) - style_dim
    names = ("decoder", "style_encoder", "content_encoder")
    states = {
        name: materialised({name: state}, file)[name] for name, state, file in zip(names, lazy, files, strict=True)
    }
    return Published(networks, resolution or OFFICIAL_RESOLUTION, classes, states, tuple(files))
