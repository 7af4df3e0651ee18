// Talks to an echo over WebSocket with the package ws. Prints "ok" at the end.
const WebSocket = require('ws');
const assert = require('assert');

const SIZES = [0, 1, 63, 64, 125, 126, 127, 1000, 65535, 65536, 300000];

function talk(options) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(process.argv[2], ['v1', 'v2'], options);
    const sent = [];
    let heard = 0;
    let ponged = false;
    socket.on('error', reject);
    socket.on('open', () => {
      assert.strictEqual(socket.protocol, 'v2');
      assert.strictEqual(socket.extensions !== '', options.perMessageDeflate !== false);
      for (const size of SIZES) {
        sent.push('ä'.repeat(size), Buffer.alloc(size, size % 251));
      }
      for (let number = 0; number < 50; number++) {
        sent.push(JSON.stringify({event: 'trade', number, price: '1.0'}));
      }
      sent.forEach((message) => socket.send(message));
      socket.send('in ', {fin: false});
      socket.ping('between');
      socket.send('fragments', {fin: true});
      sent.push('in fragments');
    });
    socket.on('pong', (payload) => {
      assert.strictEqual(payload.toString(), 'between');
      ponged = true;
    });
    socket.on('message', (data, isBinary) => {
      const expected = sent[heard++];
      assert.strictEqual(isBinary, typeof expected !== 'string');
      assert(data.equals(Buffer.from(expected)), `message ${heard}`);
      if (heard === sent.length) socket.close(4321, 'enough');
    });
    socket.on('close', (code) => {
      assert.strictEqual(code, 4321);
      assert.strictEqual(heard, sent.length);
      assert(ponged);
      resolve();
    });
  });
}

async function main() {
  await talk({perMessageDeflate: false});
  for (const takeover of [true, false]) {
    for (const bits of [9, 15]) {
      await talk({
        perMessageDeflate: {
          threshold: 0,
          serverNoContextTakeover: !takeover,
          clientNoContextTakeover: !takeover,
          serverMaxWindowBits: bits,
          clientMaxWindowBits: bits,
        },
      });
    }
  }
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
