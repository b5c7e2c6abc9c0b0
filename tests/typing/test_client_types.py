"""What ``mypy --strict`` infers for a program that uses the client, and what it refuses."""

from __future__ import annotations

import pytest

from tests.typing.programs import ROOT, Messages, assert_inferred, assert_refused, run_mypy

REFUSED = """\
import numpy as np
from streamlearn_client import AsyncClient, Client, Outputs

x = np.zeros((10, 3))
client = Client()
Client(timeout="10 s")  # error: Argument "timeout"
client.learn("m", x, ack="durabel")  # error: Argument "ack"
client.learn("m", x, ack="none")  # error: Argument "ack"
client.learn("m", x, kyes=[1])  # error: Unexpected keyword argument "kyes"
client.learn("m", object())  # error: Argument 2
client.learn("m", x, keys=1.5)  # error: Argument "keys"
client.learn_targets("m", x)  # error: Missing positional argument "y"
client.stream("m", ack="durabel")  # error: Argument "ack"
client.stream("m").push(x, idx=3)  # error: Unexpected keyword argument "idx"
client.subscribe("m", "outputs")  # error: Argument 2
client.describe("m")["sampels"]  # error: TypedDict "ModelDescription" has no key "sampels"
client.predict("m", x).wniner  # error: "Outputs" has no attribute "wniner"
client.laern("m", x)  # error: "Client" has no attribute "laern"
Outputs(winner=[1]).winnre  # error: has no attribute "winnre"


async def main() -> None:
    async with AsyncClient() as client:
        await client.learn("m", x, ack="durabel")  # error: Argument "ack"
        (await client.predict("m", x)).wniner  # error: "Outputs" has no attribute "wniner"
        async with client.stream("m", ack="durabel") as stream:  # error: Argument "ack"
            await stream.push(x, idx=3)  # error: Unexpected keyword argument "idx"
"""

ACCEPTED = """\
import numpy as np
from streamlearn_client import AsyncClient, Client, Outputs


class Frame:
    columns: list[str]
    dtypes: object


class Capsules:
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return None


x = np.zeros((10, 3))
with Client("tcp://127.0.0.1:7700", timeout=3) as client:
    client.create("m", kind="som", dim=3, grid=[10, 10])
    reveal_type(client.learn("m", x, ack="written").lsn)  # "int"
    reveal_type(client.models()[0]["samples"])  # "int"
    reveal_type(client.describe("m")["checkpoints"][0]["name"])  # "str | None"
    reveal_type(client.restore("m", lsn=3)["restored_lsn"])  # "int"
    client.learn("m", [[1, None, 2.5]], keys="press 7", ids=[1])
    client.learn("m", [1.0, None], [0.5], keys=np.int64(3), ids=["a"])
    client.learn("m", Frame(), times="when")
    client.learn("m", Capsules())
    client.learn_targets("m", [1, 2], [[0.5], [1.5]])
    out = client.predict("m", x[-1:])
    reveal_type(out)  # streamlearn_client.outputs.Outputs
    reveal_type(out.winner)  # signedinteger[_32Bit]
    reveal_type(out.score)  # floating[_32Bit]
    reveal_type(out.sample)  # signedinteger[_64Bit]
    reveal_type(out.drift)  # numpy.bool
    reveal_type(out[1:].prediction)  # floating[_32Bit]
    reveal_type(client.forecast("m", 5))  # floating[_32Bit]
    reveal_type(client.sample("m", 5))  # signedinteger[_32Bit]
    with client.stream("m", ack="received") as stream:
        stream.push([1.0, None])
        stream.push_many(x, keys=1)
        reveal_type(stream.flush())  # results.Ack | None
    with client.subscribe("m", "output", "drift") as events:
        for event in events:
            reveal_type(event.outputs.present)  # signedinteger[_32Bit]
    with client.firehose("m") as firehose:
        firehose.push(x)


class SOMOutputs(Outputs):
    pass


reveal_type(SOMOutputs(winner=[1])[:1])  # SOMOutputs


async def main() -> None:
    async with AsyncClient() as client:
        reveal_type(await client.learn("m", x))  # streamlearn_client.results.Ack
        reveal_type((await client.predict("m", x)).label)  # signedinteger[_32Bit]
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory) -> dict[str, Messages]:
    """The messages of one run of mypy by program."""
    programs = {"refused.py": REFUSED, "accepted.py": ACCEPTED}
    return run_mypy(tmp_path_factory.mktemp("programs"), programs, str(ROOT / "clients/python"))


def test_each_mistake_is_refused_on_its_line(messages):
    assert_refused(REFUSED, messages["refused.py"])


def test_types_are_inferred(messages):
    assert_inferred(ACCEPTED, messages["accepted.py"])
