using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using EdgeMesh.Net;
using Step = EdgeMesh.Netfilter.Nftables.NftTransaction.Step;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Hands a batch of nf_tables messages to the kernel and waits for its answer.</summary>
/// <param name="batch">From NFNL_MSG_BATCH_BEGIN to NFNL_MSG_BATCH_END; the last message in between asks for an acknowledgement.</param>
/// <param name="sequence">The number that every message of the batch carries.</param>
/// <returns>0, or the error number; then nothing of it is in force.</returns>
public delegate int NftSend(ReadOnlySpan<byte> batch, uint sequence);

/// <summary>The same change as the text of <see cref="NftTransaction"/>, as the messages that nft would make of it
/// (linux/netfilter/nf_tables.h). nft reads every chain of the machine before it sends anything, 30 to 70 ms at 10,000
/// services; the kernel takes such a change in one. Covers what changes often: endpoints, and service ports that come and go.
/// Whatever it does not cover makes the whole change go through nft.</summary>
/// <param name="unlimited">For a whole table, which is sent in several batches.</param>
internal sealed class NftMessages(IpFamily family, bool unlimited = false)
{
    // The length of an attribute is a 16-bit number, and the elements of a message are one attribute.
    private const int MostElementBytes = 32 * 1024;

    // The kernel refuses a batch that is larger than the socket's send buffer, 208 KB unless somebody lowered it.
    private const int MostBytes = 96 * 1024;

    private const int BatchBegin = 0x10, BatchEnd = 0x11, Subsystem = 10;
    private const int NewChain = 3, DeleteChain = 5, NewRule = 6, DeleteRule = 8, NewElement = 12, DeleteElement = 14;
    private const ushort Request = 0x1, Acknowledge = 0x4, Create = 0x400, Append = 0x800;
    private const int NetworkHeader = 1, Mark = 3, Layer4Protocol = 16, Goto = -4, FirstRegister = 1;

    private readonly ArrayBufferWriter<byte>[] steps = [.. Enum.GetValues<Step>().Select(_ => new ArrayBufferWriter<byte>())];
    private readonly (int Type, string Set, int Message, int List)[] lastElement = new (int, string, int, int)[Enum.GetValues<Step>().Length];
    private ArrayBufferWriter<byte> to = new();
    private bool covered = true;

    private int AddressLength => family == IpFamily.IPv4 ? 4 : 16;

    /// <summary>What stands behind an address in a concatenation: registers are 16 bytes, or four numbered from 8.</summary>
    private uint RegisterAfterAddress => family == IpFamily.IPv4 ? 9u : 2u;

    public void GiveUp() => covered = false;

    /// <returns>Whether it had given up since the last call.</returns>
    public bool TakeBackGiveUp()
    {
        var gaveUp = !covered;
        covered = true;
        return gaveUp;
    }

    public void AddChain(string chain) => Chain(Step.Chains, NewChain, Create, chain);

    public void RemoveChain(string chain) => Chain(Step.DeleteChains, DeleteChain, 0, chain);

    /// <summary>Deleting "the rules of a chain" without naming one deletes them all.</summary>
    public void FlushChain(string chain) => Message(Step.Rules, DeleteRule, 0, () =>
    {
        Text(1, NftNames.Table);
        Text(2, chain);
    });

    public void AddPortal(TransportAddress key, string comment, string chain)
    {
        if (!BeginElement(Step.AddPortals, NewElement, NftNames.Portals, out var open))
            return;
        Key(key);
        var data = BeginNest(2);
        var verdict = BeginNest(2);
        Number(1, unchecked((uint)Goto));
        Text(2, chain);
        EndNest(verdict);
        EndNest(data);
        // libnftnl's user data: type 0 (comment), length, text with its closing zero.
        var userData = Space(6, comment.Length + 3);
        userData[1] = (byte)(comment.Length + 1);
        Encoding.ASCII.GetBytes(comment, userData[2..]);
        EndElement(open);
    }

