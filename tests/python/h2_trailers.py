"""Trailers of requests over HTTP/2 in cleartext, by a library that leaves each frame to its user.

`serve`: an origin that says its port, then a line for each request: its content type, the length of its body, its trailers. It answers with a trailer.
`serve CERTIFICATE KEY`: the same over TLS, but each connection answers one request, and is closed without a word when the next one has come, which has
a line `closed`.
`ask ADDRESS HOST TYPE`: sends a body and trailers; ends with an error where the answer is not that origin's."""

import socket
import ssl
import sys
import threading

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

PATIENCE = 30


def events(link, http):
    """What comes, until the other side closes."""
    http.initiate_connection()
    link.sendall(http.data_to_send())
    while data := link.recv(65536):
        yield from http.receive_data(data)
        link.sendall(http.data_to_send())


def answer(link, context):
    once = context is not None
    if once:
        link = context.wrap_socket(link, server_side=True)
    http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    asked = {}
    for event in events(link, http):
        if isinstance(event, RequestReceived):
            asked[event.stream_id] = [dict(event.headers).get("content-type"), 0, []]
        elif isinstance(event, DataReceived):
            asked[event.stream_id][1] += len(event.data)
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            asked[event.stream_id][2] = sorted(f"{name}={value}" for name, value in event.headers)
        elif isinstance(event, StreamEnded) and once and event.stream_id > 1:
            print("closed", flush=True)
            link.close()
            return
        elif isinstance(event, StreamEnded):
            print(*asked[event.stream_id][:2], *asked[event.stream_id][2], flush=True)
            http.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
            http.send_data(event.stream_id, b"fine")
            http.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)


def serve(*files):
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
        context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        link, _ = listener.accept()
        threading.Thread(target=answer, args=(link, context), daemon=True).start()


def ask(address, host, kind):
    at, port = address.rsplit(":", 1)
    link = socket.create_connection((at, int(port)), PATIENCE)
    http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    came = events(link, http)
    next(came)
    head = [(":method", "POST"), (":scheme", "http"), (":authority", host), (":path", "/t"), ("content-type", kind), ("te", "trailers")]
    http.send_headers(1, head)
    http.send_data(1, b"x" * 1000)
    http.send_headers(1, [("x-sum", "42"), ("skerry-purge-seq", "9"), ("host", "other.test")], end_stream=True)
    link.sendall(http.data_to_send())
    body, trailers = b"", {}
    for event in came:
        if isinstance(event, ResponseReceived):
            assert dict(event.headers)[":status"] == "200", event.headers
        elif isinstance(event, DataReceived):
            body += event.data
        elif isinstance(event, TrailersReceived):
            trailers = dict(event.headers)
        elif isinstance(event, StreamReset):
            raise AssertionError(f"reset: {event.error_code}")
        elif isinstance(event, StreamEnded):
            assert (body, trailers) == (b"fine", {"grpc-status": "0"}), (body, trailers)
            return
    raise AssertionError("the connection ended")


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
