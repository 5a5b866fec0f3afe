"""Every value in upper case."""

from wit_world import exports
from wit_world.imports.types import Batch, Column, Headers, Outcome

# A column of which every entry is as in the source record.
AS_IN_SOURCE = Column(lens=[], data=b"")


class Handler(exports.Handler):
    def handle(self, batch: Batch) -> Outcome:
        # The values lie end to end, so all of them are changed at once; their lengths stay, and so
        # does null, which is a length of -1.
        return Outcome(
            sources=list(range(len(batch.offsets))),
            topics=AS_IN_SOURCE,
            partitions=[],
            timestamps=[],
            keys=AS_IN_SOURCE,
            values=Column(lens=batch.values.lens, data=batch.values.data.upper()),
            headers=Headers(counts=[], names=AS_IN_SOURCE, values=AS_IN_SOURCE),
            failures=[],
        )
