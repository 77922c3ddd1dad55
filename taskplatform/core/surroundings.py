"""What the parameters of one step may refer to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from taskplatform.core.names import parameter_name
from taskplatform.core.outputs import Output


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The pipeline's input and the outputs of its steps, seen from the step at `position`.

    A compensation (`undoing`) sees its own step's output too, a batched step a list of inputs.
    """

    input: type[BaseModel]
    input_names: Sequence[str]
    outputs: Sequence[Output]
    position: int
    undoing: bool = False
    batched: bool = False

    @property
    def expected(self) -> Any:
        """The annotation of the parameter that is given the input."""
        return list[self.input] if self.batched else self.input  # type: ignore[name-defined]

    @property
    def before(self) -> list[str]:
        """The parameters that outputs can be bound to."""
        group = self.outputs[self.position].group
        return [
            parameter_name(one.step)
            for at, one in enumerate(self.outputs[: self.position + 1])
            if (self.undoing if at == self.position else group is None or one.group != group)
        ]

    def find(self, name: str) -> Output | str | None:
        """The output of that parameter; a text: why it is none here; None: no step has the name."""
        found = [at for at, one in enumerate(self.outputs) if parameter_name(one.step) == name]
        if not found:
            return None
        index, here = found[0], self.outputs[self.position]
        output = self.outputs[index]
        if index == self.position:
            return output if self.undoing else "is the step's own output: it has none yet"
        if output.group is not None and output.group == here.group:
            return (
                f"is the output of step '{output.step}' of the same group '{here.group}', which "
                "executes at the same time: take one of them out of the group"
            )
        if index > self.position:
            order = ", ".join(one.step for one in self.outputs)
            return (
                f"is the output of step '{output.step}', which is declared later (the order is "
                f"{order}): declare it before this step"
            )
        return output
