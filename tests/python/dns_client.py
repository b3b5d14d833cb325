"""What DNS says to a client that keeps the rules and to one that does not, as dnspython understands it.

Arguments: the server as address:port, the zone, and the name of a site in it. Ends with an error where an answer is another one than the RFC has.
"""

import socket
import struct
import sys

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype

server, zone, site = sys.argv[1:]
address, port = server.rsplit(":", 1)
port = int(port)


def ask(query, tcp=False):
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, address, port=port, timeout=10)


def make(name, kind, **more):
    return dns.message.make_query(name, kind, **more)


def raw(octets, expect=True):
    """The answer to octets that dnspython would not send; None where none is to come, which another query's answer shows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect((address, port))
        sock.send(octets)
        if not expect:
            sock.send(make(zone, "SOA", use_edns=False).to_wire())
        return sock.recv(4096)


def is_soa(section):
    assert len(section) == 1 and section[0].rdtype == dns.rdatatype.SOA and section[0].name == dns.name.from_text(zone), section
    assert section[0].ttl <= section[0][0].minimum


# Header, authority, and the two kinds of "there is none" (RFC 1035, 2308), over both transports.
for tcp in (False, True):
    found = ask(make(site, "A"), tcp)
    assert found.rcode() == dns.rcode.NOERROR and found.flags & dns.flags.AA and not found.flags & dns.flags.RA, found
    assert found.answer and all(rrset.rdtype == dns.rdatatype.A for rrset in found.answer), found
    no_data = ask(make(site, "MX"), tcp)
    assert no_data.rcode() == dns.rcode.NOERROR and not no_data.answer, no_data
    is_soa(no_data.authority)
    no_name = ask(make("nothing." + zone, "A"), tcp)
    assert no_name.rcode() == dns.rcode.NXDOMAIN and no_name.flags & dns.flags.AA, no_name
    is_soa(no_name.authority)
    soa = ask(make(zone, "SOA"), tcp)
    assert soa.answer[0][0].serial > 0
    assert ask(make(zone, "NS"), tcp).answer[0].rdtype == dns.rdatatype.NS

# The case of a name is the client's (0x20), and comes back.
odd = "".join(c.upper() if i % 2 else c for i, c in enumerate(site))
assert ask(make(odd, "A")).question[0].name.to_text() == dns.name.from_text(odd).to_text()

# ANY is small (RFC 8482).
every = ask(make(site, "ANY"))
assert [rrset.rdtype for rrset in every.answer] == [dns.rdatatype.HINFO], every

# EDNS: version, flags, size; what is not EDNS gets none (RFC 6891).
version = make(site, "A", use_edns=0)
version.use_edns(3)
answer = ask(version)
assert answer.rcode() == dns.rcode.BADVERS and answer.edns == 0, answer
assert ask(make(site, "A", use_edns=False)).edns == -1
assert ask(make(site, "A", use_edns=0, payload=4096)).payload == 1232

# The client's subnet comes back with a scope (RFC 7871), for both families and for who hides.
for subnet, family in ((dns.edns.ECSOption("10.1.2.0", 24), 1), (dns.edns.ECSOption("2001:db8:1::", 48), 2), (dns.edns.ECSOption("0.0.0.0", 0), 1)):
    answer = ask(make(site, "A", use_edns=0, options=[subnet]))
    (told,) = [option for option in answer.options if option.otype == dns.edns.ECS]
    assert (told.family, told.address, told.srclen) == (family, subnet.address, subnet.srclen), answer
    assert subnet.srclen or told.scopelen == 0, answer
# A subnet that breaks the rules is malformed: a scope, bits beyond the prefix, too many or too few octets, another family.
for value in (b"\0\1\x18\x08\x0a\1\2", b"\0\1\x0f\0\x0a\1", b"\0\1\x18\0\x0a\1\2\3", b"\0\1\x18\0\x0a\1", b"\0\1\x21\0\x0a\1\2\3\0", b"\0\3\x08\0\x0a"):
    answer = ask(make(site, "A", use_edns=0, options=[dns.edns.GenericOption(dns.edns.ECS, value)]))
    assert answer.rcode() == dns.rcode.FORMERR and answer.edns == 0 and not answer.answer, (value, answer)

# A cookie comes back with the server's (RFC 7873), and one that is no cookie is malformed.
answer = ask(make(site, "A", use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")]))
(cookie,) = [option for option in answer.options if option.otype == 10]
assert len(cookie.to_wire()) == 24 and cookie.to_wire().startswith(b"12345678")
assert ask(make(site, "A", use_edns=0, options=[dns.edns.GenericOption(10, b"1234567")])).rcode() == dns.rcode.FORMERR

# Other opcodes, classes, zones and transfers.
for opcode in (dns.opcode.STATUS, dns.opcode.NOTIFY, dns.opcode.UPDATE):
    query = make(zone, "SOA", use_edns=False)
    query.set_opcode(opcode)
    assert raw(query.to_wire())[3] & 15 == dns.rcode.NOTIMP, opcode
assert ask(make("version.bind", "TXT", rdclass="CH")).rcode() == dns.rcode.REFUSED
assert ask(make("example.com", "A")).rcode() == dns.rcode.REFUSED
assert ask(make(zone, "AXFR"), True).rcode() == dns.rcode.REFUSED

# What is malformed says so, and what is an answer, or no message, gets none.
plain = make(site, "A", use_edns=False).to_wire()
for broken in (plain[:-1], plain + b"\0", plain[:4] + b"\0\2" + plain[6:], plain[:12] + b"\xc0\x0c" + plain[-4:], plain[:12] + b"\x80" + plain[13:]):
    answer = raw(broken)
    assert answer[:2] == broken[:2] and answer[3] & 15 == dns.rcode.FORMERR and len(answer) == 12, (broken, answer)
for silent in (b"", plain[:11], plain[:2] + b"\x80" + plain[3:]):
    answer = raw(silent, expect=False)
    assert dns.message.from_wire(answer).question[0].rdtype == dns.rdatatype.SOA, silent

# An amplifier's dream is made small: no answer over UDP is larger than 1,232 octets, whatever the client says it takes.
for kind in ("ANY", "TXT", "NS", "DNSKEY", "A", "HTTPS"):
    for name in (zone, site):
        assert len(raw(make(name, kind, use_edns=0, payload=65535, want_dnssec=True).to_wire())) <= 1232

# Over TCP, many at once and in pieces (RFC 7766).
with socket.create_connection((address, port), timeout=10) as sock:
    many = b"".join(struct.pack(">HH", len(plain), number) + plain[2:] for number in range(100))
    for at in range(0, len(many), 37):
        sock.sendall(many[at : at + 37])
    stream = sock.makefile("rb")
    for number in range(100):
        (length,) = struct.unpack(">H", stream.read(2))
        assert struct.unpack(">H", stream.read(length)[:2]) == (number,)
print("fine")
