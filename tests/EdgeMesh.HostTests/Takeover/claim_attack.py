# What a process can try against the claim. Says "GOT" for every attempt that worked, "tried N" at the end.
# Arguments: inside | outside (root with all capabilities in a user and network namespace of its own, with sockets that were
# opened on the node before)
import ctypes, os, re, socket, subprocess, sys, time

knock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
spare = [socket.socket(socket.AF_UNIX) for _ in range(400)]
claim = re.compile(r"edgemesh-agent (edgemesh-agent-[0-9a-f]+) [0-9]+ ([0-9]+)")
held = []


def bind(name):
    s = spare.pop()
    try:
        s.bind("\0" + name)
        s.listen(8)
        held.append(s)
    except OSError:
        spare.append(s)


def visit(name, port):
    try:
        knock.sendto(b"A" * 32, (port, 0))
        print("GOT a knock through", flush=True)
    except PermissionError:
        pass
    except OSError:
        pass
    s = spare.pop()
    s.settimeout(0.2)
    try:
        s.connect("\0" + name)
        # With as many descriptors as one message takes, for the agent's table.
        socket.send_fds(s, [b"A" * 32 + b"\nfreeze\nrelease\n"], [s.fileno()] * 250)
        answer = s.recv(100)
        if answer:
            print("GOT an answer", answer, flush=True)
    except OSError:
        pass
    s.close()


tried = 0
bind("edgemesh-agent")
print("trying", flush=True)
link = subprocess.run(["ip", "-o", "link", "show", "edgemesh0"], capture_output=True, text=True).stdout
if sys.argv[1] == "outside":
    if ctypes.CDLL(None).unshare(0x10000000 | 0x40000000) != 0:
        sys.exit("unshare")
seen = set()
end = time.time() + 60
while time.time() < end and len(spare) > 10 and not os.path.exists(sys.argv[2]):
    if sys.argv[1] == "inside":
        link = subprocess.run(["ip", "-o", "link", "show", "edgemesh0"], capture_output=True, text=True).stdout
        if subprocess.run(["ip", "link", "set", "edgemesh0", "alias", "edgemesh-agent x"], capture_output=True).returncode == 0:
            print("GOT the alias written", flush=True)
    for name, port in claim.findall(link):
        seen.add(name)
        visit(name, int(port))
        tried += 1
    for name in seen:
        bind(name)
    bind("edgemesh-agent")
    time.sleep(0.02)
print("tried", tried, "of", len(seen), flush=True)
