"""HTTP/3 by aioquic to `address` under the CA in a file; ends with an error where it does not go as it should."""

import asyncio
import hashlib
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

address, ca, what = sys.argv[1:4]
HOST, PORT = address.rsplit(":", 1)
SITE = "www.example.com"


class Answer:
    def __init__(self):
        self.heads, self.body, self.reset, self.done = [], b"", None, asyncio.get_running_loop().create_future()

    @property
    def status(self):
        return int(dict(self.heads[-1])[b":status"])

    def field(self, name):
        return dict(self.heads[-1]).get(name.encode(), b"").decode()

    def end(self):
        if not self.done.done():
            self.done.set_result(self)


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http = H3Connection(self._quic)
        self.answers, self.closed = {}, None

    def send(self, method, path, fields=(), body=None, ends=True, head=None):
        stream = self._quic.get_next_available_stream_id()
        begin = [(":method", method), (":scheme", "https"), (":authority", SITE), (":path", path)]
        lines = head if head is not None else begin + list(fields)
        self.answers[stream] = Answer()
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in lines], end_stream=ends and body is None)
        if body is not None:
            self.http.send_data(stream, body, end_stream=ends)
        self.transmit()
        return self.answers[stream]

    async def ask(self, *arguments, **more):
        return await asyncio.wait_for(self.send(*arguments, **more).done, 60)

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.closed = event.error_code
            for answer in self.answers.values():
                answer.end()
        elif isinstance(event, StreamReset) and event.stream_id in self.answers:
            self.answers[event.stream_id].reset = event.error_code
            self.answers[event.stream_id].end()
        for got in self.http.handle_event(event):
            answer = self.answers.get(got.stream_id)
            if answer is None:
                continue
            if isinstance(got, HeadersReceived):
                answer.heads.append(got.headers)
            elif isinstance(got, DataReceived):
                answer.body += got.data
            if got.stream_ended:
                answer.end()


def check(got, expected, about=""):
    assert got == expected, f"{about}: {got!r:.300}, not {expected!r:.300}"


def configuration(**more):
    wanted = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=SITE, max_data=64 << 20, max_stream_data=16 << 20, **more)
    wanted.load_verify_locations(ca)
    return wanted


def to(**more):
    tickets = more.pop("tickets", [])
    return connect(HOST, int(PORT), configuration=configuration(**more), create_protocol=Client, session_ticket_handler=tickets.append)


async def fetch():
    """Miss, hit, a range, an upload, a page of many objects, and a file that is larger than a window."""
    async with to() as client:
        first = await client.ask("GET", "/style.css")
        again = await client.ask("GET", "/style.css")
        check((first.status, again.status), (200, 200))
        check("; hit" in again.field("cache-status"), True, again.field("cache-status"))
        check(first.body, again.body)
        check(again.field("content-length"), str(len(again.body)))
        check("h3=" in again.field("alt-svc"), True, again.heads)
        part = await client.ask("GET", "/style.css", [("range", "bytes=1-3")])
        check((part.status, part.body), (206, again.body[1:4]))
        missing = await client.ask("GET", "/nothing-here")
        check(missing.status, 404)
        posted = await client.ask("POST", "/api/version", body=b"", fields=[("content-length", "0")])
        check(posted.status, 200, posted.heads)
        objects = [client.send("GET", f"/files/{10_000 + number}.bin", [("priority", f"u={number % 8}")]) for number in range(50)]
        for number, answer in enumerate(objects):
            await asyncio.wait_for(answer.done, 60)
            check((answer.status, answer.reset, len(answer.body)), (200, None, 10_000 + number))
        large = await client.ask("GET", "/files/1000000.bin")
        twice = await client.ask("GET", "/files/1000000.bin")
        check(len(large.body), 1_000_000)
        check(hashlib.sha256(large.body).digest(), hashlib.sha256(twice.body).digest())
        unknown = await client.ask("GET", "/", head=[(":method", "GET"), (":scheme", "https"), (":authority", "nobody.test"), (":path", "/")])
        check(unknown.status in (200, 421), True, unknown.heads)


async def malformed():
    """Heads that are none get 400, each on its own stream, and the connection goes on."""
    method, scheme, authority, path = (":method", "GET"), (":scheme", "https"), (":authority", SITE), (":path", "/style.css")
    async with to() as client:
        for head in (
            [method, scheme, authority, path, path],
            [method, scheme, path, authority, authority],
            [method, scheme, authority, ("x", "1"), path],
            [method, scheme, authority],
            [method, scheme, path],
            [method, scheme, authority, path, ("connection", "close")],
            [method, scheme, authority, path, ("transfer-encoding", "chunked")],
            [method, scheme, authority, path, ("host", "other.test")],
            [method, scheme, authority, path, ("X-Upper", "1")],
            [method, scheme, authority, path, (":status", "200")],
        ):
            answer = await client.ask("", "", head=head)
            check((answer.status, answer.reset), (400, None), head)
        large = await client.ask("GET", "/style.css", [(f"x-{number}", "a") for number in range(200)])
        check(large.status, 431, large.heads)
        check((await client.ask("GET", "/style.css")).status, 200)
        # A body that is not what its head says.
        short = await client.ask("POST", "/api/version", [("content-length", "5")], body=b"four")
        check(short.reset, ErrorCode.H3_MESSAGE_ERROR)
        none = await client.ask("GET", "/style.css", [("content-length", "0")], body=b"four")
        check(none.status, 400, none.heads)
        check(client.closed, None)


async def cut():
    """An answer that breaks off at the origin is never whole here."""
    async with to() as client:
        answer = await client.ask("GET", sys.argv[4])
        check(answer.reset, ErrorCode.H3_INTERNAL_ERROR, answer.heads)


async def early():
    """A second connection asks ahead of its handshake, and is answered."""
    tickets = []
    async with to(tickets=tickets) as client:
        check((await client.ask("GET", "/style.css")).status, 200)
        while not tickets:
            await asyncio.sleep(0.01)
    connecting = connect(
        HOST, int(PORT), configuration=configuration(session_ticket=tickets[0]), create_protocol=Client, wait_connected=False
    )
    async with connecting as client:
        answer = await client.ask("GET", "/style.css")
        check((answer.status, client._quic.tls.early_data_accepted), (200, True))


async def forced():
    """What HTTP/3 forbids ends the connection."""
    async with to() as client:
        stream = client._quic.get_next_available_stream_id()
        client._quic.send_stream_data(stream, b"\x00\x01x")
        client.transmit()
        await asyncio.wait_for(client.wait_closed(), 60)
        check(client.closed, ErrorCode.H3_FRAME_UNEXPECTED)


asyncio.run({"fetch": fetch, "malformed": malformed, "cut": cut, "early": early, "forced": forced}[what]())