    public void RemovePortal(TransportAddress key)
    {
        if (!BeginElement(Step.DeletePortals, DeleteElement, NftNames.Portals, out var open))
            return;
        Key(key);
        EndElement(open);
    }

    public void AddBackend(string map, int slot, InetEndpoint endpoint)
    {
        if (!BeginElement(Step.AddBackends, NewElement, map, out var open))
            return;
        Slot(slot);
        var data = BeginNest(2);
        var target = Space(1, AddressLength + 4);
        endpoint.Address.WriteBytes(target);
        BinaryPrimitives.WriteUInt16BigEndian(target[AddressLength..], endpoint.Port);
        EndNest(data);
        EndElement(open);
    }

    public void RemoveBackend(string map, int slot)
    {
        if (!BeginElement(Step.DeleteBackends, DeleteElement, map, out var open))
            return;
        Slot(slot);
        EndElement(open);
    }

    public void AddHairpin(InetAddress address) => Hairpin(Step.AddHairpins, NewElement, address);

    public void RemoveHairpin(InetAddress address) => Hairpin(Step.DeleteHairpins, DeleteElement, address);

    /// <summary>The rules of <see cref="NftRules.Slots"/>.</summary>
    public void AddSlotRules(string chain, TransportProtocol protocol, BackendChoice choice, int count, int offset, string map, bool markAll, ImmutableArray<InetAddress> throughListener)
    {
        if (choice is not (BackendChoice.RoundRobin or BackendChoice.Random))
        {
            GiveUp();
            return;
        }

        foreach (var client in throughListener)
        {
            Rule(chain, () =>
            {
                Payload(FirstRegister);
                Expression("cmp", () =>
                {
                    Numbers(1, FirstRegister, 2, 0);
                    Nest(3, () => client.WriteBytes(Space(1, AddressLength)));
                });
                Expression("immediate", () =>
                {
                    Number(1, 0);
                    Nest(2, () => Nest(2, () =>
                    {
                        Number(1, unchecked((uint)Goto));
                        Text(2, NftNames.Listener);
                    }));
                });
            });
        }

        Rule(chain, () =>
        {
            if (!markAll)
            {
                Payload(FirstRegister);
                Payload(RegisterAfterAddress);
                Lookup(NftNames.Hairpin, into: null);
            }

            Expression("meta", () => Numbers(1, FirstRegister, 2, Mark));
            Expression("bitwise", () =>
            {
                Numbers(1, FirstRegister, 2, FirstRegister, 3, 4);
                Nest(4, () => Attribute(1, Host32(~PacketMarks.Masquerade)));
                Nest(5, () => Attribute(1, Host32(PacketMarks.Masquerade)));
            });
            Expression("meta", () => Numbers(2, Mark, 3, FirstRegister));
        });
        Rule(chain, () =>
        {
            Expression("meta", () => Numbers(1, FirstRegister, 2, Layer4Protocol));
            Expression("cmp", () =>
            {
                Numbers(1, FirstRegister, 2, 0);
                Nest(3, () => Attribute(1, [(byte)protocol]));
            });
            Expression("numgen", () => Numbers(
                1, FirstRegister, 2, (uint)count, 3, choice == BackendChoice.Random ? 1u : 0u, 4, (uint)offset));
            Lookup(map, into: FirstRegister);
            Expression("nat", () => Numbers(1, 1, 2, (uint)family, 3, FirstRegister, 5, RegisterAfterAddress));
        });
    }

    /// <returns>Null where the change has to go through nft.</returns>
    public byte[]? ToBatch(uint sequence)
    {
        if (!covered || steps.Sum(s => s.WrittenCount) is 0 or > MostBytes)
            return null;
        var content = new ArrayBufferWriter<byte>(steps.Sum(s => s.WrittenCount));
        foreach (var step in steps)
            content.Write(step.WrittenSpan);
        return ToBatch(content.WrittenSpan, sequence);
    }

