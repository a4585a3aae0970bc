"""What the YAML files of `benchmarks/` may say, and how they are read: models, loaders, the root.

Every error is a `UserError` that names the file and the key. No torch here: Snakemake imports this
package at each parse.
"""

from kdx2i.config.models import (
    ArchitectureConfig,
    ColumnsConfig,
    DatasetConfig,
    MetricName,
    PartConfig,
    PresetConfig,
    ProtocolEntry,
    ProtocolRegister,
    ResourcesConfig,
    RowConfig,
    Settings,
    SourceConfig,
    SourceFile,
    SplitRule,
    Strict,
    TableConfig,
    listed,
)
from kdx2i.config.reading import (
    find_root,
    load_dataset,
    load_figure,
    load_preset,
    load_protocol,
    load_table,
    merged,
    names_in,
    parse_seeds,
    read_yaml,
    validate,
)

__all__ = [
    "ArchitectureConfig",
    "ColumnsConfig",
    "DatasetConfig",
    "MetricName",
    "PartConfig",
    "PresetConfig",
    "ProtocolEntry",
    "ProtocolRegister",
    "ResourcesConfig",
    "RowConfig",
    "Settings",
    "SourceConfig",
    "SourceFile",
    "SplitRule",
    "Strict",
    "TableConfig",
    "find_root",
    "listed",
    "load_dataset",
    "load_figure",
    "load_preset",
    "load_protocol",
    "load_table",
    "merged",
    "names_in",
    "parse_seeds",
    "read_yaml",
    "validate",
]
