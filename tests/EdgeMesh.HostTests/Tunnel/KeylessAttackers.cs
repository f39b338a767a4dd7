using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Tunnel.Identity;

namespace EdgeMesh.HostTests.Tunnel;

internal enum KeylessAttack
{
    /// <summary>Connects and resets.</summary>
    Connect,

    /// <summary>Speaks another protocol.</summary>
    Foreign,

    /// <summary>A first flight that another key proves, for this node.</summary>
    OtherKey,

    /// <summary>A first flight of plain libp2p, and streams opened and reset behind it.</summary>
    OpenAndReset,

    /// <summary>Connections that say nothing, or half of a first flight, held open and opened again when they are closed.</summary>
    Hold,
}

/// <summary>Two threads in a network namespace that attack one address at full speed, from as many addresses as asked.</summary>
internal sealed partial class KeylessAttackers : IDisposable
{
    private const string OtherKeyText = "TN5djU0LvTrty/WhYU2wMHo7RnKNDvpOTuVngmI0Tsc=";
    private const int HeldPerAddress = 33;
    private static readonly TimeSpan Slice = TimeSpan.FromSeconds(10);

    private readonly NetworkNamespace[] _threads;
    private readonly IPEndPoint _target;
    private readonly byte[] _otherKey;
    private readonly byte[] _openAndReset;

    /// <param name="onlyIdle">They take only processor time that nobody else wants, so that what others lose they lose to what the
    /// attack has its victim do.</param>
    public KeylessAttackers(string space, IPEndPoint target, bool onlyIdle = false)
    {
        _threads = [new NetworkNamespace(space), new NetworkNamespace(space)];
        foreach (var thread in onlyIdle ? _threads : [])
            thread.Run(TakeIdleTimeOnly);
        _target = target;
        _otherKey = Flight(isProven: true);
        var frames = new byte[2 * 12 * 1_000];
        for (var i = 0; i < frames.Length; i += 12)
        {
            frames[i + 3] = i % 24 == 0 ? (byte)1 : (byte)8;
            BinaryPrimitives.WriteInt32BigEndian(frames.AsSpan(i + 4), i / 24 * 2 + 1);
        }

        _openAndReset = [.. Flight(isProven: false), .. frames];
    }

    /// <summary>Attacks for so long, or until told, and says how many connections were tried.</summary>
    public async Task<long> RunAsync(KeylessAttack kind, string[] addresses, TimeSpan time, CancellationToken enough = default)
    {
        var tried = await Task.WhenAll(_threads.Select((thread, part) => Task.Run(() =>
        {
            var mine = addresses.Where((_, i) => addresses.Length == 1 || i % _threads.Length == part).Select(IPAddress.Parse).ToArray();
            var count = 0L;
            var watch = Stopwatch.StartNew();
            while (watch.Elapsed < time && !enough.IsCancellationRequested)
            {
                var left = time - watch.Elapsed;
                count += thread.Run(() => Attack(kind, mine, left < Slice ? left : Slice, enough));
            }

            return count;
        })));
        return tried.Sum();
    }

    private long Attack(KeylessAttack kind, IPAddress[] from, TimeSpan time, CancellationToken enough)
    {
        var held = new Dictionary<IPAddress, Queue<Socket>>();
        var watch = Stopwatch.StartNew();
        var tried = 0;
        try
        {
            for (; watch.Elapsed < time && !enough.IsCancellationRequested; tried++)
            {
                var address = from[tried % from.Length];
                if (kind == KeylessAttack.Hold)
                {
                    Hold(address, held, tried);
                    continue;
                }

                if (TryConnect(address) is not { } socket)
                    continue;
                using (socket)
                    Send(socket, Words(kind));
            }
        }
        finally
        {
            foreach (var socket in held.Values.SelectMany(queue => queue))
                socket.Dispose();
        }

        return tried;
    }

    private byte[] Words(KeylessAttack kind) => kind switch
    {
        KeylessAttack.Foreign => "GET / HTTP/1.1\r\nHost: somebody\r\n\r\n"u8.ToArray(),
        KeylessAttack.OtherKey => _otherKey,
        KeylessAttack.OpenAndReset => _openAndReset,
        _ => [],
    };

    private void Hold(IPAddress address, Dictionary<IPAddress, Queue<Socket>> held, int number)
    {
        if (!held.TryGetValue(address, out var queue))
            held.Add(address, queue = new Queue<Socket>());
        // The oldest has been closed from the other side, or will be next.
        if (queue.Count >= HeldPerAddress)
            queue.Dequeue().Dispose();
        if (TryConnect(address) is not { } socket)
            return;
        if (number % 2 == 0)
            Send(socket, _otherKey.AsSpan(0, 40));
        queue.Enqueue(socket);
    }

    private Socket? TryConnect(IPAddress from)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, LingerState = new LingerOption(true, 0) };
        try
        {
            socket.Bind(new IPEndPoint(from, 0));
            socket.Connect(_target);
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    private static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        try
        {
            if (!bytes.IsEmpty)
                socket.Send(bytes);
        }
        catch (SocketException)
        {
            // Closed already.
        }
    }

    private static unsafe void TakeIdleTimeOnly()
    {
        const int SCHED_IDLE = 5;
        var priority = 0;
        if (SetScheduler(0, SCHED_IDLE, &priority) != 0)
            throw new InvalidOperationException("sched_setscheduler(2) refused SCHED_IDLE");
    }

    [LibraryImport("libc", EntryPoint = "sched_setscheduler")]
    private static unsafe partial int SetScheduler(int thread, int policy, int* priority);

    private static byte[] Flight(bool isProven)
    {
        var keys = PresharedKeys.Parse(OtherKeyText, "another key");
        using var identity = keys.DeriveOwn("stranger");
        using var bytes = new ByteQueue(1_000);
        var terms = isProven ? new NoiseTerms { Admission = keys.DeriveAdmission(identity.PeerId), ProvesTo = [identity.PeerId] } : new NoiseTerms();
        using var session = new NoiseSession(true, identity, terms, [], bytes);
        return [.. "\x13/multistream/1.0.0\n\x07/noise\n"u8, .. bytes.Data];
    }

    public void Dispose()
    {
        foreach (var thread in _threads)
            thread.Dispose();
    }
}
