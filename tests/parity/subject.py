"""What the adapters' networks have in common: state, counting, and outputs of inner modules."""

import re
from contextlib import contextmanager

NUMBER = r"(-?\d*\.?\d+(?:[eE][-+]?\d+)?)"
"""A number as fixtures write it, to be put into the pattern of the words around it."""


class ModuleSubject:
    """A network whose state dict has the official keys."""

    def __init__(self, module, entry):
        self.module = module.eval()
        self.output_keys = [item["key"] for item in entry.get("outputs", [])]
        self.meanings = {item["key"]: item["meaning"] for item in entry.get("outputs", [])}
        notes = entry.get("notes", "")
        words = [entry.get("call", ""), *([notes] if isinstance(notes, str) else notes)]
        self.text = " ".join([*words, *self.meanings.values()])

    def state(self):
        return {name: tuple(tensor.shape) for name, tensor in self.module.state_dict().items()}

    def param_count(self):
        return sum(parameter.numel() for parameter in self.module.parameters())

    def load(self, state):
        self.module.load_state_dict(state)

    def wants(self, prefix):
        """Tell whether the fixture has an output whose key starts so."""
        return any(key.startswith(prefix) for key in self.output_keys)

    def number(self, pattern, *keys):
        """Return the number that the words about these outputs, else any words of the fixture, give for a pattern.

        A fixture that leaves the number out cannot be checked: a guess would blame the network.
        """
        for text in (*(self.meanings[key] for key in keys if key in self.meanings), self.text):
            if match := re.search(pattern, text):
                return float(match[1])
        raise AssertionError(f"the fixture does not say the number of {pattern}")

    @contextmanager
    def recording(self, names, rename=lambda name: name):
        """Collect the outputs of the sub-modules with these names while the block runs."""
        recorded, handles = {}, []
        for name, module in self.module.named_modules():
            if name in names:

                def keep(_module, _inputs, output, name=name):
                    recorded[rename(name)] = output

                handles.append(module.register_forward_hook(keep))
        try:
            yield recorded
        finally:
            for handle in handles:
                handle.remove()
