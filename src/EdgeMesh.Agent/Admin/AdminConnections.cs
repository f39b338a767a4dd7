using Microsoft.AspNetCore.Connections;

namespace EdgeMesh.Agent.Admin;

/// <summary>Keeps the number of connections bounded without ever refusing one: the newcomer may be the probe that decides about
/// the pod's life, and what gives way for it is the connection that was idle longest, else the one that has been at its request
/// longest.</summary>
internal sealed class AdminConnections
{
    public const int Limit = 64;

    private readonly Lock _gate = new();

    /// <summary>The one whose state changed longest ago first.</summary>
    private readonly LinkedList<AdminConnection> _open = [];

    public ConnectionDelegate Middleware(ConnectionDelegate next) => async connection =>
    {
        var mine = new AdminConnection(this, connection);
        connection.Features.Set(mine);
        Add(mine);
        try
        {
            await next(connection);
        }
        finally
        {
            Remove(mine);
        }
    };

    internal void Mark(AdminConnection connection, bool busy)
    {
        lock (_gate)
        {
            connection.IsBusy = busy;
            if (connection.Place.List is null)
                return;
            _open.Remove(connection.Place);
            _open.AddLast(connection.Place);
        }
    }

    private void Add(AdminConnection mine)
    {
        AdminConnection? giving = null;
        lock (_gate)
        {
            if (_open.Count >= Limit)
            {
                giving = _open.FirstOrDefault(connection => !connection.IsBusy) ?? _open.First!.Value;
                _open.Remove(giving.Place);
            }

            _open.AddLast(mine.Place);
        }

        giving?.Context.Abort(new ConnectionAbortedException("Another connection needs the place."));
    }

    private void Remove(AdminConnection mine)
    {
        lock (_gate)
        {
            if (mine.Place.List is not null)
                _open.Remove(mine.Place);
        }
    }
}

/// <summary>One connection's place, found by its requests among the connection's features.</summary>
internal sealed class AdminConnection
{
    private readonly AdminConnections _all;

    public AdminConnection(AdminConnections all, ConnectionContext context)
    {
        _all = all;
        Context = context;
        Place = new LinkedListNode<AdminConnection>(this);
    }

    public ConnectionContext Context { get; }

    internal LinkedListNode<AdminConnection> Place { get; }

    /// <summary>Has a whole request that is being answered.</summary>
    internal bool IsBusy { get; set; }

    public void Begin() => _all.Mark(this, busy: true);

    public void End() => _all.Mark(this, busy: false);
}
