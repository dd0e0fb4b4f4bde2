"""Text of LLVM IR, written line by line: values, loops that carry values, and branches that merge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Value = str
"""A name such as ``%12``, or a constant."""


class Emitter:
    """The body of one function.

    Loops run at least once: whoever may have none asks first, with :meth:`branch`.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._values = 0
        self._blocks = 0
        self._block = "entry"
        self.declarations: dict[str, str] = {}

    def value(self, text: str) -> Value:
        """Append an instruction that has a result."""
        self._values += 1
        name = f"%v{self._values}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append(f"  {text}")

    def call(self, result: str, name: str, parameters: str, arguments: str) -> Value:
        """Call an intrinsic, which is declared on the way; ``void`` calls have no value."""
        self.declarations[name] = f"declare {result} @{name}({parameters})"
        if result == "void":
            self.do(f"call void @{name}({arguments})")
            return ""
        return self.value(f"call {result} @{name}({arguments})")

    def offset(self, pointer: Value, stride: int, index: Value | int = 1) -> Value:
        """A pointer moved by ``index`` times ``stride`` bytes."""
        if stride == 0 or index == 0:
            return pointer
        if isinstance(index, int):
            return self.value(f"getelementptr inbounds i8, ptr {pointer}, i64 {stride * index}")
        distance = self.value(f"mul nsw i64 {index}, {stride}")
        return self.value(f"getelementptr inbounds i8, ptr {pointer}, i64 {distance}")

    def loop(
        self,
        begin: Value | int,
        end: Value | int,
        carried: Sequence[tuple[str, Value]],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """A loop from ``begin`` to below ``end``, at least once.

        Args:
            carried: types and first values of what goes from iteration to iteration.
            body: given the counter and the carried values, returns the next ones.

        Returns:
            The carried values after the last iteration.
        """
        before, head, after = self._block, self._label("loop"), self._label("done")
        self.do(f"br label %{head}")
        self._open(head)
        counter = f"%i{self._blocks}"
        phis = [f"%c{self._blocks}.{number}" for number in range(len(carried))]
        place = len(self.lines)
        following = list(body(counter, phis))
        latch = self._block
        step = self.value(f"add nuw nsw i64 {counter}, 1")
        again = self.value(f"icmp ult i64 {step}, {end}")
        self.do(f"br i1 {again}, label %{head}, label %{after}")
        self.lines[place:place] = [
            f"  {counter} = phi i64 [{begin}, %{before}], [{step}, %{latch}]",
            *(
                f"  {phi} = phi {kind} [{first}, %{before}], [{later}, %{latch}]"
                for phi, (kind, first), later in zip(phis, carried, following, strict=True)
            ),
        ]
        self._open(after)
        return following

    def branch(
        self,
        condition: Value,
        yes: Callable[[], Sequence[Value]],
        no: Callable[[], Sequence[Value]] | None = None,
        kinds: Sequence[str] = (),
    ) -> list[Value]:
        """Run one of two bodies and merge their values, whose types are ``kinds``."""
        then, otherwise, after = self._label("then"), self._label("else"), self._label("merged")
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")
        self._open(then)
        first, first_end = yes(), self._block
        self.do(f"br label %{after}")
        self._open(otherwise)
        second, second_end = (no() if no else ()), self._block
        self.do(f"br label %{after}")
        self._open(after)
        return [
            self.value(f"phi {kind} [{one}, %{first_end}], [{other}, %{second_end}]")
            for kind, one, other in zip(kinds, first, second, strict=True)
        ]

    def _label(self, kind: str) -> str:
        self._blocks += 1
        return f"{kind}{self._blocks}"

    def _open(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self._block = label
