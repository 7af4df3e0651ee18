// Echoes over WebSocket with the package ws. Prints the port that it listens on. Its argument says
// how it compresses. A text "close CODE REASON" makes it close.
const WebSocket = require('ws');

const perMessageDeflate = JSON.parse(process.argv[2]) || false;
const server = new WebSocket.Server({host: '127.0.0.1', port: 0, perMessageDeflate}, () =>
  console.log(server.address().port),
);
server.on('connection', (socket) => {
  socket.ping('hello');
  socket.on('message', (data, isBinary) => {
    const words = isBinary ? [] : data.toString().split(' ');
    if (words[0] === 'close') {
      socket.close(Number(words[1]), words.slice(2).join(' '));
    } else if (data.length > 2) {
      const half = Math.floor(data.length / 2);
      socket.send(data.subarray(0, half), {binary: isBinary, fin: false});
      socket.send(data.subarray(half), {binary: isBinary, fin: true});
    } else {
      socket.send(data, {binary: isBinary});
    }
  });
});
