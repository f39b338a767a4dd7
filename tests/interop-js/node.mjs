// A js-libp2p node that a test drives: one JSON command per line on standard input, one JSON answer per line on
// standard output. Started as: node --import ./polyfill.mjs node.mjs '{"security": "noise", …}'
import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify, identifyPush } from '@libp2p/identify'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const ECHO = '/test/echo/1.0.0'
const options = JSON.parse(process.argv[2] ?? '{}')

const node = await createLibp2p({
  addresses: { listen: options.listen ?? ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp(), circuitRelayTransport()],
  connectionEncrypters: [options.security === 'tls' ? tls() : noise()],
  streamMuxers: [yamux({ maxInboundStreams: 2000, maxOutboundStreams: 2000 })],
  connectionProtector: options.psk ? preSharedKey({ psk: new TextEncoder().encode(options.psk) }) : undefined,
  connectionGater: { denyDialMultiaddr: () => false },
  services: {
    identify: identify(),
    identifyPush: identifyPush(),
    ping: ping(),
    ...(options.relay ? { relay: circuitRelayServer({ reservations: { applyDefaultLimit: false } }) } : {})
  }
})

const handling = { runOnLimitedConnection: true, maxInboundStreams: 2000, maxOutboundStreams: 2000 }

// Sends back whatever comes, and ends when the other side has ended. A stream says that only once, also to nobody: iterating
// over one whose other side ended before the handler was called gives its bytes and then waits for ever.
await node.handle(ECHO, async (stream) => {
  try {
    const ended = stream.remoteWriteStatus === 'closed'
      ? Promise.resolve()
      : new Promise((resolve, reject) => {
        stream.addEventListener('remoteCloseWrite', resolve)
        stream.addEventListener('close', (event) => { event.error ? reject(event.error) : resolve() })
      })
    stream.addEventListener('message', (event) => { stream.send(event.data) })
    await ended
    await stream.close()
  } catch (err) {
    stream.abort(err)
  }
}, handling)

// Sends `size` bytes over the stream, ends its direction, and counts what comes back.
async function exchange (connection, size) {
  const stream = await connection.newStream(ECHO, handling)
  const chunk = new Uint8Array(Math.min(size, 65536)).map((_, i) => i * 7)
  const sending = (async () => {
    for (let left = size; left > 0; left -= chunk.length) {
      if (!stream.send(chunk.subarray(0, Math.min(left, chunk.length))) && left > chunk.length) await stream.onDrain()
    }
    await stream.close()
  })()
  let received = 0
  let good = true
  for await (const part of stream) {
    for (const byte of part instanceof Uint8Array ? part : part.subarray()) {
      good &&= byte === chunk[received % chunk.length]
      received++
    }
  }
  await sending
  return good ? received : -1
}

const commands = {
  info: async () => ({ peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) }),
  dial: async ({ address }) => {
    const connection = await node.dial(multiaddr(address))
    return { peer: connection.remotePeer.toString(), encryption: connection.encryption, multiplexer: connection.multiplexer }
  },
  echo: async ({ peer, size }) => ({ received: await exchange(node.getConnections(peerIdFromString(peer))[0], size) }),
  streams: async ({ peer, count }) => {
    const connection = node.getConnections(peerIdFromString(peer))[0]
    const sizes = await Promise.all(Array.from({ length: count }, async (_, i) => await exchange(connection, 100 + i)))
    return { good: sizes.filter((size, i) => size === 100 + i).length }
  },
  ping: async ({ peer }) => ({ milliseconds: await node.services.ping.ping(peerIdFromString(peer)) }),
  identified: async ({ peer }) => {
    const known = await node.peerStore.get(peerIdFromString(peer))
    return {
      protocols: known.protocols,
      agent: known.metadata.has('AgentVersion') ? new TextDecoder().decode(known.metadata.get('AgentVersion')) : ''
    }
  }
}

const answer = (object) => process.stdout.write(JSON.stringify(object) + '\n')

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line)
    Promise.resolve(commands[command.do](command)).then(
      (result) => answer({ id: command.id, ...result }),
      (err) => answer({ id: command.id, error: String(err?.stack ?? err) }))
  })
  .on('close', () => { process.exit(0) })
answer({ id: 0, peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) })
