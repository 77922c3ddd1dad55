"""What type checkers say of the public names, in the words of mypy --strict."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Each comment is the type that is revealed in its line, or the error there.
APPLICATION = """
from pydantic import BaseModel
from typing_extensions import reveal_type

from taskplatform import Change, Pipeline, enqueue_many, get_run, testing


class Order(BaseModel):
    number: str


class Price(BaseModel):
    total: int


typed = Pipeline("typed", input=Order, output=Price)
listed = Pipeline("listed", input=Order, output=list[Price])
untyped = Pipeline("untyped", input=Order)
annotated: Pipeline[Order, Price] = Pipeline("annotated", input=Order, output=Price)
short: Pipeline[Order] = Pipeline("short", input=Order)


@typed.step
def price(input: Order) -> Price:
    return Price(total=len(input.number))


reveal_type(price)  # def (input: Order) -> Price
reveal_type(typed)  # Pipeline[Order, Price]
reveal_type(typed.enqueue({"number": "1"}))  # Run[Price]
reveal_type(typed.enqueue(Order(number="1")).output)  # Price
reveal_type(typed.enqueue(Order(number="1")).wait().output.total)  # int
reveal_type(typed.enqueue({}).refresh().replay().retry())  # Run[Price]
reveal_type(enqueue_many(typed, [{"number": "1"}]))  # list[Run[Price]]
reveal_type(listed.enqueue({"number": "1"}).output)  # list[Price]
reveal_type(untyped)  # Pipeline[Order, Any]
reveal_type(untyped.enqueue({"number": "1"}).output)  # Any
reveal_type(short.enqueue({"number": "1"}).output)  # Any
reveal_type(annotated.validate({"number": "1"}))  # Order
reveal_type(get_run("1"))  # Run[Any]
reveal_type(testing.run(typed, {"number": "1"}))  # TestRun[Price]
reveal_type(testing.run(typed, {"number": "1"}).output.total)  # int
for change in typed.enqueue({}).stream():
    reveal_type(change)  # Change
    known: Change = change
    reveal_type(change.step)  # str | None


async def wait() -> Price:
    run = await typed.aenqueue({"number": "1"})
    reveal_type(run)  # Run[Price]
    reveal_type(await run.await_(timeout=1))  # Run[Price]
    async for change in run.astream():
        reveal_type(change)  # Change
    return run.output


# Each of these is an error.
typed.enqueue(7)  # arg-type
Pipeline("wrong", input=int)  # type-var
total: str = typed.enqueue({}).output.total  # assignment
typed.enqueue({}, priority="high")  # arg-type
typed.enqueue({}, conection=None)  # call-arg
"""

_SAID = re.compile(
    r"^application\.py:(\d+): (?:note: Revealed type is \"(.*)\"|error: .*\[(.*)\])$"
)


def test_results_are_typed_and_mistakes_are_seen(tmp_path: Path) -> None:
    """Typed results (`Run[Out]`), checked by mypy in a test of the public types."""
    lines = APPLICATION.strip().splitlines()
    (tmp_path / "application.py").write_text("\n".join(lines))
    wanted = {
        number: line.partition("  # ")[2] for number, line in enumerate(lines, 1) if "  # " in line
    }

    # As an application sees it, without this project's configuration.
    command = ["-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    answer = subprocess.run(
        [sys.executable, *command, f"--cache-dir={tmp_path / 'cache'}", "application.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    said = {
        int(found[1]): re.sub(r"\b(?:\w+\.)+(?=\w)", "", found[2] or found[3])
        for line in answer.stdout.splitlines()
        if (found := _SAID.match(line))
    }
    assert said == wanted, answer.stdout + answer.stderr