    /// <summary>The messages cut into batches, which are to be sent in this order; each is a transaction of its own.</summary>
    /// <param name="most">Bytes in a batch, about.</param>
    public IEnumerable<byte[]> ToBatches(int most, Func<uint> nextSequence)
    {
        foreach (var step in steps)
        {
            var from = 0;
            for (var at = 0; at < step.WrittenCount;)
            {
                at += MemoryMarshal.Read<int>(step.WrittenSpan[at..]);
                if (at - from < most && at < step.WrittenCount)
                    continue;
                yield return ToBatch(step.WrittenSpan[from..at], nextSequence());
                from = at;
            }
        }
    }

    private byte[] ToBatch(ReadOnlySpan<byte> messages, uint sequence)
    {
        to = new ArrayBufferWriter<byte>(messages.Length + 64);
        EndMessage(BeginMessage(BatchBegin, Request, 0, Subsystem));
        var first = to.WrittenCount;
        to.Write(messages);
        var last = to.WrittenCount;
        EndMessage(BeginMessage(BatchEnd, Request, 0, Subsystem));
        var batch = to.WrittenSpan.ToArray();
        var at = first;
        for (var next = at; next < last; next += MemoryMarshal.Read<int>(batch.AsSpan(next)))
            at = next;
        batch[at + 6] |= (byte)Acknowledge;
        for (var message = 0; message < batch.Length; message += MemoryMarshal.Read<int>(batch.AsSpan(message)))
            MemoryMarshal.Write(batch.AsSpan(message + 8), sequence);
        return batch;
    }

    private void Chain(Step step, int type, ushort flags, string chain) => Message(step, type, flags, () =>
    {
        Text(1, NftNames.Table);
        Text(3, chain);
    });

    private void Rule(string chain, Action expressions) => Message(Step.Rules, NewRule, Create | Append, () =>
    {
        Text(1, NftNames.Table);
        Text(2, chain);
        Nest(4, expressions);
    });

    private void Hairpin(Step step, int type, InetAddress address)
    {
        if (!BeginElement(step, type, NftNames.Hairpin, out var open))
            return;
        var key = BeginNest(1);
        var twice = Space(1, AddressLength * 2);
        address.WriteBytes(twice);
        address.WriteBytes(twice[AddressLength..]);
        EndNest(key);
        EndElement(open);
    }

    private void Key(TransportAddress key)
    {
        var nest = BeginNest(1);
        var value = Space(1, AddressLength + 8);
        key.Address.WriteBytes(value);
        value[AddressLength] = (byte)(int)key.Protocol;
        BinaryPrimitives.WriteUInt16BigEndian(value[(AddressLength + 4)..], key.Port);
        EndNest(nest);
    }

    private void Slot(int slot)
    {
        var nest = BeginNest(1);
        // numgen and jhash give numbers in the machine's own order.
        MemoryMarshal.Write(Space(1, 4), slot);
        EndNest(nest);
    }

    /// <summary>Begins an element, in the same message as the one before where that was of the same set: what the kernel spends
    /// on a message is more than on an element. No closure as elsewhere: a cluster of 10,000 services has 200,000 of them.</summary>
    /// <returns>False when nothing is to be written.</returns>
    private bool BeginElement(Step step, int type, string set, out OpenElement open)
    {
        open = default;
        if (!Turn(step))
            return false;
        ref var last = ref lastElement[(int)step];
        if (last.Set != set || last.Type != type || to.WrittenCount - last.List > MostElementBytes)
        {
            var message = BeginMessage((Subsystem << 8) | type, (ushort)(Request | (type == NewElement ? Create : 0)), (byte)family, 0);
            Text(1, NftNames.Table);
            Text(2, set);
            last = (type, set, message, BeginNest(3));
        }

        open = new OpenElement(last.Message, last.List, BeginNest(1));
        return true;
    }

    private void EndElement(OpenElement open)
    {
        EndNest(open.Element);
        EndNest(open.List);
        EndMessage(open.Message);
    }

