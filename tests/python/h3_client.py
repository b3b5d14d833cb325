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


class Http(H3Connection):
    """Does not take the length in an answer to HEAD, which is that of the answer to GET (RFC 9110 section 8.6), for its own. aioquic does, and
    closes the connection."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.bodiless = set()

    def _check_content_length(self, stream):
        if stream.stream_id not in self.bodiless:
            super()._check_content_length(stream)


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http = Http(self._quic)
        self.answers, self.closed = {}, None

    def send(self, method, path, fields=(), body=None, ends=True, head=None):
        stream = self._quic.get_next_available_stream_id()
        begin = [(":method", method), (":scheme", "https"), (":authority", SITE), (":path", path)]
        lines = head if head is not None else begin + list(fields)
        self.answers[stream] = Answer()
        if method == "HEAD":
            self.http.bodiless.add(stream)
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


async def head():
    """HEAD for a miss, a hit, what is not there, and what has no length."""
    async with to() as client:
        for path, status in (("/style.css", 200), ("/style.css", 200), ("/nothing-here", 404), ("/files/100000.bin", 200), ("/api/version", 200)):
            answer = await client.ask("HEAD", path)
            check((answer.status, answer.body, answer.reset, client.closed), (status, b"", None, None), path)
        check(answer.heads != [], True)
        length = (await client.ask("HEAD", "/files/100000.bin")).field("content-length")
        check((length, len((await client.ask("GET", "/files/100000.bin")).body)), ("100000", 100_000))


async def silent():
    """A gRPC call whose client says nothing more after its first message, while the other side goes on."""
    async with to() as client:
        fields = [("content-type", "application/grpc"), ("te", "trailers")]
        answer = client.send("POST", "/test.Echo/Count", fields, body=b"\0\0\0\0\x02go", ends=False)
        await asyncio.wait_for(answer.done, 50)
        check((dict(answer.heads[0])[b":status"], answer.field("grpc-status"), answer.reset), (b"200", "0", None), answer.heads)
        messages = [b"go"] + [b"%d" % number for number in range(12)]
        check(answer.body, b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages))


class Unfinished(Client):
    """A client that does not end its handshake: it sends nothing any more once the server has spoken, until it is let go."""

    held, spoken = True, False

    def datagram_received(self, data, addr):
        self.spoken = True
        super().datagram_received(data, addr)

    def transmit(self):
        if not (self.held and self.spoken):
            super().transmit()


async def told():
    """The origin is told what came ahead of the handshake, and its 425 comes back; asked again behind it, the answers are others."""
    tickets = []
    async with to(tickets=tickets) as client:
        check((await client.ask("GET", "/first")).status, 200)
        while not tickets:
            await asyncio.sleep(0.01)
    asked = [("/missed", []), ("/passed", [("accept", "text/event-stream")])]
    wanted = configuration(session_ticket=tickets[0])
    async with connect(HOST, int(PORT), configuration=wanted, create_protocol=Unfinished, wait_connected=False) as client:
        early = [client.send("GET", path, fields) for path, fields in asked]
        for answer in early:
            await asyncio.wait_for(answer.done, 50)
            check((answer.status, answer.body), (425, b"later"), answer.heads)
        client.held = False
        client.transmit()
        while not client._quic._handshake_confirmed:
            await asyncio.sleep(0.01)
        check(client._quic.tls.early_data_accepted, True)
        for path, fields in asked:
            check((await client.ask("GET", path, fields)).status, 200)


async def forced():
    """What HTTP/3 forbids ends the connection."""
    async with to() as client:
        stream = client._quic.get_next_available_stream_id()
        client._quic.send_stream_data(stream, b"\x00\x01x")
        client.transmit()
        await asyncio.wait_for(client.wait_closed(), 60)
        check(client.closed, ErrorCode.H3_FRAME_UNEXPECTED)


asyncio.run({"fetch": fetch, "head": head, "silent": silent, "told": told, "malformed": malformed, "cut": cut, "early": early, "forced": forced}[what]())
