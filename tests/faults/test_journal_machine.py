"""The journal against a plain list: Hypothesis does to it, in any order, all that may happen to a journal."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamlearn.errors import DiskFull, JournalFailed
from streamlearn.store import Record, verify_journal
from tests.faults.journals import PLACE, contents, learn, reopen
from tests.faults.lossyfs import LossyFS

pytestmark = pytest.mark.faults


class JournalMachine(RuleBasedStateMachine):
    """The journal against a plain list, through all that may happen to it in any order."""

    @initialize()
    def begin(self) -> None:
        self.fs = LossyFS()
        self.model: list[tuple[int, int, bytes]] = []  # the appended records with their lsn
        self.durable = 0  # how many of these had been called durable
        self.refused: list[
            tuple[int, int, bytes]
        ] = []  # a group that found the disk full, and nothing came after
        self.number = 0
        self.failed = False
        self.journal, _ = reopen(self.fs)

    def _reopened(self) -> None:
        """Open; what it holds must be what it may hold, and all of that is durable from here on."""
        self.failed = False
        self.journal, _ = reopen(self.fs)
        found = contents(self.journal)
        first = self.journal.first_lsn
        whole = [entry for entry in self.model + self.refused if entry[0] >= first]
        least = len([entry for entry in self.model[: self.durable] if entry[0] >= first])
        assert least <= len(found)
        assert found == whole[: len(found)]
        self.model = found
        self.durable = len(found)
        self.refused = []

    def _group(self, sizes: list[int]) -> list[Record]:
        self.number += len(sizes)
        return [learn(self.number - index, size) for index, size in enumerate(sizes)]

    @precondition(lambda self: not self.failed)
    @rule(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=4))
    def append(self, sizes: list[int]) -> None:
        group = self._group(sizes)
        first = self.journal.next_lsn
        entries = [(first + index, record.seq, record.payload) for index, record in enumerate(group)]
        try:
            assert self.journal.append(group) == first
        except DiskFull:
            assert self.fs.capacity is not None
            self.refused = entries
        else:
            self.model += entries
            self.refused = []

    @precondition(lambda self: not self.failed)
    @rule()
    def sync(self) -> None:
        assert self.journal.sync() == self.journal.written_lsn
        self.durable = len(self.model)

    @precondition(lambda self: not self.failed)
    @rule(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=3), step=st.integers(0, 4))
    def sync_while_appending(self, sizes: list[int], step: int) -> None:
        before = len(self.model)
        countdown = [step]

        def meanwhile(operation: str) -> None:
            countdown[0] -= 1
            if countdown[0] == -1:
                self.append(sizes)

        self.fs.before = meanwhile
        try:
            self.journal.sync()
        finally:
            self.fs.before = lambda operation: None
        self.durable = before

    @precondition(lambda self: not self.failed and self.durable < len(self.model))
    @rule()
    def sync_fails(self) -> None:
        self.fs.fail_sync = True
        with pytest.raises(JournalFailed):
            self.journal.sync()
        self.failed = True

    @rule(room=st.integers(0, 400))
    def disk_fills(self, room: int) -> None:
        self.fs.capacity = sum(len(self.fs.read(PLACE / name)) for name in self.fs.listdir(PLACE)) + room

    @rule()
    def disk_has_room(self) -> None:
        self.fs.capacity = None

    @precondition(lambda self: not self.failed)
    @rule(share=st.floats(0, 1))
    def retire(self, share: float) -> None:
        before = int(self.journal.next_lsn * share)
        oldest = self.journal.first_lsn
        self.journal.retire(before)
        first = self.journal.first_lsn
        assert oldest <= first <= max(before, oldest)
        gone = len([entry for entry in self.model if entry[0] < first])
        assert gone <= self.durable
        self.model, self.durable = self.model[gone:], self.durable - gone

    @precondition(lambda self: not self.failed and self.fs.capacity is None)
    @rule(by=st.integers(0, 5))
    def advance(self, by: int) -> None:
        lsn = self.journal.next_lsn + by
        self.journal.advance(lsn)
        assert self.journal.next_lsn == lsn
        if by:
            self.durable, self.refused = len(self.model), []

    @rule()
    def close(self) -> None:
        self.journal.close()
        if not self.failed:
            self.durable, self.refused = len(self.model), []
        self._reopened()

    @rule()
    def killed(self) -> None:
        """The process is gone; what it wrote is not."""
        written = [entry for entry in self.model if entry[0] >= self.journal.first_lsn]
        self._reopened()
        assert self.model == written

    @rule(random=st.randoms(use_true_random=False))
    def power_loss(self, random: Random) -> None:
        self.fs.power_loss(random)
        self._reopened()

    @invariant()
    def reads_as_the_list(self) -> None:
        assert self.journal.durable_lsn <= self.journal.written_lsn
        if not self.failed:
            assert contents(self.journal) == self.model
            assert [found for found in verify_journal(self.fs, PLACE) if found.level == "damage"] == []


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
