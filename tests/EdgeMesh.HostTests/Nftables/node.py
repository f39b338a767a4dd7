"""serve ADDRESS...: answers each TCP connection and datagram on ADDRESS (tcp/IP/PORT or udp/IP/PORT) with IP.
ask PROTOCOL IP PORT COUNT SOURCE: prints what each of COUNT connections was answered, or what went wrong.
hold IP PORT: opens a connection and answers each line of input with a line that came back through it."""
import selectors
import socket
import sys


def family(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def serve(addresses):
    selector = selectors.DefaultSelector()
    for address in addresses:
        protocol, ip, port = address.split("/")
        s = socket.socket(family(ip), socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((ip, int(port)))
        if protocol == "tcp":
            s.listen(64)
        selector.register(s, selectors.EVENT_READ, (protocol, ip))
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            protocol, ip = key.data
            if protocol == "tcp":
                connection, _ = key.fileobj.accept()
                connection.sendall(ip.encode() + b"\n")
                selector.register(connection, selectors.EVENT_READ, ("echo", ip))
            elif protocol == "udp":
                _, peer = key.fileobj.recvfrom(2048)
                key.fileobj.sendto(ip.encode(), peer)
            else:
                data = key.fileobj.recv(2048)
                if data:
                    key.fileobj.sendall(data)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def ask(protocol, ip, port, count, source):
    for _ in range(int(count)):
        s = socket.socket(family(ip), socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(2)
        try:
            if source:
                s.bind((source, 0))
            s.connect((ip, int(port)))
            if protocol == "udp":
                s.send(b"?")
            print(s.recv(100).decode().strip())
        except OSError as e:
            print(type(e).__name__)
        s.close()


def hold(ip, port):
    s = socket.create_connection((ip, int(port)), 2)
    f = s.makefile("rw")
    print(f.readline().strip(), flush=True)
    for line in sys.stdin:
        f.write(line)
        f.flush()
        print(f.readline().strip(), flush=True)


if sys.argv[1] == "serve":
    serve(sys.argv[2:])
elif sys.argv[1] == "ask":
    ask(*sys.argv[2:7])
else:
    hold(*sys.argv[2:4])
