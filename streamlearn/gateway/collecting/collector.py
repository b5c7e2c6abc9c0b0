"""One request of a collector: points to models, models to samples, samples to the daemon."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from streamlearn import logs
from streamlearn.access.identity import Identity
from streamlearn.errors import Forbidden, ModelExists, StreamlearnError, TooLarge, UnknownModel
from streamlearn.gateway.collecting.delivery import STOPPING, Delivery
from streamlearn.gateway.collecting.joining import Entry, Unusable, assign, join
from streamlearn.gateway.collecting.points import Point, Refusal
from streamlearn.gateway.collecting.rules import MissingTag, Rule, Rules, Source
from streamlearn_client import AsyncClient
from streamlearn_client.descriptions import ModelDescription

MOST_POINTS: Final = 100_000
"""Points of one request."""
MOST_WARNINGS: Final = 1000
"""Models of which the log says once that their samples are divided."""
SHOWN: Final = 5
"""Reasons, and places of each, in a message."""

log = logs.get_logger(__name__)


@dataclass(slots=True)
class Report:
    """What became of one request, by number of samples (learned, repeated, divided), points or values."""

    learned: int = 0
    repeated: int = 0
    divided: int = 0
    passed: int = 0  # points without a rule
    texts: int = 0  # values that are text
    unused: int = 0  # values that are no channel
    refusals: list[Refusal] = field(default_factory=list)
    forbidden: bool = False

    def message(self, what: str) -> str:
        """Return the refusals as text. ``what``: a point of the body, for example ``line``."""
        places: dict[str, list[int]] = {}
        for each in sorted(self.refusals, key=lambda each: each.place):
            places.setdefault(each.reason, []).append(each.place)
        parts = []
        for reason, numbers in itertools.islice(places.items(), SHOWN):
            listed = ", ".join(map(str, numbers[:SHOWN]))
            more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
            parts.append(f"{what} {listed}{more}: {reason}")
        if len(places) > SHOWN:
            parts.append(f"{len(places) - SHOWN} more reasons")
        return "; ".join(parts)


class Collector:
    """What the requests of all collectors share."""

    def __init__(self, client: AsyncClient, rules: Rules, registry: CollectorRegistry) -> None:
        self._client, self._rules = client, rules
        self._delivery = Delivery(client)
        self._descriptions: dict[str, ModelDescription] = {}
        self._warned: set[str] = set()
        self._counts = Counter(
            "streamlearn_collected",
            "Samples (learned, repeated, divided), points (refused, passed), values (text, unused)",
            ["source", "outcome"],
            registry=registry,
        )

    async def learn(self, points: Iterable[Point | Refusal], source: Source, who: Identity) -> Report:
        """Learn the points of a request, and wait until they are durable.

        Raises the errors that concern the daemon as a whole. Then the request is to be sent again.
        """
        report = Report()
        groups = await asyncio.to_thread(self._assign, points, source, report)
        existing = (
            {each["name"]: each["create_lsn"] for each in await self._client.models()} if groups else {}
        )
        await self._create(groups, existing, who, report)
        tasks = [
            self._learn(model, group, existing, source, who, report)
            for model, group in groups.items()
            if model in existing
        ]
        errors = [each for each in await asyncio.gather(*tasks, return_exceptions=True) if each]
        self._count(source, report)
        if errors:
            raise errors[0]
        return report

    def _assign(
        self, points: Iterable[Point | Refusal], source: Source, report: Report
    ) -> dict[str, list[Entry]]:
        """Return the points by model. Raises `TooLarge`."""
        groups: dict[str, list[Entry]] = {}
        for number, point in enumerate(points):
            if number == MOST_POINTS:
                raise TooLarge(f"the request has more than {MOST_POINTS} points; send it in parts")
            if isinstance(point, Refusal):
                report.refusals.append(point)
                continue
            rule = self._rules.find(point, source)
            if rule is None:
                report.passed += 1
                continue
            try:
                model, entry = assign(point, rule, source)
            except MissingTag as problem:
                if source == "prometheus":  # it sends all series, for example those of recording rules
                    report.passed += 1
                    continue
                report.refusals.append(Refusal(point.place, str(problem)))
                continue
            report.texts += len(point.texts)
            groups.setdefault(model, []).append(entry)
        return groups

    async def _create(
        self, groups: dict[str, list[Entry]], existing: dict[str, int], who: Identity, report: Report
    ) -> None:
        """Create the models that a rule describes. Refuse the points of all others that do not exist."""
        for model in [name for name in groups if name not in existing]:
            entries = groups[model]
            rule = next((each.rule for each in entries if each.rule.create is not None), None)
            try:
                if rule is None:
                    raise UnknownModel(f"there is no model {model!r}; create it, or give its rule `create`")
                existing[model] = await self._created(model, rule, existing, who)
            except StreamlearnError as error:
                if error.code in STOPPING:
                    raise
                report.forbidden |= isinstance(error, Forbidden)
                report.refusals += _all(entries, error.message)

    async def _created(self, model: str, rule: Rule, existing: dict[str, int], who: Identity) -> int:
        """Create a model of a rule, and return its ``create_lsn``."""
        assert rule.create is not None
        assert rule.model is not None
        who.require("create", model)
        alike = sum(fnmatchcase(name, rule.model.glob) for name in existing)
        if alike >= rule.create.limit:
            raise TooLarge(
                f"there is no model {model!r}, and its rule creates no more than {rule.create.limit} models;"
                " raise create.limit"
            )
        try:
            await self._client.create(model, rule.create.kind, **rule.create.full_spec)
            log.info("a rule created a model", model=model, kind=rule.create.kind)
        except ModelExists:  # another request was faster
            pass
        return int((await self._describe(model, None))["create_lsn"])

    async def _learn(
        self,
        model: str,
        entries: list[Entry],
        existing: dict[str, int],
        source: Source,
        who: Identity,
        report: Report,
    ) -> None:
        try:
            who.require("learn", model)
            description = await self._describe(model, existing[model])
            joined = join(entries, description)
            if source == "line" and not joined.samples and not joined.refusals and joined.unused:
                names = sorted({name for each in entries for name, _ in each.values})
                raise Unusable(
                    f"no field is a channel of {model!r}: the fields are {', '.join(names[:SHOWN])}, and the"
                    f" channels are {', '.join((description['spec'].get('channels') or [])[:SHOWN])}"
                )
            delivered = await self._delivery.send(model, joined.samples, description["needs_keys"])
        except (StreamlearnError, Unusable) as error:
            if isinstance(error, StreamlearnError) and error.code in STOPPING:
                raise
            report.forbidden |= isinstance(error, Forbidden)
            reason = error.message if isinstance(error, StreamlearnError) else f"model {model!r}: {error}"
            report.refusals += _all(entries, reason)
            return
        report.learned += delivered.learned
        report.repeated += delivered.repeated
        report.divided += delivered.divided
        if delivered.divided and model not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(model)
            log.warning(
                "values of one time came in two requests, and only the first are learned;"
                " send all values of a time in one request",
                model=model,
                source=source,
            )
        report.unused += joined.unused
        report.refusals += joined.refusals + delivered.refusals

    async def _describe(self, model: str, create_lsn: int | None) -> ModelDescription:
        """Return the description of a model, which does not change as long as the model exists."""
        known = self._descriptions.get(model)
        if known is None or known["create_lsn"] != create_lsn:
            if len(self._descriptions) >= 10_000:
                self._descriptions.clear()
            known = self._descriptions[model] = await self._client.describe(model)
        return known

    def _count(self, source: Source, report: Report) -> None:
        counts = {
            "learned": report.learned,
            "repeated": report.repeated,
            "divided": report.divided,
            "refused": len(report.refusals),
            "passed": report.passed,
            "text": report.texts,
            "unused": report.unused,
        }
        for outcome, number in counts.items():
            self._counts.labels(source, outcome).inc(number)
        if report.refusals:
            log.warning("points of a collector were refused", source=source, reason=report.message("place"))


def _all(entries: Iterable[Entry], reason: str) -> Iterator[Refusal]:
    return (Refusal(each.place, reason) for each in entries)
