using System.Runtime.InteropServices;

namespace EdgeMesh.LibP2P.Admission;

/// <summary>
/// A bounded number of places for connections that still have to do something, shared among the addresses they come from:
/// <code>
///   a share at its own bound      its oldest holder gives way to its next
///   all places taken              the share with most gives way, by its oldest holder
///   places for known shares       unknown ones never take the last few, nor give them up
/// </code>
/// Whoever opens many so displaces himself, however quick he is. Not thread-safe.
/// </summary>
/// <param name="total">All places.</param>
/// <param name="perShare">Places of one share.</param>
/// <param name="reserved">How many of all only known shares can take.</param>
/// <param name="grace">A holder younger than this is not displaced: whoever comes then is turned away.</param>
public sealed class FairPlaces<T>(int total, int perShare, int reserved, TimeSpan grace, TimeProvider time)
{
    private const int None = -1;

    private readonly Dictionary<AddressShare, Share> _shares = [];
    private Place[] _places = new Place[Math.Min(total, 16)];
    private int _used;
    private int _free = None;
    private int _oldest = None;
    private int _newest = None;
    private int _unknown;

    /// <summary>Places taken.</summary>
    public int Count { get; private set; }

    /// <summary>Takes a place; false if there is none for this one.</summary>
    /// <param name="ticket">For <see cref="Return"/>.</param>
    /// <param name="displaced">Who has lost a place by it, and is to be closed by the caller.</param>
    public bool TryTake(AddressShare from, bool isKnown, T holder, out long ticket, out (bool Is, T Holder) displaced)
    {
        displaced = default;
        ticket = None;
        NoteKnown(from, isKnown);
        var count = _shares.TryGetValue(from, out var share) ? share.Count : 0;
        if (count >= perShare)
        {
            if (!TryDisplace(share.Oldest, out displaced))
                return false;
        }
        else if (Count >= total || (!isKnown && _unknown >= total - reserved))
        {
            if (!TryDisplace(MostHeld(knownToo: isKnown && _unknown == 0), out displaced))
                return false;
        }

        ticket = Add(from, isKnown, holder);
        return true;
    }

    /// <summary>Gives a place back; nothing if its holder was displaced before.</summary>
    public void Return(long ticket)
    {
        var index = (int)(uint)ticket;
        if (ticket >= 0 && index < _used && _places[index].Generation == (uint)(ticket >> 32) && _places[index].IsTaken)
            Remove(index);
    }

    /// <summary>Who holds the place of a ticket.</summary>
    public bool TryGet(long ticket, out T holder)
    {
        var index = (int)(uint)ticket;
        var holds = ticket >= 0 && index < _used && _places[index].Generation == (uint)(ticket >> 32) && _places[index].IsTaken;
        holder = holds ? _places[index].Holder : default!;
        return holds;
    }

    /// <summary>Takes the place of whoever has held one for longer than this, one for each call.</summary>
    public bool TryTakeOverdue(TimeSpan age, out T holder)
    {
        holder = default!;
        if (_oldest == None || time.GetElapsedTime(_places[_oldest].Since) < age)
            return false;
        holder = _places[_oldest].Holder;
        Remove(_oldest);
        return true;
    }

    private void NoteKnown(AddressShare from, bool isKnown)
    {
        ref var share = ref CollectionsMarshal.GetValueRefOrNullRef(_shares, from);
        if (System.Runtime.CompilerServices.Unsafe.IsNullRef(ref share) || share.IsKnown == isKnown)
            return;
        share.IsKnown = isKnown;
        _unknown += isKnown ? -share.Count : share.Count;
    }

    /// <summary>The oldest holder of the share with most; of several, the oldest of all.</summary>
    private int MostHeld(bool knownToo)
    {
        var (most, found) = (0, None);
        foreach (var share in _shares.Values)
        {
            if (share.IsKnown && !knownToo)
                continue;
            if (share.Count > most || (share.Count == most && _places[share.Oldest].Since < _places[found].Since))
                (most, found) = (share.Count, share.Oldest);
        }

        return found;
    }

    private bool TryDisplace(int index, out (bool Is, T Holder) displaced)
    {
        displaced = default;
        if (index == None || time.GetElapsedTime(_places[index].Since) < grace)
            return false;
        displaced = (true, _places[index].Holder);
        Remove(index);
        return true;
    }

    private long Add(AddressShare from, bool isKnown, T holder)
    {
        var index = _free;
        if (index != None)
        {
            _free = _places[index].Next;
        }
        else
        {
            index = _used++;
            if (index == _places.Length)
                Array.Resize(ref _places, Math.Min(total, index * 2));
        }

        ref var place = ref _places[index];
        ref var share = ref CollectionsMarshal.GetValueRefOrAddDefault(_shares, from, out var exists);
        if (!exists)
            share = new Share { IsKnown = isKnown, Oldest = None, Newest = None };
        place = new Place
        {
            Holder = holder, From = from, Since = time.GetTimestamp(), IsTaken = true, Generation = (place.Generation + 1) & int.MaxValue,
            Before = _newest, Next = None, BeforeOfShare = share.Newest, NextOfShare = None,
        };
        if (_newest != None)
            _places[_newest].Next = index;
        else
            _oldest = index;
        _newest = index;
        if (share.Newest != None)
            _places[share.Newest].NextOfShare = index;
        else
            share.Oldest = index;
        share.Newest = index;
        share.Count++;
        Count++;
        if (!isKnown)
            _unknown++;
        return ((long)place.Generation << 32) | (uint)index;
    }

    private void Remove(int index)
    {
        ref var place = ref _places[index];
        ref var share = ref CollectionsMarshal.GetValueRefOrNullRef(_shares, place.From);
        if (place.Before != None)
            _places[place.Before].Next = place.Next;
        else
            _oldest = place.Next;
        if (place.Next != None)
            _places[place.Next].Before = place.Before;
        else
            _newest = place.Before;
        if (place.BeforeOfShare != None)
            _places[place.BeforeOfShare].NextOfShare = place.NextOfShare;
        else
            share.Oldest = place.NextOfShare;
        if (place.NextOfShare != None)
            _places[place.NextOfShare].BeforeOfShare = place.BeforeOfShare;
        else
            share.Newest = place.BeforeOfShare;
        Count--;
        if (!share.IsKnown)
            _unknown--;
        if (--share.Count == 0)
            _shares.Remove(place.From);
        place.IsTaken = false;
        place.Holder = default!;
        place.Next = _free;
        _free = index;
    }

    private struct Share
    {
        public int Count;
        public int Oldest;
        public int Newest;
        public bool IsKnown;
    }

    private struct Place
    {
        public T Holder;
        public AddressShare From;
        public long Since;
        public uint Generation;
        public bool IsTaken;
        public int Before;
        public int Next;
        public int BeforeOfShare;
        public int NextOfShare;
    }
}
