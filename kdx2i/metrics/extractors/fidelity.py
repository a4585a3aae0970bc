"""The feature networks under torch-fidelity's interface and in its registry.

Imported only where that registry is asked: torch-fidelity imports torchvision and with it PyTorch's compiler, three
seconds of `kdx2i score`.
"""

from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from kdx2i.metrics.extractors.networks import NETWORKS

REGISTRY = FEATURE_EXTRACTORS_REGISTRY
LIBRARY_NAMES = frozenset(name for name, kind in REGISTRY.items() if kind.__module__.startswith("torch_fidelity."))

for _name, _class in NETWORKS.items():
    # torch-fidelity has its own class under the first name: this package's is beside it under a prefix.
    _registered = f"kdx2i-{_name}" if _name in LIBRARY_NAMES else _name
    register_feature_extractor(_registered, type(_class.__name__, (_class, FeatureExtractorBase), {}))
