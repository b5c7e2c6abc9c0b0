"""The fast lane: batches whose headers fit a template, joined into runs.

`Lane.find` answers whether a batch may join a run. Everything else takes the general way, after all runs are
closed. So both ways give the same acks, errors and state.
"""

from __future__ import annotations

from streamlearn.access.identity import LOCAL, Identity
from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.intake.run import Arena, Run
from streamlearn.daemon.intake.template import Template, Templates, integer, split
from streamlearn.daemon.network.replies import ReplyAddress
from streamlearn.shard.producers import LAST_SEQ


class Lane:
    """The open runs, one per model at most. They are closed before the group is committed.

    `accepts`: false sends all further batches the general way. Any thread may change it.
    """

    def __init__(self, context: Context, group_commit: GroupCommit) -> None:
        self._shard = context.shard
        self._replies = context.replies
        self._group_commit = group_commit
        self._header_bytes = context.limits.header_bytes
        self._firehose_frame_bytes = context.limits.firehose_frame_bytes
        self.accepts = True
        self.arena = Arena()
        self._templates = Templates(most_bytes=len(self.arena.memory) // 4)
        self._runs: dict[str, Run] = {}
        self.remember = self._templates.remember

    def find(self, header: bytes, sender: bytes, identity: Identity) -> tuple[Run, int] | None:
        """Return the run that a batch may join if its frames are as expected, and where its `id` is.

        `None` if the batch must take the general way. Makes room for the batch in the arena.

        Parameters
        ----------
        header
            The header of the message.
        sender
            The routing id of its connection; empty for the firehose.
        identity
            The sender.
        """
        found = split(header)
        if found is None or len(header) > self._header_bytes:
            return None
        key, model, id_at, seq_at = found
        template = self._templates.get(key)
        if template is None or template.identity is not identity:
            return None
        run = self.join(template, model, sender, integer(header, seq_at) if seq_at else 0)
        return None if run is None else (run, id_at)

    def join(self, template: Template, model: str, sender: bytes, seq: int | None) -> Run | None:
        """Return the run that a batch with a header of `template` may join, as `find` does."""
        if not self.accepts:
            return None
        model = template.model or model
        run = self._runs.get(model)
        if (
            run is None
            or run.template is not template
            or run.sender != sender
            or not self.arena.has_room(template.batch_bytes)
        ):
            run = self._begin(template, model, sender, seq, run)
            if run is None:
                return None
        return run if seq == run.next_seq and run.batches < run.most else None

    def _begin(
        self, template: Template, model: str, sender: bytes, seq: int | None, open_run: Run | None
    ) -> Run | None:
        """Begin a run; `None` if its first batch must take the general way. Close the one of its model."""
        if not self.arena.has_room(template.batch_bytes):
            self.close()
        elif open_run is not None:
            self._add(self._runs.pop(model))
        hosted = self._shard.get(model)
        learn, identity = template.without_arrays, template.identity
        if hosted is None or hosted.set_aside is not None:
            return None
        if identity is not LOCAL and not _may_push(identity, model):
            return None
        most = LAST_SEQ
        if template.numbered:
            if seq is None or not hosted.accepted_producers.expects(learn.producer, learn.epoch, seq):
                return None
            most -= seq
        if sender:
            if self._replies.is_behind(sender):
                return None
            most = min(most, self._group_commit.room(hosted, template.batch_bytes))
        elif template.largest_frame > self._firehose_frame_bytes:  # learned from a request
            return None
        run = self._runs[model] = Run(template, model, sender, self.arena, seq or 0, most)
        return run

    def close(self) -> None:
        """Add all runs to the group, and give the arena back."""
        runs, self._runs = self._runs, {}
        for run in runs.values():
            self._add(run)
        self.arena.give_back()

    def _add(self, run: Run) -> None:
        """Add a run to the group."""
        if not run.batches:
            return
        reply_to = ReplyAddress([run.sender], run.ids[-1], run.identity) if run.sender else None
        if not self._group_commit.learn_samples(run, reply_to):
            self._group_commit.learn_run(run.learn(), run.batches, reply_to, run.ids)


def _may_push(identity: Identity, model: str) -> bool:
    """Whether the check of rights permits the batch. The general way reports a refusal."""
    try:
        identity.require("learn", model)
    except Exception:  # noqa: BLE001 - a check that fails denies
        return False
    return True
