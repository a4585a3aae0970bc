"""Network pickles of NVIDIA's StyleGAN2-ADA and StyleGAN3 repositories, read as data (`legacy.py` of both).

The official reader executes the source text inside the file. Here every object stays inert: its tensors
and its constructor options are taken out, and the networks are our own.
"""

import io
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from kdx2i.errors import UserError
from kdx2i.foreign import open_plain, refusing
from kdx2i.teacher.official.pickle_reader import Inert, MalformedPickleError, only, read_pickle
from kdx2i.teacher.official.torch_files import (
    NUMPY,
    STORAGES,
    LazyTensor,
    Storage,
    ordered_dict,
    plain_set,
    read_legacy,
    rebuild_parameter,
    rebuild_tensor,
)
from kdx2i.teacher.stylegan2 import DiscriminatorConfig, GeneratorConfig

PERSISTENCE_VERSION: Final = 6
MAX_DEPTH: Final = 32


@dataclass(frozen=True, eq=False)
class PersistentObject:
    """An instance of a class whose source text is in the file: its name, source and attributes."""

    class_name: str
    source: str
    state: dict[str, Any]

    def table(self, name: str) -> dict[str, Any]:
        """Return one of the tables `_parameters`, `_buffers`, `_modules`."""
        entry = self.state.get(name, {})
        if not isinstance(entry, dict):
            raise MalformedPickleError(f"{self.class_name} without its {name}")
        return entry

    def part(self, path: str) -> "PersistentObject | None":
        """Return the sub-module with a dotted name, None if there is none."""
        module: PersistentObject | None = self
        for name in path.split("."):
            entry = module.table("_modules").get(name) if module is not None else None
            module = entry if isinstance(entry, PersistentObject) else None
        return module

    def attribute(self, path: str, name: str, default: Any) -> Any:
        """Return an attribute of a sub-module, or the default if the file does not have it."""
        part = self.part(path)
        return default if part is None else part.state.get(name, default)

    def tensors(self) -> dict[str, LazyTensor]:
        """Return every parameter and buffer under its dotted name, as `state_dict` orders them."""
        return dict(self._walk("", 0, set()))

    def _walk(self, prefix: str, depth: int, seen: set[int]) -> Iterator[tuple[str, LazyTensor]]:
        if depth > MAX_DEPTH or id(self) in seen:
            raise MalformedPickleError("modules that contain each other")
        seen.add(id(self))
        for table in ("_parameters", "_buffers"):
            for name, tensor in self.table(table).items():
                if isinstance(tensor, LazyTensor):
                    yield f"{prefix}{name}", tensor
                elif tensor is not None:
                    raise MalformedPickleError(f"{prefix}{name} is not a tensor")
        for name, module in self.table("_modules").items():
            if isinstance(module, PersistentObject):
                yield from module._walk(f"{prefix}{name}.", depth + 1, seen)
            elif module is not None:
                raise MalformedPickleError(f"{prefix}{name} is not a module")


