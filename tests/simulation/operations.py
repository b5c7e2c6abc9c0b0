"""What the clients of a simulation ask for."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.simulation.clients import Caller, Streamer
from tests.simulation.models import ModelPlan


def begin(world: Any, client: Caller) -> None:
    """A client starts its next operation."""
    random: Random = world.random
    session = client.session
    if isinstance(client, Streamer):
        client.end_stream()
    plan: ModelPlan = random.choice(world.plans)
    timeout = random.choice([0.3, 3.0, 30.0])
    level = random.choice(["durable", "durable", "written", "received"])
    if plan.name not in world.ledger.current:
        client.begin(f"create {plan.name}", session.create(plan.name, plan.kind, plan.spec), timeout)
    elif isinstance(client, Streamer):
        client.open(plan, level, random.randint(1, 6))
    elif random.random() < 0.75:
        arguments = plan.arguments(random, random.choice([2, 20]))
        client.begin(f"learn {plan.name}", session.learn(plan.name, ack=level, **arguments), timeout)
    else:
        _begin_other(world, client, plan, timeout)


def _begin_other(world: Any, client: Caller, plan: ModelPlan, timeout: float) -> None:
    random, session, name = world.random, client.session, plan.name
    choice = random.randrange(12)
    if choice <= 1:
        client.begin(f"describe {name}", session.request("describe", name), timeout)
    elif choice <= 3:
        label = random.choice([None, None, "a", "b"])
        client.begin(f"checkpoint {name}", session.request("checkpoint", name, name=label), timeout)
    elif choice == 4:
        label = random.choice(["a", "b"])
        client.begin(f"unpin {name}", session.request("unpin", name, name=label), timeout)
    elif choice <= 6:
        client.begin(
            f"restore {name}", session.request("restore", name, False, **_target(world, name)), timeout
        )
    elif choice == 7:
        change = random.choice([session.reheat(name, 0.5), session.pause(name), session.resume(name)])
        client.begin(f"reheat {name}", change, timeout)
    elif choice == 8:
        arguments = plan.arguments(random, 8)
        while arguments["x"] is None:
            arguments = plan.arguments(random, 8)
        client.begin(f"predict {name}", session.predict(name, arguments["x"], arguments["keys"]), timeout)
    elif choice == 9:
        client.begin("stats", session.request("stats"), timeout)
    elif choice == 10:
        client.begin(f"position {name}", session.position(name, session.producer), timeout)
    elif world.deletes:
        copies = [other for other in world.ledger.current if other.endswith("-copy")]
        victim = random.choice([name, *copies])
        world.deleted.add(victim)
        client.begin(f"delete {victim}", session.delete(victim), timeout)


def _target(world: Any, name: str) -> dict[str, Any]:
    """Which state to restore, and into which model."""
    random = world.random
    target: dict[str, Any] = {}
    choice = random.random()
    if choice < 0.3:
        target["lsn"] = random.randint(world.ledger.current[name].create_lsn, world.ledger.written)
    elif choice < 0.5:
        target["name"] = random.choice(["a", "b"])
    if random.random() < 0.3:
        target["into"] = f"{name}-copy"
    return target
