"""How a run is asked for images: a guidance, and for two-class tables the direction of the translation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """A mode: `latent` or `reference`, and for one direction the paper's names of its source and target class."""

    guidance: str
    direction: tuple[str, str] | None = None

    @classmethod
    def parse(cls, text: str) -> "Mode":
        """Read `<guidance>` or `<guidance>-<source>2<target>`, e.g. `latent-dog2cat`.

        Text of another shape is a guidance of that name, which no architecture has.
        """
        guidance, _, direction = text.partition("-")
        source, _, target = direction.partition("2")
        return cls(guidance, (source, target)) if source and target else cls(text)