def _reconstruct(meta: Any) -> PersistentObject:
    """Stand for `torch_utils.persistence._reconstruct_persistent_obj`: keep the dict, run nothing."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or meta.get("version") != PERSISTENCE_VERSION:
        raise MalformedPickleError("a persistent object of an unknown version")
    name, source, state = meta.get("class_name"), meta.get("module_src"), meta.get("state")
    if not isinstance(name, str) or not isinstance(source, str) or not isinstance(state, dict):
        raise MalformedPickleError("a persistent object without its class or state")
    return PersistentObject(name, source, state)


def _easy_dict() -> dict[str, Any]:
    """Stand for `dnnlib.util.EasyDict`: an empty dict, filled by later opcodes."""
    return {}


def _resolver(path: Path) -> Any:
    """Return the resolver with exactly the globals of an official network pickle."""

    def load_from_bytes(data: Any) -> Storage:
        """Stand for `torch.storage._load_from_bytes`: one storage in the legacy container."""
        if not isinstance(data, bytes):
            raise MalformedPickleError("a storage that is not bytes")
        storage = read_legacy(io.BytesIO(data), len(data), STORAGES, path)
        if not isinstance(storage, Storage):
            raise MalformedPickleError("a storage of an unknown kind")
        return storage

    known = only(
        {
            **NUMPY,
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): Inert(_reconstruct),
            ("builtins", "set"): Inert(plain_set),
            ("__builtin__", "set"): Inert(plain_set),
            ("collections", "OrderedDict"): Inert(ordered_dict),
            ("torch._utils", "_rebuild_parameter"): Inert(rebuild_parameter),
            ("torch._utils", "_rebuild_tensor_v2"): Inert(rebuild_tensor),
            ("torch.storage", "_load_from_bytes"): Inert(load_from_bytes),
            ("dnnlib.util", "EasyDict"): Inert(_easy_dict),
        },
        path,
    )

    def resolve(module: str, name: str) -> Any:
        if module.startswith("dnnlib.tflib"):
            raise UserError(
                f"{path} is a TensorFlow network pickle, which is not supported: convert it to a PyTorch pickle "
                "with legacy.py of NVlabs/stylegan2-ada-pytorch first"
            )
        return known(module, name)

    return resolve


def read_networks(path: Path) -> tuple[PersistentObject, PersistentObject]:
    """Return the averaged generator and the discriminator of an official network pickle.

    A file that asks for anything but tensor data, that is damaged or that holds other networks raises
    `UserError`.
    """
    with refusing(f"{path} is damaged or is not an NVIDIA network pickle"):
        with open_plain(path) as handle:
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        content = read_pickle(cast(IO[bytes], mapped), _resolver(path))
    networks = [content.get(name) if isinstance(content, dict) else None for name in ("G_ema", "D")]
    for network, class_name in zip(networks, ("Generator", "Discriminator"), strict=True):
        if not isinstance(network, PersistentObject) or network.class_name != class_name:
            raise UserError(f"{path} is not an NVIDIA network pickle: it holds no {class_name.lower()}")
    return cast(tuple[PersistentObject, PersistentObject], tuple(networks))


def take_options(given: Mapping[str, Any], defaults: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the options with defaults filled in; an unknown option raises `UserError`."""
    for name in given:
        if name not in defaults:
            raise UserError(f"the {what} has the option {name}, which is not supported")
    return {**defaults, **given}


def _check_fixed(options: Mapping[str, Any], what: str) -> None:
    """Refuse activations and resampling kernels other than the ones of every official StyleGAN2."""
    if options.get("activation") not in (None, "lrelu"):
        raise UserError(f"the {what} uses the activation {options['activation']}; only lrelu is supported")
    if list(options.get("resample_filter") or [1, 3, 3, 1]) != [1, 3, 3, 1]:
        raise UserError(f"the {what} uses a resampling kernel other than (1, 3, 3, 1), which is not supported")


_COMMON: Final[Mapping[str, Any]] = {
    "channel_base": 32768,
    "channel_max": 512,
    "num_fp16_res": None,
    "activation": None,
    "resample_filter": None,
    "fp16_channels_last": None,
}
_MAPPING: Final[Mapping[str, Any]] = {
    "num_layers": 8,
    "embed_features": None,
    "layer_features": None,
    "lr_multiplier": 0.01,
    "activation": None,
}


def generator_config(kwargs: Mapping[str, Any], *, stylegan3: bool = False) -> GeneratorConfig:
    """Return our configuration for the constructor arguments of the official Generator.

    The synthesis options may be nested (`synthesis_kwargs`) or flat, as in StyleGAN3's file, whose defaults
    (`stylegan3`) differ. What cannot be honoured raises `UserError`.
    """
    top = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
    nested = ("mapping_kwargs", "synthesis_kwargs")
    flat = {name: value for name, value in kwargs.items() if name not in (*top, *nested)}
    defaults = {
        **_COMMON,
        "architecture": "skip",
        "conv_clamp": 256 if stylegan3 else None,
        "use_noise": True,
        "fused_modconv_default": None,
    }
    synthesis = take_options({**kwargs.get("synthesis_kwargs", {}), **flat}, defaults, "generator")
    beta = 0.998 if stylegan3 else 0.995
    mapping = take_options(kwargs.get("mapping_kwargs", {}), {**_MAPPING, "w_avg_beta": beta}, "mapping network")
    _check_fixed(synthesis, "generator")
    _check_fixed(mapping, "mapping network")
    sizes = {name: kwargs[name] for name in top if name in kwargs}
    names = ("num_layers", "embed_features", "layer_features", "lr_multiplier", "w_avg_beta")
    sizes |= {name: mapping[name] for name in names}
    sizes |= {name: synthesis[name] for name in ("channel_base", "channel_max", "architecture", "conv_clamp")}
    return GeneratorConfig(**sizes)


