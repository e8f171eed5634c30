"""Mutant: commits its claim before it delivers, which frees the rows for another worker."""

# It changes the inside of another module.
# mypy: ignore-errors

from dataclasses import replace

from push_readmodel import drain as module
from push_readmodel.design import design as correct
from push_readmodel.drain import Drain, drain

module.check_changed = lambda *_: None  # it would notice that the row was deleted by another worker


class CommitsItsClaim(Drain):
    def _deliver(self, batch, stopping):
        self._execute("COMMIT")
        self._begin()
        self._pipeline.sync()
        super()._deliver(batch, stopping)


module.Drain = CommitsItsClaim
design = replace(correct, name="commit_before_delivery")


def drain_once(engine, gateway, _effects):
    drain(engine, gateway)