    private void Payload(uint register) => Expression("payload", () => Numbers(
        1, register, 2, NetworkHeader, 3, family == IpFamily.IPv4 ? 12u : 8u, 4, (uint)AddressLength));

    private void Lookup(string set, uint? into) => Expression("lookup", () =>
    {
        Text(1, set);
        Number(2, FirstRegister);
        if (into is { } register)
            Number(3, register);
    });

    private void Expression(string name, Action data) => Nest(1, () =>
    {
        Text(1, name);
        Nest(2, data);
    });

    private void Message(Step step, int type, ushort flags, Action attributes)
    {
        if (!Turn(step))
            return;
        var message = BeginMessage((Subsystem << 8) | type, (ushort)(Request | flags), (byte)family, 0);
        attributes();
        EndMessage(message);
    }

    /// <summary>What follows is written to that step.</summary>
    /// <returns>False when nothing is to be written.</returns>
    private bool Turn(Step step)
    {
        // A change that has become too large goes through nft; nothing more of it need be kept.
        covered = covered && ((to = steps[(int)step]).WrittenCount <= MostBytes || unlimited);
        return covered;
    }

    /// <summary>struct nlmsghdr and struct nfgenmsg; the sequence number comes last of all.</summary>
    private int BeginMessage(int type, ushort flags, byte messageFamily, ushort resource)
    {
        var start = to.WrittenCount;
        var header = to.GetSpan(20)[..20];
        header.Clear();
        MemoryMarshal.Write(header[4..], (ushort)type);
        MemoryMarshal.Write(header[6..], flags);
        header[16] = messageFamily;
        BinaryPrimitives.WriteUInt16BigEndian(header[18..], resource);
        to.Advance(20);
        return start;
    }

    private void EndMessage(int start) => MemoryMarshal.Write(Written(start), to.WrittenCount - start);

    private void Nest(ushort type, Action inside)
    {
        var start = BeginNest(type);
        inside();
        EndNest(start);
    }

    private int BeginNest(ushort type)
    {
        var start = to.WrittenCount;
        var header = to.GetSpan(4)[..4];
        MemoryMarshal.Write(header[2..], (ushort)(type | 0x8000));
        to.Advance(4);
        return start;
    }

    private void EndNest(int start) => MemoryMarshal.Write(Written(start), (ushort)(to.WrittenCount - start));

    private void Attribute(ushort type, ReadOnlySpan<byte> value) => value.CopyTo(Space(type, value.Length));

    /// <returns>Where the value of a new attribute goes; it is zero, and valid until the next attribute.</returns>
    private Span<byte> Space(ushort type, int bytes)
    {
        var length = 4 + bytes;
        var aligned = (length + 3) & ~3;
        var space = to.GetSpan(aligned)[..aligned];
        space.Clear();
        MemoryMarshal.Write(space, (ushort)length);
        MemoryMarshal.Write(space[2..], type);
        to.Advance(aligned);
        return space.Slice(4, bytes);
    }

    private void Text(ushort type, string text)
    {
        // With its closing zero. Names are ASCII.
        Encoding.ASCII.GetBytes(text, Space(type, text.Length + 1));
    }

    private void Number(ushort type, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        Attribute(type, bytes);
    }

    /// <summary>Attributes of 32 bits.</summary>
    /// <param name="pairs">Type, value, type, value.</param>
    private void Numbers(params ReadOnlySpan<uint> pairs)
    {
        for (var i = 0; i < pairs.Length; i += 2)
            Number((ushort)pairs[i], pairs[i + 1]);
    }

    // ArrayBufferWriter gives its written part for reading only; it is our own array.
    private Span<byte> Written(int start) => MemoryMarshal.AsMemory(to.WrittenMemory).Span[start..];

    private static byte[] Host32(uint value)
    {
        var bytes = new byte[4];
        MemoryMarshal.Write(bytes, value);
        return bytes;
    }

    private readonly record struct OpenElement(int Message, int List, int Element);
}