def uses_noise(kwargs: Mapping[str, Any]) -> bool:
    """Tell whether the official Generator with these arguments has noise inputs."""
    return bool({**kwargs, **kwargs.get("synthesis_kwargs", {})}.get("use_noise", True))


def discriminator_config(kwargs: Mapping[str, Any], *, stylegan3: bool = False) -> DiscriminatorConfig:
    """Return our configuration for the constructor arguments of the official Discriminator."""
    top = {"c_dim": 0, "img_resolution": None, "img_channels": 3, "cmap_dim": None, "architecture": "resnet"}
    nested: dict[str, Any] = {"block_kwargs": {}, "mapping_kwargs": {}, "epilogue_kwargs": {}}
    clamp = {"conv_clamp": 256 if stylegan3 else None}
    options = take_options(kwargs, {**top, **_COMMON, **clamp, **nested}, "discriminator")
    block = take_options(
        options["block_kwargs"],
        {"activation": None, "resample_filter": None, "fp16_channels_last": None, "freeze_layers": 0},
        "discriminator's block",
    )
    mapping = take_options(options["mapping_kwargs"], {**_MAPPING, "w_avg_beta": None}, "discriminator's mapping")
    groups = {"mbstd_group_size": 4, "mbstd_num_channels": 1}
    epilogue = take_options(options["epilogue_kwargs"], {**groups, "activation": None}, "discriminator's end")
    for part in (options, block, mapping, epilogue):
        _check_fixed(part, "discriminator")
    if mapping["embed_features"] is not None or mapping["layer_features"] is not None:
        raise UserError("the discriminator's mapping network has widths of its own, which is not supported")
    return DiscriminatorConfig(
        **{name: options[name] for name in top},
        **{name: options[name] for name in ("channel_base", "channel_max", "conv_clamp")},
        mapping_layers=mapping["num_layers"],
        mapping_lr_multiplier=mapping["lr_multiplier"],
        **{name: epilogue[name] for name in groups},
    )


def _constructor(network: PersistentObject) -> tuple[dict[str, Any], bool]:
    """Return the constructor options in a file, and whether its source has StyleGAN3's defaults."""
    options = network.state.get("_init_kwargs")
    if not isinstance(options, dict) or network.state.get("_init_args", ()) not in ((), []):
        raise MalformedPickleError(f"{network.class_name} without its constructor options")
    nested = ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "epilogue_kwargs")
    if not all(isinstance(options.get(name, {}), dict) for name in nested):
        raise MalformedPickleError(f"{network.class_name} with damaged constructor options")
    return dict(options), re.search(r"conv_clamp\s*=\s*256", network.source) is not None


def file_generator_config(network: PersistentObject) -> tuple[GeneratorConfig, bool]:
    """Return the configuration of a generator in a file, and whether it has noise inputs.

    Attributes of the stored layers, where the file has them, say more than defaults of the source text.
    """
    options, stylegan3 = _constructor(network)
    if any(name.startswith("synthesis.input.") for name in network.tensors()):
        raise UserError("the file holds an alias-free StyleGAN3 generator; a StyleGAN2 generator is needed")
    synthesis = dict(options.pop("synthesis_kwargs", {}))
    flat = {"conv_clamp"} & set(options)
    if not flat and "conv_clamp" not in synthesis:
        default = 256 if stylegan3 else None
        synthesis["conv_clamp"] = network.attribute("synthesis.b4.conv1", "conv_clamp", default)
    return generator_config({**options, "synthesis_kwargs": synthesis}, stylegan3=stylegan3), uses_noise(
        {**options, "synthesis_kwargs": synthesis}
    )


def file_discriminator_config(network: PersistentObject) -> DiscriminatorConfig:
    """Return the configuration of a discriminator in a file."""
    options, stylegan3 = _constructor(network)
    if "conv_clamp" not in options:
        default = 256 if stylegan3 else None
        options["conv_clamp"] = network.attribute("b4.conv", "conv_clamp", default)
    epilogue = dict(options.get("epilogue_kwargs", {}))
    for option, attribute, default in (
        ("mbstd_group_size", "group_size", 4),
        ("mbstd_num_channels", "num_channels", 1),
    ):
        if option not in epilogue:
            epilogue[option] = network.attribute("b4.mbstd", attribute, default)
    return discriminator_config({**options, "epilogue_kwargs": epilogue}, stylegan3=stylegan3)
