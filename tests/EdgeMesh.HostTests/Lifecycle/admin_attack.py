# Holds and floods the admin address in every way at once. Says "holding" once it has begun, "answers N" at the end.
# Argument: a file that ends it.
import os, socket, sys, threading, time

stop = sys.argv[1]
answers = 0
WAYS = [b"", b"GET /livez HTTP/1.1\r\nHos", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"]


def hold(way):
    # Seventy at a time, more than there are places; one that is closed is opened again.
    held = []
    while not os.path.exists(stop):
        try:
            s = socket.create_connection(("127.0.0.1", 9999), 2)
            s.sendall(way)
            held.append(s)
        except OSError:
            time.sleep(0.02)
        if len(held) > 70:
            held.pop(0).close()
        time.sleep(0.005)


def flood():
    global answers
    while not os.path.exists(stop):
        try:
            s = socket.create_connection(("127.0.0.1", 9999), 2)
            s.settimeout(5)
            while not os.path.exists(stop):
                # Whole requests, whose answers are only half read.
                s.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if not s.recv(1000):
                    break
                answers += 1
            s.close()
        except OSError:
            time.sleep(0.02)


threads = [threading.Thread(target=hold, args=(way,)) for way in WAYS] + [threading.Thread(target=flood) for _ in range(4)]
for t in threads:
    t.start()
time.sleep(1)
print("holding", flush=True)
for t in threads:
    t.join()
print("answers", answers, flush=True)
