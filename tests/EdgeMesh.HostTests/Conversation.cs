using System.Net.Sockets;
using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests;

/// <summary>What tests say over a connection to a <see cref="PodServer"/>.</summary>
internal static class Conversation
{
    /// <summary>Sends a text on a connection that began with ECHO, and waits until the same has come back.</summary>
    public static async Task EchoAsync(Socket socket, string text)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(30).Here());
        var bytes = Encoding.ASCII.GetBytes(text);
        await socket.SendAsync(bytes, timeout.Token);
        var buffer = new byte[bytes.Length];
        for (var got = 0; got < buffer.Length;)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(got), timeout.Token);
            if (read == 0)
                throw new IOException($"The connection of '{text}' ended.");
            got += read;
        }

        Assert.Equal(text, Encoding.ASCII.GetString(buffer));
    }
}
