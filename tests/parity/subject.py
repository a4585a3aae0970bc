"""What the adapters' networks have in common: state, counting, and outputs of inner modules."""

import re
from contextlib import contextmanager


class ModuleSubject:
    """A network whose state dict has the official keys."""

    def __init__(self, module, entry):
        self.module = module.eval()
        self.output_keys = [item["key"] for item in entry.get("outputs", [])]
        notes = entry.get("notes", "")
        words = [entry.get("call", ""), *([notes] if isinstance(notes, str) else notes)]
        self.text = " ".join([*words, *(item["meaning"] for item in entry.get("outputs", []))])

    def state(self):
        return {name: tuple(tensor.shape) for name, tensor in self.module.state_dict().items()}

    def param_count(self):
        return sum(parameter.numel() for parameter in self.module.parameters())

    def load(self, state):
        self.module.load_state_dict(state)

    def number(self, pattern, default):
        """Return the number that the fixture's words give for a pattern, a default if they give none."""
        match = re.search(pattern, self.text)
        return float(match[1]) if match else default

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
