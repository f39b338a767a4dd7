# What a pod can do to the user-mode path. Says "flooding" once it has begun, and a line of what it saw at the end.
# Arguments: a file that ends it, dead | idle | abort, ADDRESS:PORT
#   dead   connections to a service whose endpoint answers nothing, hundreds a second
#   idle   as many connections as there are places, held without a word
#   abort  connections that carry their own bytes there and back, and break off in every way; foreign bytes are told
import os, random, socket, struct, sys, threading, time

stop, mode, target = sys.argv[1:4]
host, port = target.rsplit(":", 1)
target = (host, int(port))
counts = {"opened": 0, "bytes": 0, "FOREIGN": 0}


def dead():
    q = []
    while not os.path.exists(stop):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(target)
        q.append(s)
        counts["opened"] += 1
        if len(q) > 600:
            q.pop(0).close()
        time.sleep(0.002)


def idle():
    held = []
    while not os.path.exists(stop):
        try:
            held.append(socket.create_connection(target, 2))
            counts["opened"] += 1
        except OSError:
            pass
        if len(held) > 600:
            held.pop(0).close()
        time.sleep(0.002)


def abort():
    random.seed(threading.get_ident())
    while not os.path.exists(stop):
        own = os.urandom(8)
        size = random.choice([8, 800, 80000, 800000])
        data = own * (size // 8)
        try:
            s = socket.create_connection(target, 5)
            s.settimeout(5)
            counts["opened"] += 1
            s.sendall(b"ECHO\n")
            way = random.random()
            sender = threading.Thread(target=lambda: send(s, data, way))
            sender.start()
            seen = 0
            while seen < size:
                part = s.recv(random.choice([10, 4096, 200000]))
                if not part:
                    break
                if part != (own * (len(part) // 8 + 2))[seen % 8:][:len(part)]:
                    counts["FOREIGN"] += 1
                seen += len(part)
                counts["bytes"] += len(part)
                if way < 0.2 and seen > size // 2:
                    # A reset, with whatever is still under way.
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
            s.close()
            sender.join()
        except OSError:
            pass


def send(s, data, way):
    try:
        if way > 0.8:
            s.sendall(data[:len(data) // 3])
            s.close()
            return
        s.sendall(data)
        if way > 0.5:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass


work = {"dead": [dead], "idle": [idle], "abort": [abort] * 8}[mode]
threads = [threading.Thread(target=w) for w in work]
for t in threads:
    t.start()
while counts["opened"] < 300 and not os.path.exists(stop):
    time.sleep(0.05)
print("flooding", flush=True)
for t in threads:
    t.join()
print(" ".join(f"{k} {v}" for k, v in counts.items()), flush=True)
