"""Calls of every kind to the server at `address`, as `host`; ends with an error where an answer is not what it should be."""

import queue
import sys
import time

import grpc

address, host, what = sys.argv[1:4]
channel = grpc.insecure_channel(address, options=[("grpc.default_authority", host), ("grpc.max_receive_message_length", -1)])


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
    pieces = [bytes([number]) * 100_000 for number in range(15)]
    check([len(piece) for piece in channel.stream_stream("/test.Echo/Chat")(iter(pieces), timeout=50)], [100_001] * 15)


def deadline():
    try:
        channel.unary_unary("/test.Echo/Wait")(b"", timeout=1.5)
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


{"kinds": kinds, "deadline": deadline, "cancel": cancel, "idle": idle}[what]()
