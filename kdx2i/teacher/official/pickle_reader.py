"""A reader of pickles that builds data and never runs anything.

Python's own unpickler calls whatever the file names. This interpreter walks the opcodes itself: a file can
only name what the caller lists, each name stands for an inert function of this package, and memory stays
proportional to the file (no loops exist in a pickle, indices are checked, nothing is sized by a number that
the file merely claims, and what calls copy is counted).
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.foreign import reason

MAX_PROTOCOL = 5
_KEY_TYPES = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True)
class Inert:
    """A callable that a file may name; it must only check and store its arguments."""

    call: Callable[..., Any]


class Attributes(dict[str, Any]):
    """The attributes of an object of no interest (for example `argparse.Namespace`)."""

    def build(self, state: Any) -> None:
        """Take the attributes; anything but a dict raises `ValueError`."""
        if not isinstance(state, dict):
            raise ValueError("attributes that are not a dict")
        self.update(state)


class MalformedPickleError(ValueError):
    """The bytes are not a pickle of data that this reader knows."""


Resolve = Callable[[str, str], Any]
"""(module, name) -> what stands for that global: an `Inert` or plain data; raises `UserError`."""


def only(table: Mapping[tuple[str, str], Any], path: object) -> Resolve:
    """Return a resolver that knows exactly the globals of `table`; `path` names the file in the refusal."""

    def resolve(module: str, name: str) -> Any:
        try:
            return table[module, name]
        except KeyError:
            raise UserError(f"{path} is refused: the file asks for {module}.{name}, which is not tensor data") from None

    return resolve


def read_pickle(stream: IO[bytes], resolve: Resolve, persistent_load: Callable[[Any], Any] | None = None) -> Any:
    """Read one pickle from the stream's position and leave the stream behind its STOP opcode.

    `persistent_load` turns persistent ids into objects; without it they are malformed. Raises
    `MalformedPickleError` for bytes that are no such pickle and what `resolve` raises.
    """
    machine = _Machine(resolve, persistent_load)
    start = stream.tell()
    try:
        for steps, (opcode, argument, position) in enumerate(pickletools.genops(stream)):
            if opcode.name == "STOP":
                return machine.result()
            if steps > bounds.PICKLE_STEPS:
                raise MalformedPickleError("the pickle has more steps than a network needs")
            machine.read = (position or 0) - start
            machine.step(opcode.name, argument)
    except (UserError, MalformedPickleError):
        raise
    except Exception as error:  # noqa: BLE001 (the opcodes of a foreign file end in any exception)
        raise MalformedPickleError(reason(error)) from None
    raise MalformedPickleError("the pickle has no end")


def _checked_key(key: Any) -> Any:
    """Return a dict key or set member; only plain values are allowed (hashing deep tuples can crash)."""
    if not isinstance(key, _KEY_TYPES):
        raise MalformedPickleError(f"a key of type {type(key).__name__}")
    return key


def _below(item: Any) -> list[Any]:
    """Return what a container holds, or an object has as its state; nothing for other values."""
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    state = getattr(item, "state", None)
    return [state] if isinstance(state, dict) else []


def _check_extent(root: Any) -> None:
    """Refuse an object that contains itself, nests too deeply, or would be too large with all that it shares copied.

    What reads the object may go down it by recursion, copy or print it. This goes down without recursion.
    """
    extent: dict[int, tuple[int, int]] = {}  # of each container: its depth, and its parts with shared ones each time
    path: dict[int, tuple[Any, list[Any]]] = {id(root): (root, _below(root))}
    while path:
        key, (item, waiting) = next(reversed(path.items()))
        if waiting:
            part = waiting.pop()
            if id(part) in path and _below(part):
                raise MalformedPickleError("an object that contains itself")
            if id(part) not in extent and id(part) not in path:
                path[id(part)] = (part, _below(part))
            continue
        parts = [extent[id(part)] for part in _below(item)]
        depth = 1 + max((below for below, _ in parts), default=0)
        nodes = 1 + sum(count for _, count in parts)
        if depth > bounds.PICKLE_NESTING or nodes > bounds.PICKLE_NODES:
            raise MalformedPickleError("objects that are nested too deeply, or too many")
        extent[key] = (depth, nodes)
        del path[key]


def _length(value: Any) -> int:
    """Return how much a copy of a value takes: its bytes, letters or items."""
    return len(value) if isinstance(value, str | bytes | list | tuple | dict | set | frozenset) else 1


class _Machine:
    """Stack, marks and memo of one pickle; `read` is how many of its bytes have been read."""

    PUSHED = frozenset(
        [
            "BININT",
            "BININT1",
            "BININT2",
            "LONG1",
            "LONG4",
            "BINFLOAT",
            "SHORT_BINUNICODE",
            "BINUNICODE",
            "BINUNICODE8",
            "SHORT_BINSTRING",
            "BINSTRING",
            "SHORT_BINBYTES",
            "BINBYTES",
            "BINBYTES8",
        ]
    )
    CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}

    def __init__(self, resolve: Resolve, persistent_load: Callable[[Any], Any] | None) -> None:
        self.resolve, self.persistent_load = resolve, persistent_load
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.read = self.copied = 0

    def charge(self, *values: Any) -> None:
        """Count what a call may copy: all calls together copy hardly more than the file has."""
        self.copied += sum(_length(value) for value in values)
        if self.copied > 4 * self.read + bounds.PICKLE_FREE_COPIES:
            raise MalformedPickleError("calls that copy more than the file holds")

    def result(self) -> Any:
        """Return the one object that a finished pickle leaves."""
        if len(self.stack) != 1 or self.marks:
            raise MalformedPickleError("the pickle does not end with one object")
        _check_extent(self.stack[0])
        return self.stack[0]

    def step(self, name: str, argument: Any) -> None:
        """Execute one opcode."""
        if name in self.PUSHED:
            if isinstance(argument, int) and argument.bit_length() > bounds.PICKLE_NUMBER_BITS:
                raise MalformedPickleError("a number that is too long")
            self.stack.append(argument)
        elif name in self.CONSTANTS:
            self.stack.append(self.CONSTANTS[name])
        else:
            action = getattr(self, f"op_{name.lower()}", None)
            if action is None:
                raise MalformedPickleError(f"the opcode {name}")
            action(argument)

    def pop_mark(self) -> list[Any]:
        """Return the items above the last mark and drop the mark."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def op_proto(self, protocol: int) -> None:
        """Check the protocol number."""
        if protocol > MAX_PROTOCOL:
            raise MalformedPickleError(f"pickle protocol {protocol}")

    def op_frame(self, _: int) -> None:
        """Ignore the frame length: the bytes follow anyway."""

    def op_mark(self, _: None) -> None:
        """Start a group of items."""
        self.marks.append(self.stack)
        self.stack = []

    def op_pop(self, _: None) -> None:
        """Drop the top item, or an empty group's mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.marks.pop()

    def op_pop_mark(self, _: None) -> None:
        """Drop a group."""
        self.pop_mark()

    def op_dup(self, _: None) -> None:
        """Repeat the top item."""
        self.stack.append(self.stack[-1])

    def op_empty_list(self, _: None) -> None:
        """Push a new list."""
        self.stack.append([])

    def op_empty_dict(self, _: None) -> None:
        """Push a new dict."""
        self.stack.append({})

    def op_empty_set(self, _: None) -> None:
        """Push a new set."""
        self.stack.append(set())

    def op_tuple(self, _: None) -> None:
        """Turn a group into a tuple."""
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def op_tuple1(self, _: None) -> None:
        """Turn one item into a tuple."""
        self.stack[-1:] = [(self.stack[-1],)]

    def op_tuple2(self, _: None) -> None:
        """Turn two items into a tuple."""
        self.stack[-2:] = [(self.stack[-2], self.stack[-1])]

    def op_tuple3(self, _: None) -> None:
        """Turn three items into a tuple."""
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def op_list(self, _: None) -> None:
        """Turn a group into a list."""
        items = self.pop_mark()
        self.stack.append(items)

    def op_dict(self, _: None) -> None:
        """Turn a group of keys and values into a dict."""
        items = self.pop_mark()
        self.stack.append({_checked_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)})

    def op_frozenset(self, _: None) -> None:
        """Turn a group into a frozen set."""
        items = self.pop_mark()
        self.stack.append(frozenset(map(_checked_key, items)))

    def op_append(self, _: None) -> None:
        """Append the top item to the list below it."""
        item = self.stack.pop()
        self._top(list).append(item)

    def op_appends(self, _: None) -> None:
        """Append a group to the list below it."""
        items = self.pop_mark()
        self._top(list).extend(items)

    def op_setitem(self, _: None) -> None:
        """Store one key and value in the dict below them."""
        value, key = self.stack.pop(), self.stack.pop()
        self._top(dict)[_checked_key(key)] = value

    def op_setitems(self, _: None) -> None:
        """Store a group of keys and values in the dict below it."""
        items = self.pop_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value

    def op_additems(self, _: None) -> None:
        """Add a group to the set below it."""
        items = self.pop_mark()
        self._top(set).update(map(_checked_key, items))

    def _top(self, kind: type) -> Any:
        """Return the top item, which must be of the given container type."""
        if not isinstance(self.stack[-1], kind):
            raise MalformedPickleError(f"items for a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def op_binput(self, index: int) -> None:
        """Remember the top item under a number."""
        self.memo[index] = self.stack[-1]

    op_long_binput = op_binput

    def op_memoize(self, _: None) -> None:
        """Remember the top item under the next number."""
        self.memo[len(self.memo)] = self.stack[-1]

    def op_binget(self, index: int) -> None:
        """Push a remembered item."""
        self.stack.append(self.memo[index])

    op_long_binget = op_binget

    def op_global(self, names: str) -> None:
        """Push what stands for the global `module name`."""
        module, _, name = names.partition(" ")
        self.stack.append(self.resolve(module, name))

    def op_stack_global(self, _: None) -> None:
        """Push what stands for the global whose module and name are on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedPickleError("a global without a name")
        self.stack.append(self.resolve(module, name))

    def op_reduce(self, _: None) -> None:
        """Call an inert function with the argument tuple above it."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Inert) or not isinstance(arguments, tuple):
            raise MalformedPickleError("a call of something that is not a function")
        self.charge(*arguments)
        self.stack.append(function.call(*arguments))

    op_newobj = op_reduce

    def op_build(self, _: None) -> None:
        """Give the object below its state; a dict's own attributes (`_metadata`) are dropped."""
        state = self.stack.pop()
        target = self.stack[-1]
        self.charge(state)
        if hasattr(target, "build"):
            target.build(state)
        elif not isinstance(target, dict):
            raise MalformedPickleError(f"a state for a {type(target).__name__}")

    def op_binpersid(self, _: None) -> None:
        """Replace a persistent id by its object."""
        if self.persistent_load is None:
            raise MalformedPickleError("a persistent id")
        self.stack.append(self.persistent_load(self.stack.pop()))
