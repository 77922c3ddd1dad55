"""One step of a run, for a message of a canvas that names it."""

from dataclasses import replace

from taskplatform.core.outcome import Outcome
from taskplatform.executor.batch import Batch
from taskplatform.executor.branch import Branch
from taskplatform.storage.new_run import HOLD
from taskplatform.storage.settlement import Keep, PutBack, Settlement


class OneStep(Batch):
    """Executes like a batch, and leaves what follows to the next message for a while."""

    def _judge(self, branch: Branch, outcome: Outcome) -> Settlement:
        made = super()._judge(branch, outcome)
        match made.then:
            case Keep(step):
                queue = branch.step.queue or self._child.default_queue
                return replace(made, then=PutBack(step, queue, delay=HOLD, rest="canvas"))
            case PutBack(delay=None) if made.result is not None:
                return replace(made, then=replace(made.then, delay=HOLD, rest="canvas"))
        return made
