namespace EdgeMesh.Testing.Lab;

/// <summary>For a client that asks as long as a test lasts: two hundred times a second at most. A client without a pause takes a
/// core from all other tests, and sees no more of what lasts for seconds.</summary>
public sealed class ClientPace : IDisposable
{
    private readonly PeriodicTimer _timer = new(TimeSpan.FromMilliseconds(5));

    public async Task NextAsync() => await _timer.WaitForNextTickAsync();

    public void Dispose() => _timer.Dispose();
}
