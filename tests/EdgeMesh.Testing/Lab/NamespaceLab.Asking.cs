using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>Who answered: a pod at one of its addresses, and whom it saw as the client.</summary>
public sealed record Answer(string Pod, string Endpoint, string Client)
{
    /// <summary>The port on which the pod was reached.</summary>
    public int Port => IPEndPoint.Parse(Endpoint).Port;

    /// <exception cref="FormatException">Not what a pod says to WHO.</exception>
    public static Answer Parse(string line) =>
        line.Trim().Split(' ') is [var pod, var endpoint, "from", var client]
            ? new Answer(pod, endpoint, client)
            : throw new FormatException($"Not an answer of a pod: '{line}'");
}

public sealed partial class NamespaceLab
{
    /// <summary>Opens one TCP connection and asks who serves it.</summary>
    public async Task<Answer> AskAsync(string role, string target, TimeSpan? deadline = null)
    {
        using var socket = await ConnectAsync(role, target, deadline);
        return await AskAsync(socket, "WHO", deadline);
    }

    /// <param name="command">WHO or HOLD; after HOLD the connection stays open.</param>
    public static async Task<Answer> AskAsync(Socket socket, string command, TimeSpan? deadline = null)
    {
        using var timeout = new CancellationTokenSource((deadline ?? TimeSpan.FromSeconds(10)).Here());
        await socket.SendAsync(Encoding.ASCII.GetBytes(command + "\n"), timeout.Token);
        var buffer = new byte[256];
        var length = 0;
        while (buffer.AsSpan(0, length).IndexOf((byte)'\n') < 0)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(length), timeout.Token);
            if (read == 0)
                throw new IOException($"The connection ended before an answer; it said '{Encoding.ASCII.GetString(buffer, 0, length)}'.");
            length += read;
        }

        return Answer.Parse(Encoding.ASCII.GetString(buffer, 0, length));
    }

    public async Task<ImmutableArray<Answer>> AskTimesAsync(string role, string target, int times)
    {
        var answers = ImmutableArray.CreateBuilder<Answer>(times);
        for (var i = 0; i < times; i++)
            answers.Add(await AskAsync(role, target));
        return answers.ToImmutable();
    }

    /// <summary>Sends one datagram from a fresh socket and returns what came back.</summary>
    public async Task<byte[]> AskUdpAsync(string role, string target, byte[] datagram, TimeSpan? deadline = null)
    {
        var endpoint = IPEndPoint.Parse(target);
        using var socket = this[role].NewSocket(endpoint.AddressFamily, SocketType.Dgram);
        await socket.ConnectAsync(endpoint);
        return await ExchangeAsync(socket, datagram, deadline);
    }

    /// <summary>One datagram out and one back on a connected socket; an ICMP error becomes a <see cref="SocketException"/>.</summary>
    public static async Task<byte[]> ExchangeAsync(Socket socket, byte[] datagram, TimeSpan? deadline = null)
    {
        using var timeout = new CancellationTokenSource((deadline ?? TimeSpan.FromSeconds(5)).Here());
        await socket.SendAsync(datagram, timeout.Token);
        var buffer = new byte[65_536];
        var read = await socket.ReceiveAsync(buffer, timeout.Token);
        return buffer[..read];
    }
}
