// Node.js 20 lacks what js-libp2p 3 uses everywhere.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((done, fail) => { resolve = done; reject = fail })
  return { promise, resolve, reject }
}
