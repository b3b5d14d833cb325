"""A gRPC server with generic handlers: every kind of call, of bytes. Says its port, then what it notices.

Arguments: nothing for cleartext, or the files of a certificate and its key."""

import sys
import threading
import time
from concurrent import futures

import grpc


def note(text):
    print(text, flush=True)


def unary(request, context):
    said = dict(context.invocation_metadata())
    note(f"unary {said.get('x-note')} te={said.get('te')} via={'via' in said} deadline={context.time_remaining()}")
    context.send_initial_metadata((("x-initial", "one"),))
    context.set_trailing_metadata((("x-trailing", "two"), ("x-bytes-bin", b"\x00\xff")))
    return request.upper()


def fail(request, context):
    context.set_trailing_metadata((("x-trailing", "failed"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % sure")


def collect(requests, context):
    return b",".join(requests)


def spread(request, context):
    for part in request.split(b","):
        yield part


def chat(requests, context):
    for request in requests:
        yield request + b"!"


def count(requests, context):
    """A message a second, longer than a client may be silent that sends a body; until then the client's side is open."""
    yield next(requests)
    for number in range(12):
        time.sleep(1)
        yield b"%d" % number


def late(requests, context):
    """Answers nothing before it has 5 MB; from then on one for each request, as `chat`."""
    held = []
    while sum(map(len, held)) < 5_000_000:
        held.append(next(requests))
    yield from (request + b"!" for request in held)
    yield from chat(requests, context)


def watched(context):
    """Notices that a call has begun, and, whatever its handler does meanwhile, how it ends; the event is set then."""
    ended = threading.Event()

    def end():
        note("ended")
        ended.set()

    note("waiting")
    assert context.add_callback(end), "the call had ended before its handler began"
    return ended


def wait(request, context):
    """Answers nothing."""
    watched(context).wait(60)
    return b""


def trickle(request, context):
    """One message, then silence. Watched before that message: a client may end the call as soon as it has it."""
    ended = watched(context)
    yield b"first"
    ended.wait(60)


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Trickle": grpc.unary_stream_rpc_method_handler(trickle),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Spread": grpc.unary_stream_rpc_method_handler(spread),
    "Count": grpc.stream_stream_rpc_method_handler(count),
    "Late": grpc.stream_stream_rpc_method_handler(late),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}

# As small as it can be, so that a client's messages wait where they should.
WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 << 10))

server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1), *WINDOW])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", HANDLERS),))
if len(sys.argv) == 3:
    chain, key = (open(name, "rb").read() for name in sys.argv[1:])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
note(port)
sys.stdin.read()
