"""Gluon on torch's tensors, so that the persistent kernels run without a GPU.

The kernels' own functions are run, as Python. Programs are threads that take turns: each runs until it waits for a
count that is not there yet, as far ahead of the others as it can. Layouts change no values and are ignored; Triton
checks them when it compiles. What has not been written is NaN: shared memory, and what a masked copy leaves out.

An asynchronous copy or product happens either as soon as it is begun or as late as its wait allows (`late`): late
copies show a wait that is missing, and late products a buffer that is filled too early. Operands are multiplied in
fp32. Approximations are exact.
"""

from __future__ import annotations

import itertools
import math
import operator
import threading
from collections.abc import Callable
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

PATIENCE = 60.0  # seconds

Changes = dict[str, Callable[[Any], Any]]


class Value:
    """A tile of numbers."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    def to(self, dtype: torch.dtype) -> Value:
        return Value(self.data.to(dtype))

    def __getitem__(self, index: Any) -> Value:
        return Value(self.data[index])

    def __neg__(self) -> Value:
        return Value(-self.data)


def _operation(function: Callable[[Any, Any], Any], *, turned: bool = False) -> Any:
    def run(left: Value, right: Any) -> Any:
        if isinstance(right, Pointer):
            return NotImplemented
        other = right.data if isinstance(right, Value) else right
        return Value(function(other, left.data) if turned else function(left.data, other))

    return run


for _name, _function in {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "and": operator.and_, "or": operator.or_,
}.items():  # fmt: skip
    setattr(Value, f"__{_name}__", _operation(_function))
    setattr(Value, f"__r{_name}__", _operation(_function, turned=True))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Value, f"__{_name}__", _operation(getattr(operator, _name)))


class Pointer:
    """Places in a tensor's memory."""

    def __init__(self, memory: Tensor, at: Any = 0) -> None:
        self.memory, self.at = memory, at
        self.dtype = SimpleNamespace(element_ty=memory.dtype)

    def __add__(self, other: Any) -> Pointer:
        return Pointer(self.memory, self.at + (other.data if isinstance(other, Value) else other))

    def read(self, mask: Tensor | None, other: float) -> Tensor:
        at = torch.as_tensor(self.at)
        known = torch.ones_like(at, dtype=torch.bool) if mask is None else mask.expand(at.shape)
        found = self.memory[torch.where(known, at, 0)]
        return found if mask is None else torch.where(known, found, torch.tensor(other).to(found.dtype))

    def write(self, values: Tensor, mask: Tensor | None) -> None:
        at = self.at.expand(values.shape)
        assert values.dtype == self.memory.dtype, f"{values.dtype} stored as {self.memory.dtype}"
        known = torch.ones_like(at, dtype=torch.bool) if mask is None else mask.expand(at.shape)
        self.memory[at[known]] = values[known]


class Shared:
    """Shared memory."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def index(self, number: int) -> Shared:
        return Shared(self.data[number])

    def permute(self, order: tuple[int, ...]) -> Shared:
        return Shared(self.data.permute(order))


class Sums(Value):
    """A product that may not have been made yet."""

    def __init__(self, body: Callable[[], Tensor]) -> None:
        self.body = body
        self.made: Tensor | None = None

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        assert self.made is not None, "a product is read before its wait"
        return self.made


class Launch:
    """All programs of a launch, and whose turn it is."""

    def __init__(self, programs: tuple[int, ...], late: tuple[str, ...]) -> None:
        self.programs, self.late = programs, late
        self.turn = threading.Condition()
        self.running = math.prod(programs)
        self.waits: list[tuple[Pointer, int]] = []
        self.errors: list[BaseException] = []

    def arrive(self, counter: Pointer) -> None:
        counter.memory[counter.at] += 1
        self.turn.notify_all()

    def wait(self, counter: Pointer, wanted: int) -> None:
        own = counter, wanted
        self.waits.append(own)
        while int(counter.memory[counter.at]) < wanted:
            stuck = len(self.waits) == self.running and not any(int(c.memory[c.at]) >= n for c, n in self.waits)
            if stuck or self.errors or not self.turn.wait(PATIENCE):
                raise RuntimeError("programs wait for each other for ever")
        self.waits.remove(own)

    def run(self, body: Callable[[], None]) -> None:
        """A program's whole life."""
        with self.turn:
            try:
                body()
            except BaseException as error:
                self.errors.append(error)
            self.running -= 1
            self.turn.notify_all()


