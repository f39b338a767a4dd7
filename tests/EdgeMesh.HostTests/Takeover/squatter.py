# Takes the agent's places whenever it can, and answers in its stead. Says "HAS place" for each that it got, "trying" at the start.
# Arguments: a file that ends it, then places like tcp:127.0.0.1:9999 or udp:0.0.0.0:20007
import os, select, socket, sys, time

stop, places = sys.argv[1], sys.argv[2:]
held = {}


def take(place):
    kind, rest = place.split(":", 1)
    host, port = rest.rsplit(":", 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((host, int(port)))
        if kind == "tcp":
            s.listen(64)
        s.setblocking(False)
        held[s] = kind
        print("HAS", place, flush=True)
        return True
    except OSError:
        s.close()
        return False


def answer(s):
    try:
        if held[s] == "udp":
            data, peer = s.recvfrom(2048)
            s.sendto(b"STOLEN\n", peer)
        else:
            c, _ = s.accept()
            c.sendall(b"STOLEN\n")
            c.close()
    except OSError:
        pass


wanted = list(places)
wanted = [p for p in wanted if not take(p)]
print("trying", flush=True)
while not os.path.exists(stop):
    wanted = [p for p in wanted if not take(p)]
    for s in select.select(list(held), [], [], 0.001 if wanted else 0.1)[0]:
        answer(s)
print("ended", flush=True)
