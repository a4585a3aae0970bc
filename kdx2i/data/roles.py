"""Sampling rules: which image plays which role, the same on every machine for the same seed."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from kdx2i.config import SplitRule
from kdx2i.data.manifest import ROLES, Role
from kdx2i.data.reader import Entry
from kdx2i.errors import UserError

Quotas = dict[str, dict[Role, int]]


def assign_roles(entries: Sequence[Entry], rule: SplitRule) -> dict[str, Role]:
    """Return the role of each image that is used, by its `source`.

    `manifest` takes the roles that the source states. `per-class` and `fraction` fill a quota of each
    class with units (a group, or a single image) in the order of SHA-256(seed, unit): no random
    generator, so no library's version matters. A group goes to one role as a whole, so a class may end
    below its quota, never above it. `per-class` keeps to the roles that a source states: it draws each
    quota from the images of that role.
    """
    if not entries:
        raise UserError("the dataset has no image: check its options")
    sources = Counter(entry.source for entry in entries)
    repeated = [source for source, times in sources.items() if times > 1]
    if repeated:
        raise UserError(f"the dataset lists {repeated[0]!r} twice")
    if rule.rule == "manifest":
        return _stated_roles(entries)
    if rule.rule == "per-class" and any(entry.role is not None for entry in entries):
        return _fill_within(entries, _stated_roles(entries), rule)
    return _fill(entries, _quotas(Counter(entry.label for entry in entries), rule), rule.seed)


def _stated_roles(entries: Sequence[Entry]) -> dict[str, Role]:
    """Take the roles from the source, refusing a group on both sides."""
    roles: dict[str, Role] = {}
    groups: dict[str, Role] = {}
    for entry in entries:
        if entry.role is None:
            raise UserError(f"the rule `manifest` needs roles, but the source states none for {entry.source!r}")
        if entry.group and groups.setdefault(entry.group, entry.role) != entry.role:
            raise UserError(f"the group {entry.group} stands in both train and test (at {entry.source!r})")
        roles[entry.source] = entry.role
    return roles


def _fill_within(entries: Sequence[Entry], stated: Mapping[str, Role], rule: SplitRule) -> dict[str, Role]:
    """Fill the quota of each role from the images that the source gives to it (`test: null` takes all)."""
    assigned: dict[str, Role] = {}
    for role, size in (("train", rule.train), ("test", rule.test)):
        pool = [entry for entry in entries if stated[entry.source] == role]
        if size is None:
            assigned.update((entry.source, stated[entry.source]) for entry in pool)
            continue
        alone = SplitRule(rule="per-class", train=int(size), test=0, seed=rule.seed)
        sizes = Counter(entry.label for entry in pool)
        short = next((label for label in sizes if sizes[label] < size), None)
        if short is not None:
            raise UserError(
                f"class {short!r} has {sizes[short]} images in the source's {role} part, but the split rule asks for "
                f"{size} to {role}"
            )
        chosen = _fill(pool, _quotas(sizes, alone), rule.seed) if size else {}
        assigned.update((source, stated[source]) for source in chosen)
    return assigned


def _quotas(sizes: Mapping[str, int], rule: SplitRule) -> Quotas:
    """Return how many images of each class each role gets."""
    quotas: Quotas = {}
    for label, size in sizes.items():
        if rule.rule == "per-class":
            train = int(rule.train or 0)
            test = size - train if rule.test is None else int(rule.test)
        else:
            train = math.floor(size * float(rule.train or 0) + 0.5)
            test = size - train
            if rule.test is not None:
                test = min(test, math.floor(size * float(rule.test) + 0.5))
        if train + test > size or train > size:
            raise UserError(
                f"class {label!r} has {size} images, but the split rule asks for {train} to train"
                + (f" and {test} to test" if rule.test is not None else "")
            )
        quotas[label] = {"train": train, "test": test}
    return quotas


def _fill(entries: Sequence[Entry], quotas: Quotas, seed: int) -> dict[str, Role]:
    """Deal whole units, in the seed's order, to train while they fit there, else to test."""
    units: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        units[f"group/{entry.group}" if entry.group else f"image/{entry.source}"].append(entry)
    with_training = {label for label, quota in quotas.items() if quota["train"]}
    order = sorted(units, key=lambda unit: (hashlib.sha256(f"{seed}/{unit}".encode()).hexdigest(), unit))
    roles: dict[str, Role] = {}
    for unit in order:
        sizes = Counter(entry.label for entry in units[unit])
        for role in ROLES:
            if all(quotas[label][role] >= size for label, size in sizes.items()):
                for label, size in sizes.items():
                    quotas[label][role] -= size
                roles.update((entry.source, role) for entry in units[unit])
                break
    taught = {entry.label for entry in entries if roles.get(entry.source) == "train"}
    if with_training - taught:
        raise UserError(
            f"class {min(with_training - taught)!r} gets no training image: its groups are larger than what "
            "the split rule asks for"
        )
    return roles