class Program:
    """One program: what it has begun and not waited for."""

    def __init__(self, launch: Launch, number: tuple[int, ...]) -> None:
        self.launch, self.number = launch, number
        self.copies: list[Callable[[], None]] = []
        self.groups: list[list[Callable[[], None]]] = []
        self.products: list[Sums] = []

    def copy(self, to: Shared, source: Pointer, mask: Value | None = None, cache_modifier: str = "") -> None:
        def body() -> None:
            found = source.read(None if mask is None else mask.data, float("nan"))
            assert to.data.shape == found.shape
            to.data.copy_(found)

        if "copies" in self.launch.late:
            self.copies.append(body)
        else:
            body()

    def commit_group(self) -> None:
        self.groups.append(self.copies)
        self.copies = []

    def wait_group(self, outstanding: int) -> None:
        assert outstanding >= 0
        while len(self.groups) > outstanding:
            for body in self.groups.pop(0):
                body()

    def multiply(self, left: Shared, right: Shared, sums: Value, use_acc: bool = True, is_async: bool = False) -> Sums:
        def body() -> Tensor:
            made = left.data.float() @ right.data.float()
            return made + sums.data if use_acc else made

        begun = Sums(body)
        self.products.append(begun)
        if "products" not in self.launch.late:
            begun.made = body()
        return begun

    def multiply_wait(self, outstanding: int, deps: list[Sums]) -> Sums:
        while len(self.products) > outstanding:
            first = self.products.pop(0)
            first.made = first.body() if first.made is None else first.made
        return deps[0]

    def assembly(self, text: str, _: str, arguments: list[Any], **settings: Any) -> Any:
        if "tanh.approx" in text:
            return Value(arguments[0].data.tanh())
        if "and.b32" in text:
            return 0
        if "red.release" in text:
            return self.launch.arrive(arguments[0])
        assert "ld.acquire" in text
        self.launch.wait(arguments[0], arguments[1])
        return 1  # look


def _load(at: Pointer, mask: Value | None = None, other: float = 0.0, cache_modifier: str = "") -> Value:
    return Value(at.read(None if mask is None else mask.data, other))


def _store(at: Pointer, value: Value, mask: Value | None = None, cache_modifier: str = "") -> None:
    at.write(value.data, None if mask is None else mask.data)


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Value) else value


def _where(mask: Value, left: Any, right: Any) -> Value:
    return Value(torch.where(mask.data, _plain(left), _plain(right)))


def language(program: Program) -> SimpleNamespace:
    """What a program knows as `gl`."""
    nan = float("nan")
    return SimpleNamespace(
        float32=torch.float32,
        int32=torch.int32,
        constexpr=lambda value: value,
        static_range=range,
        program_id=lambda axis: program.number[axis],
        num_programs=lambda axis: program.launch.programs[axis],
        SliceLayout=lambda dim, parent: None,
        arange=lambda begin, end, layout: Value(torch.arange(begin, end)),
        zeros=lambda shape, dtype, layout: Value(torch.zeros(shape, dtype=dtype)),
        where=_where,
        rsqrt=lambda value: Value(value.data.rsqrt()),
        maximum=lambda left, right: Value(left.data.clamp(min=right)),
        load=_load,
        store=_store,
        sum=lambda value, axis: Value(value.data.sum(axis)),
        reshape=lambda value, shape: Value(value.data.reshape(shape)),
        permute=lambda value, order: Value(value.data.permute(order)),
        split=lambda value: tuple(Value(part) for part in value.data.unbind(-1)),
        join=lambda left, right: Value(torch.stack([left.data, right.data], -1)),
        convert_layout=lambda value, layout: value,
        inline_asm_elementwise=program.assembly,
        allocate_shared_memory=lambda dtype, shape, layout: Shared(torch.full(shape, nan, dtype=dtype)),
    )


def _stand_ins(program: Program) -> dict[str, Any]:
    """What takes the place of global names in the kernels' modules."""
    return {
        "gl": language(program),
        "async_copy": program,
        "copy_to_shared": program.copy,
        "program_barrier": lambda: None,
        "fence_async_shared": lambda: None,
        "warpgroup_mma": program.multiply,
        "warpgroup_mma_wait": program.multiply_wait,
    }


def _names(code: Any) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            found |= _names(constant)
    return found


def translate(kernel: Any, stand_ins: dict[str, Any], changed: Changes) -> FunctionType:
    """A kernel as Python, and the kernels that it calls; `changed` makes others of those that it names."""
    done: dict[int, FunctionType] = {}

    def one(function: Any) -> FunctionType:
        if id(function) in done:
            return done[id(function)]
        plain = function.fn
        scope: dict[str, Any] = {}
        made = done[id(function)] = FunctionType(plain.__code__, scope, plain.__name__, plain.__defaults__)
        for name in _names(plain.__code__) & plain.__globals__.keys() | _names(plain.__code__) & stand_ins.keys():
            value = stand_ins[name] if name in stand_ins else plain.__globals__[name]
            if name not in stand_ins and hasattr(value, "fn"):
                value = changed[name](one(value)) if name in changed else one(value)
            assert not isinstance(value, ModuleType), f"no stand-in for {name}"
            scope[name] = getattr(value, "value", value)
        return made

    return one(kernel)


def run(
    kernel: Any,
    programs: tuple[int, ...],
    tensors: tuple[Tensor, ...],
    numbers: tuple[Any, ...],
    late: tuple[str, ...] = (),
    changed: Changes | None = None,
) -> None:
    """Run a kernel. `late` names what happens as late as it may, `changed` gives functions for others."""
    launch = Launch(programs, late)
    threads = []
    for turned in itertools.product(*(range(count) for count in reversed(programs))):
        program = Program(launch, turned[::-1])
        body = translate(kernel, _stand_ins(program), changed or {})
        pointers = [Pointer(tensor.as_strided((_extent(tensor),), (1,))) for tensor in tensors]
        threads.append(threading.Thread(target=launch.run, args=(partial(body, *pointers, *numbers),)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if launch.errors:
        raise launch.errors[0]


def _extent(tensor: Tensor) -> int:
    """How many elements there are from a tensor's first to the end of its memory."""
    return tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
