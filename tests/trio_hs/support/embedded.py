"""Raw requests to the embedded server, and the table of most of its tests."""

from __future__ import annotations

from trio_hs._network import Transport
from trio_hs.testing import EmbeddedServer, Table

TRUCKS = Table(
    "cars",
    "trucks",
    {
        "id": "INT NOT NULL AUTO_INCREMENT",
        "company": "VARCHAR(40) NOT NULL DEFAULT 'nobody'",
        "price": "INT NULL",
    },
    primary_key=["id"],
    indexes={"company": ["company", "id"]},
)
#: Opens the table as index 0.
OPEN = b"P\t0\tcars\ttrucks\tPRIMARY\tid,company,price\n"


async def receive(transport: Transport, end: int = 1) -> bytes:
    """Receive until there are `end` lines, or the stream ends."""
    data = b""
    while data.count(b"\n") < end:
        await transport.wait_receivable()
        piece = transport.receive()
        if piece == b"":
            break
        data += piece or b""
    return data


async def writer(server: EmbeddedServer) -> Transport:
    """A connection for writes on which the table is open."""
    transport = await server.connect(server.write_address)
    transport.send(OPEN)
    assert await receive(transport) == b"0\t1\n"
    return transport


async def insert(server: EmbeddedServer, *numbers: int) -> bytes:
    """Insert rows, each in a transaction of its own. Returns the last answer."""
    transport = await writer(server)
    answer = b""
    for number in numbers:
        transport.send(b"0\t+\t3\t%d\tc\t1\n" % number)
        answer = await receive(transport)
    transport.close()
    return answer


def ids(server: EmbeddedServer) -> list[object]:
    return [row[0] for row in server.database.tables["cars", "trucks"].rows]
