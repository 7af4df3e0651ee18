"use strict";

// Each check returns what the table shows, or throws.
const checks = {
    "protocol of the page": async () => location.protocol,
    "style sheet": async () => {
        const margin = getComputedStyle(document.body).marginTop;
        return margin === "32px" ? "applied" : fail(margin);
    },
    "range of a file": async () => {
        const answer = await fetch("numbers.txt", { headers: { Range: "bytes=10-19" } });
        return `${answer.status} ${await answer.text()}`;
    },
    "upload of 1 MiB to a proxied path": async () => {
        const body = new Uint8Array(1 << 20).fill(120);
        const answer = await fetch("/api/upload", { method: "POST", body });
        return `${answer.status} ${await answer.text()}`;
    },
    "WebSocket: extensions": async () => (await socket).extensions,
    "WebSocket: text": async () => exchange("grüße €"),
    "WebSocket: 1 MiB of bytes": async () => {
        const bytes = new Uint8Array(1 << 20);
        for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31) ^ (i >> 8);
        const back = new Uint8Array(await exchange(bytes));
        const isSame = back.length === bytes.length && back.every((it, i) => it === bytes[i]);
        return isSame ? "the same bytes came back" : fail("other bytes came back");
    },
    "WebSocket: 1,000 messages at once": async () => {
        const own = Array.from({ length: 1000 }, (_, i) => `message ${i}`);
        const all = await Promise.all(own.map(exchange));
        return all.every((it, i) => it === own[i]) ? "in order" : fail("not in order");
    },
    "WebSocket: end": async () => {
        const open = await socket;
        const ended = new Promise((done) => open.addEventListener("close", done));
        open.close(1000, "done");
        const { code, wasClean } = await ended;
        return `${code} ${wasClean ? "clean" : "not clean"}`;
    },
};

function fail(why) {
    throw new Error(why);
}

const socket = new Promise((done, failed) => {
    const opening = new WebSocket(`wss://${location.host}/echo`);
    opening.binaryType = "arraybuffer";
    opening.onopen = () => done(opening);
    opening.onerror = () => failed(new Error("the WebSocket failed"));
});

const waiting = [];

async function exchange(message) {
    const open = await socket;
    open.onmessage = ({ data }) => waiting.shift()(data);
    return new Promise((done) => {
        waiting.push(done);
        open.send(message);
    });
}

async function run() {
    const lines = [];
    for (const [name, check] of Object.entries(checks)) {
        const result = await check().catch((error) => `FAILED ${error.message}`);
        const row = document.getElementById("checks").insertRow();
        row.insertCell().textContent = name;
        row.insertCell().textContent = result;
        lines.push(`${name}: ${result}\n`);
    }
    await fetch("/api/report", { method: "POST", body: lines.join("") });
}

run();
