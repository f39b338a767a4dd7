using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Select;

/// <summary>How a negotiation stands.</summary>
public enum SelectionState
{
    /// <summary>More has to arrive.</summary>
    Pending,

    /// <summary>Both sides speak <see cref="ProtocolSelection.Protocol"/>; the next byte belongs to it.</summary>
    Agreed,

    /// <summary>The listener speaks none of what the dialer offered.</summary>
    Refused,
}

/// <summary>
/// multistream-select 1.0.0 without any I/O, either side:
/// <code>
///   dialer                          listener
///   /multistream/1.0.0    &lt;->       /multistream/1.0.0     both at once
///   /proto                 ->       /proto | na            again until agreed
/// </code>
/// The dialer's header and first offer leave in one write.
/// </summary>
public sealed class ProtocolSelection : IDisposable
{
    /// <summary>A dialer may guess wrong this often before the listener gives up.</summary>
    private const int MaxOffers = 32;

    private readonly IReadOnlyList<string>? _offers;
    private readonly Func<string, bool>? _accepts;
    private readonly ByteQueue _output;
    private readonly ByteQueue _partial = new(SelectTokens.MaxLength + Varint.MaxLength);
    private bool _greeted;
    private int _offered;

    private ProtocolSelection(IReadOnlyList<string>? offers, Func<string, bool>? accepts, ByteQueue output)
    {
        _offers = offers;
        _accepts = accepts;
        _output = output;
        SelectTokens.Append(output, SelectTokens.Header);
        if (offers is not null)
            SelectTokens.Append(output, offers[0]);
    }

    /// <summary>How the negotiation stands.</summary>
    public SelectionState State { get; private set; }

    /// <summary>What was agreed on.</summary>
    public string? Protocol { get; private set; }

    /// <summary>The dialer's side: offers each in turn.</summary>
    public static ProtocolSelection Dial(IReadOnlyList<string> offers, ByteQueue output)
    {
        if (offers.Count == 0)
            throw new ArgumentException("offer at least one protocol", nameof(offers));
        return new ProtocolSelection(offers, accepts: null, output);
    }

    /// <summary>The listener's side: takes the first offer that <paramref name="accepts"/>.</summary>
    public static ProtocolSelection Listen(Func<string, bool> accepts, ByteQueue output) => new(offers: null, accepts, output);

    /// <summary>Takes what has arrived, up to the end of the negotiation: what is left then belongs to the protocol.</summary>
    /// <exception cref="PeerProtocolException">The peer does not speak multistream-select.</exception>
    public SelectionState Receive(ref ReadOnlySpan<byte> input)
    {
        while (State == SelectionState.Pending && !input.IsEmpty)
        {
            // Byte by byte: a token is short, and not one byte of what follows may be taken.
            _partial.Append(input[..1]);
            input = input[1..];
            if (SelectTokens.TryRead(_partial.Data, out var token, out var consumed))
            {
                _partial.Consume(consumed);
                Take(token);
            }
        }

        return State;
    }

    private void Take(string token)
    {
        if (!_greeted)
        {
            if (token != SelectTokens.Header)
                throw new PeerProtocolException("the peer does not speak multistream-select 1.0.0");
            _greeted = true;
        }
        else if (_offers is not null)
        {
            TakeAnswer(token);
        }
        else
        {
            TakeOffer(token);
        }
    }

    private void TakeAnswer(string token)
    {
        if (token == _offers![_offered])
        {
            Protocol = token;
            State = SelectionState.Agreed;
        }
        else if (token != SelectTokens.NotAvailable)
        {
            throw new PeerProtocolException("the peer answered with another protocol than was offered");
        }
        else if (++_offered == _offers.Count)
        {
            State = SelectionState.Refused;
        }
        else
        {
            SelectTokens.Append(_output, _offers[_offered]);
        }
    }

    private void TakeOffer(string token)
    {
        if (_accepts!(token))
        {
            SelectTokens.Append(_output, token);
            Protocol = token;
            State = SelectionState.Agreed;
            return;
        }

        SelectTokens.Append(_output, SelectTokens.NotAvailable);
        if (++_offered == MaxOffers)
            State = SelectionState.Refused;
    }

    public void Dispose() => _partial.Dispose();
}
