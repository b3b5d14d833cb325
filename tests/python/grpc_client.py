"""Calls of every kind to the server at `address`, as `host`; ends with an error where an answer is not what it should be."""

import queue
import sys
import time

import grpc

address, host, what = sys.argv[1:4]
WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 << 10)]
OPTIONS = [("grpc.default_authority", host), ("grpc.max_receive_message_length", -1)]
channel = grpc.insecure_channel(address, options=OPTIONS)


def check(got, expected):
    assert got == expected, f"{got!r}, not {expected!r}"


def kinds():
    unary = channel.unary_unary("/test.Echo/Unary")
    answer, call = unary.with_call(b"hello", metadata=(("x-note", "hi"),), timeout=30)
    check(answer, b"HELLO")
    check(call.code(), grpc.StatusCode.OK)
    assert ("x-initial", "one") in call.initial_metadata(), call.initial_metadata()
    trailing = dict(call.trailing_metadata())
    check((trailing["x-trailing"], trailing["x-bytes-bin"]), ("two", b"\x00\xff"))
    large = bytes(range(97, 123)) * 100_000
    check(unary(large, timeout=30), large.upper())
    try:
        channel.unary_unary("/test.Echo/Fail")(b"", timeout=30)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        check(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
        check(error.details(), "not today: 100 % sure")
        check(dict(error.trailing_metadata())["x-trailing"], "failed")
    try:
        channel.unary_unary("/test.Echo/None")(b"", timeout=30)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        check(error.code(), grpc.StatusCode.UNIMPLEMENTED)
    parts = [b"%d" % number for number in range(1000)]
    check(channel.stream_unary("/test.Echo/Collect")(iter(parts), timeout=30), b",".join(parts))
    check(list(channel.unary_stream("/test.Echo/Spread")(b",".join(parts), timeout=30)), parts)
    # Each message only after the answer to the one before: nothing on the way may wait for more.
    said = queue.Queue()
    chat = channel.stream_stream("/test.Echo/Chat")(iter(said.get, None), timeout=30)
    for number in range(50):
        said.put(b"%d" % number)
        check(next(chat), b"%d!" % number)
    said.put(None)
    check(list(chat), [])
    check(chat.code(), grpc.StatusCode.OK)
    # And all at once, both ways.
    pieces = [bytes([number]) * 100_000 for number in range(100)]
    answers = channel.stream_stream("/test.Echo/Chat")(iter(pieces), timeout=50)
    for piece in pieces:
        check(next(answers) == piece + b"!", True)
    check(list(answers), [])


def full():
    """Sends 10 MB that come back late, and reads nothing until no more of them is taken: every window on the way is full then, both ways."""
    sent = []

    def pieces():
        for number in range(100):
            sent.append(time.monotonic())
            yield bytes([number]) * 100_000

    small = grpc.insecure_channel(address, options=OPTIONS + WINDOW)
    answers = small.stream_stream("/test.Echo/Late")(pieces(), timeout=50)
    while not sent or time.monotonic() - sent[-1] < 1:
        time.sleep(0.01)
    assert len(sent) < 100, "the windows on the way hold all of it"
    for number in range(100):
        check(next(answers) == bytes([number]) * 100_000 + b"!", True)
    check(list(answers), [])
    check(answers.code(), grpc.StatusCode.OK)


def silent():
    said = queue.Queue()
    said.put(b"go")
    check(list(channel.stream_stream("/test.Echo/Count")(iter(said.get, None), timeout=50)), [b"go"] + [b"%d" % number for number in range(12)])
    said.put(None)


def deadline():
    try:
        channel.unary_unary("/test.Echo/Wait")(b"", timeout=3)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        check(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def cancel():
    call = channel.unary_stream("/test.Echo/Trickle")(b"", timeout=30)
    check(next(call), b"first")
    call.cancel()


def idle():
    began = time.monotonic()
    call = channel.unary_stream("/test.Echo/Trickle")(b"", timeout=50)
    check(next(call), b"first")
    try:
        next(call)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        print(f"{time.monotonic() - began:.1f} {error.code().name}")


{"kinds": kinds, "full": full, "silent": silent, "deadline": deadline, "cancel": cancel, "idle": idle}[what]()
