"""Compiles blocks of a network, and falls back to uncompiled blocks if that fails.

Compiling changes only speed and rounding, so a failure costs time and no job.
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
"""Maximum number of compiled variants of one kind of block, for its widths and kinds of input; torch stops at 8.

The transformer needs up to 8, the autoencoder about 30.
"""

Answer = TypeVar("Answer")


class Compiled:
    """Some blocks of one network. `network_name` and `option` name it in messages.

    `dynamic` True makes code for all sizes at once. None makes code for the first size, and code for all others
    when a second one comes.
    """

    def __init__(
        self,
        network_name: str,
        option: str,
        blocks: Iterable[nn.Module],
        dynamic: bool | None = True,
    ) -> None:
        self.network_name, self.option, self.dynamic = network_name, option, dynamic
        self.blocks = list(blocks)
        self.is_on = False
        self._is_wrapped = False
        self._trouble = ""
        self._watch: JobContext | None = None

    def begin(self, watch: JobContext, backend: str = "inductor") -> None:
        """Compiles each block's `forward` at its next run, without graph breaks, for any length.

        It compiles no module: the module's hooks, which watch and stop the work, stay outside the compiled
        code. Blocks of one kind share their code. Compiling is its own stage for `watch`, because it takes a
        minute or more without other progress. If it fails, `watch` gets a warning in each job, and the blocks
        run uncompiled.
        """
        self._watch = watch
        if self._trouble:
            watch.warn(self._trouble)
        elif not self.is_on:
            for block in self.blocks:
                block.forward = torch.compile(
                    block.forward, fullgraph=True, dynamic=self.dynamic, backend=backend
                )
            self.is_on = self._is_wrapped = True

    def run(
        self, work: Callable[[], Answer], on_failure: Callable[[], None] = lambda: None
    ) -> Answer:
        """Runs `work`, which uses the blocks, and returns its result. If compiling fails, calls `give_up` and
        runs it again.
        """
        if self.is_on:
            try:
                with torch._dynamo.config.patch(recompile_limit=GRAPHS), self._announced():
                    return work()
            except (TorchDynamoException, FailOnRecompileLimitHit) as error:
                self._fail(error)
                on_failure()
        # The forwards stay wrapped, because others may have wrapped them again.
        with torch.compiler.set_stance("force_eager") if self._is_wrapped else nullcontext():
            return work()

    @contextmanager
    def _announced(self) -> Iterator[None]:
        """Reports to the job context whenever torch begins to compile, even in the middle of a stage."""

        def begins(_: object) -> None:
            # torch would report it as its own failure; the next step raises it again
            with suppress(JobCancelled):
                if self._watch:
                    self._watch.step(f"compiling {self.network_name}", 0, 0)

        callback_handler.register_start_callback(begins)
        try:
            yield
        finally:
            callback_handler.remove_start_callback(begins)

    def _fail(self, error: Exception) -> None:
        self.is_on = False
        reason = " ".join(str(error).split())
        self._trouble = (
            f"{self.network_name} could not be compiled and runs slower ({reason[:200]}); "
            f'set "{self.option}": "off" in voidbridge.json to disable compiling'
        )
        if self._watch:
            self._watch.warn(self._trouble)
