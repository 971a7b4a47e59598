"""Blocks of a network as compiled code, until compiling them fails.

It changes how fast they are and the rounding of their numbers, nothing else; so a failure costs time and no job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TypeVar

import torch
import torch._dynamo.config
from torch import nn
from torch._dynamo.callback import callback_handler
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from voidbridge_backend.engines.base import JobContext
from voidbridge_protocol.errors import JobCancelled

GRAPHS = 64
"""Pieces of code that one kind of block may become, for its widths and kinds of input; torch stops at 8.

The transformer needs 4, the autoencoder about 30.
"""

Answer = TypeVar("Answer")


class Compiled:
    """Some blocks of one network. `what` and `option` tell a person about it, "the transformer" and "compile"."""

    def __init__(self, what: str, option: str, blocks: Iterable[nn.Module]) -> None:
        self.what, self.option = what, option
        self.blocks = list(blocks)
        self.is_on = False
        self._is_wrapped = False
        self._trouble = ""
        self._watch: JobContext | None = None

    def begin(self, watch: JobContext, backend: str = "inductor") -> None:
        """Compile each block's `forward` when it is next run, without breaks, for any length.

        Not the module: its hooks, by which work is watched and stopped, stay outside of what is compiled.
        Blocks of one kind are one piece of code and share what is compiled for it. Compiling is a
        stage of its own to `watch`: it takes a minute and more, in which nothing else is heard of. Where it
        fails `watch` is warned, in each job, and the blocks run as they are.
        """
        self._watch = watch
        if self._trouble:
            watch.warn(self._trouble)
        elif not self.is_on:
            for block in self.blocks:
                block.forward = torch.compile(
                    block.forward, fullgraph=True, dynamic=True, backend=backend
                )
            self.is_on = self._is_wrapped = True

    def run(self, work: Callable[[], Answer], give_up: Callable[[], None] = lambda: None) -> Answer:
        """What `work` answers, which runs the blocks. It is done again, after `give_up`, when compiling fails."""
        if self.is_on:
            try:
                with torch._dynamo.config.patch(recompile_limit=GRAPHS), self._announced():
                    return work()
            except (TorchDynamoException, FailOnRecompileLimitHit) as error:
                self._fail(error)
                give_up()
        # Forwards stay wrapped: others may have wrapped them once more.
        with torch.compiler.set_stance("force_eager") if self._is_wrapped else nullcontext():
            return work()

    @contextmanager
    def _announced(self) -> Iterator[None]:
        """Within it the watch is told whenever torch begins to compile, in the middle of a stage too."""

        def begins(_: object) -> None:
            # torch would take it for a failure of its own; the next step raises it again.
            with suppress(JobCancelled):
                if self._watch:
                    self._watch.step(f"compiling {self.what}", 0, 0)

        callback_handler.register_start_callback(begins)
        try:
            yield
        finally:
            callback_handler.remove_start_callback(begins)

    def _fail(self, error: Exception) -> None:
        self.is_on = False
        said = " ".join(str(error).split())
        self._trouble = (
            f"{self.what} could not be compiled and runs slower ({said[:200]}); "
            f'set "{self.option}": "off" in voidbridge.json to leave it out'
        )
        if self._watch:
            self._watch.warn(self._trouble)
