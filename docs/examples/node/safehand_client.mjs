// A small client of Safehand's interface for case systems. Node 20 or newer, no package needed: copy what you need.
//
//   node safehand_client.mjs --url https://gateway.example:8444 --token-file token --state DIR COMMAND ..
//
//   send --job JOB FILE              FILE: {"partner", "type", "facts", "body"}; the same JOB is never sent twice
//   state ID                         where a message of ours stands
//   inbox                            headers of what came since the last call, a line each
//   take SENDER ID                   our case system has it now
//   open SENDER ID --role ROLE --out FILE    a person opened it; the record goes into FILE, never to the screen
//   answer SENDER ID --job JOB FILE  FILE: {"type", "facts", "body"}
//   listen --port PORT --secret-file FILE    receives webhooks, a line each (behind your own TLS)
//
// What is worth copying: the idempotency key is on disk before anything is sent, so a crash at any point sends nothing twice;
// a message of the inbox is told once, also where the list begins again after the gateway was restored from a backup; 429, 503 and a broken connection are tried again, with the same key; token and secret come from private files; nothing that
// a record says is ever printed; a redirect is not followed, so the token goes nowhere else.

import { createHash, createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import path from "node:path";
import { parseArgs } from "node:util";

const TRIES = 6;
const LONGEST_WAIT = 60; // seconds
const TIMEOUT = 30_000; // milliseconds for one request
const JOB = /^[A-Za-z0-9_-]{1,100}$/; // your own number for a piece of work; never a name or a case reference

/** What ends the program with a sentence. */
class Ended extends Error {}

/** The gateway said no: `code` is stable, `breaches` name every place and rule, and never a value. */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.code ?? `http.${status}`);
    this.status = status;
    this.code = this.message;
    this.breaches = problem.breaches ?? [];
  }
}

/** Requests to one gateway, each repeated until it is answered. */
class Gateway {
  constructor(url, token, caFile) {
    const { protocol, hostname } = new URL(url);
    const onThisMachine = protocol === "http:" && ["127.0.0.1", "[::1]", "localhost"].includes(hostname);
    if (protocol !== "https:" && !onThisMachine) {
      throw new Ended("the gateway's address must begin with https://");
    }
    this.base = url.replace(/\/+$/, "") + "/api/v1";
    this.token = token;
    this.http = protocol === "https:" ? https : http;
    this.agent = new this.http.Agent(caFile ? { ca: fs.readFileSync(caFile) } : {});
  }

  get(place) {
    return this.ask("GET", place, undefined, {});
  }

  /** POST under an idempotency key: however often it is repeated, it happens once and gets the same answer. */
  post(place, key, body = {}) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    return this.ask("POST", place, Buffer.from(JSON.stringify(body)), headers);
  }

  async ask(method, place, data, headers) {
    let wait = 1;
    for (let left = TRIES - 1; ; left -= 1) {
      let answer;
      try {
        answer = await this.askOnce(method, place, data, headers);
      } catch (error) { // no connection, or it broke: perhaps it was carried out
        if (left === 0) throw new Ended(`the gateway does not answer: ${error.code ?? error.message}`);
      }
      if (answer !== undefined) {
        if (answer.status < 300) return JSON.parse(answer.body);
        const problem = problemOf(answer.body);
        const later = [429, 503].includes(answer.status) || problem.code === "idempotency.running";
        if (!later || left === 0) throw new Refused(answer.status, problem);
        if (/^[0-9]+$/.test(answer.retryAfter ?? "")) wait = Number(answer.retryAfter);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(wait, LONGEST_WAIT) * 1000));
      wait *= 2;
    }
  }

  askOnce(method, place, data, headers) {
    return new Promise((resolve, reject) => {
      const options = {
        method,
        agent: this.agent,
        headers: { ...headers, "Content-Length": data?.length ?? 0, Authorization: `Bearer ${this.token}` },
        signal: AbortSignal.timeout(TIMEOUT),
      };
      const request = this.http.request(this.base + place, options, (response) => { // follows no redirect
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode,
            retryAfter: response.headers["retry-after"],
            body: Buffer.concat(parts).toString("utf8"),
          }),
        );
      });
      request.on("error", reject);
      request.end(data);
    });
  }
}

/** What this client must remember, in a folder of its own: keys, the cursor of the inbox and what was told of it, webhooks seen. */
class Memory {
  constructor(folder) {
    this.folder = folder;
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** The idempotency key of a piece of work: made once, on disk before it is used, the same ever after. */
  key(job) {
    if (!JOB.test(job)) throw new Ended("a job is letters, digits, hyphens and underscores");
    let known = this.read(`job-${job}`);
    if (known === undefined) {
      known = randomUUID();
      this.write(`job-${job}`, known);
    }
    return known;
  }

  read(name) {
    const file = path.join(this.folder, name);
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : undefined;
  }

  /** Add a line, on disk when this returns. It begins with a line's end: one that a crash cut off spoils no other. */
  add(name, line) {
    const file = fs.openSync(path.join(this.folder, name), "a", 0o600);
    try {
      fs.writeSync(file, `\n${line}\n`);
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
  }

  /** At once or not at all, and on disk when this returns. */
  write(name, text) {
    const draft = path.join(this.folder, `.draft-${randomUUID()}`);
    const file = fs.openSync(draft, "wx", 0o600);
    try {
      fs.writeSync(file, text);
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(draft, path.join(this.folder, name));
  }
}

// --- what a case system does

function send(gateway, memory, job, submission) {
  return gateway.post("/messages", memory.key(job), submission);
}

async function state(gateway, id) {
  return pick(await gateway.get(`/messages/${encodeURIComponent(id)}`), ["id", "state", "held_for", "attempts"]);
}

/**
 * Everything since the last call. The cursor is kept when a page was dealt with: after a crash the page comes again, and what
 * was told of it is on disk. Where the cursor has expired, the gateway was restored from a backup: from the beginning.
 */
async function inbox(gateway, memory, dealWith) {
  const told = new Set((memory.read("inbox-told") ?? "").split("\n"));
  let cursor = memory.read("inbox-cursor");
  for (let more = true; more; ) {
    let page;
    try {
      page = await gateway.get("/inbox" + (cursor ? `?after=${encodeURIComponent(cursor)}` : ""));
    } catch (error) {
      if (error.code !== "cursor.expired" || cursor === undefined) throw error;
      cursor = undefined;
      continue;
    }
    for (const message of page.items) {
      const known = `${message.sender}/${message.id}`; // an id is unique for its sender
      if (told.has(known)) continue;
      dealWith(pick(message, ["sender", "id", "type", "state", "urgency", "thread"]));
      told.add(known);
      memory.add("inbox-told", known);
    }
    ({ next: cursor, more } = page);
    memory.write("inbox-cursor", cursor);
  }
}

async function take(gateway, memory, sender, id) {
  return pick(await gateway.post(`${place(sender, id)}/taken`, memory.key(`taken-${sender}-${id}`)), ["event", "at"]);
}

/** Fetch the record for a person, then say that the person opened it: the sender is told by a signed receipt. */
async function openRecord(gateway, memory, sender, id, role, out) {
  if (fs.existsSync(out)) throw new Ended(`${out} exists`);
  const content = await gateway.get(`${place(sender, id)}/content`);
  // The job names the file: a repeat after a crash is the same opening, another file is another one.
  const job = `opened-${id}-${createHash("sha256").update(path.resolve(out)).digest("hex").slice(0, 16)}`;
  const receipt = await gateway.post(`${place(sender, id)}/opened`, memory.key(job), { role });
  fs.writeFileSync(out, JSON.stringify(pick(content, ["facts", "body"])), { flag: "wx", mode: 0o600 });
  return pick(receipt, ["event", "at"]);
}

function answer(gateway, memory, sender, id, job, said) {
  return gateway.post(`${place(sender, id)}/answers`, memory.key(job), said);
}

function place(sender, id) {
  return `/inbox/${encodeURIComponent(sender)}/${encodeURIComponent(id)}`;
}

// --- webhooks

/** Return the event of a webhook that our gateway signed just now, else undefined; act on nothing before. */
function verify(headers, body, secret, now) {
  const id = headers["webhook-id"] ?? "";
  const at = headers["webhook-timestamp"] ?? "";
  if (!/^[0-9]{1,15}$/.test(at) || Math.abs(now - Number(at)) > 300) return undefined; // too old, or from the future
  const expected = createHmac("sha256", secret).update(`${id}.${at}.`).update(body).digest();
  for (const each of (headers["webhook-signature"] ?? "").split(" ")) {
    const [version, signature] = each.split(",", 2);
    const given = Buffer.from(signature ?? "", "base64");
    if (version === "v1" && given.length === expected.length && timingSafeEqual(given, expected)) return JSON.parse(body);
  }
  return undefined;
}

/** Print a line for each new event. An event can come twice, under the same id, and is told once. */
function listen(memory, port, secret) {
  let seen = (memory.read("webhooks-seen") ?? "").split("\n").filter(Boolean);
  const server = http.createServer((request, response) => {
    const parts = [];
    let size = 0;
    request.on("error", () => response.destroy());
    request.on("data", (part) => {
      size += part.length;
      if (size <= 65_536) parts.push(part);
    });
    request.on("end", () => {
      if (size > 65_536) return response.writeHead(413).end();
      const body = Buffer.concat(parts);
      const event = request.method === "POST" ? verify(request.headers, body, secret, Date.now() / 1000) : undefined;
      if (event === undefined) return response.writeHead(401).end();
      const id = request.headers["webhook-id"];
      if (!seen.includes(id)) {
        seen = [...seen, id].slice(-1000); // what comes again came lately
        memory.write("webhooks-seen", seen.join("\n"));
        show({ type: event.type, ...event.data });
      }
      return response.writeHead(204).end(); // also for types we do not know: a refusal would hold up all that come later
    });
  });
  server.requestTimeout = 10_000;
  server.listen(port, "127.0.0.1", () => show({ listening: server.address().port }));
}

// --- the command line

function show(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

function pick(object, names) {
  return Object.fromEntries(names.map((name) => [name, object[name]]));
}

/** The one line of a file that nobody else may read. */
function privateLine(file) {
  if (file === undefined) throw new Ended("--token-file or --secret-file is needed");
  if (fs.statSync(file).mode & 0o077) throw new Ended(`${file} is open to others: chmod 600 it`);
  return fs.readFileSync(file, "ascii").trim();
}

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, "utf8"));
}

function problemOf(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

async function main() {
  const text = { type: "string" };
  const { values: given, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: text, "token-file": text, "ca-file": text, state: text, job: text, role: text, out: text,
      port: text, "secret-file": text,
    },
  });
  const [command, ...rest] = positionals;
  if (given.state === undefined) throw new Ended("--state is needed");
  const memory = new Memory(given.state);
  if (command === "listen") {
    const secret = Buffer.from(privateLine(given["secret-file"]).replace(/^whsec_/, ""), "base64");
    return listen(memory, Number(given.port ?? 0), secret);
  }
  if (given.url === undefined) throw new Ended("--url is needed");
  const gateway = new Gateway(given.url, privateLine(given["token-file"]), given["ca-file"]);
  switch (command) {
    case "send":
      return show(await send(gateway, memory, given.job ?? "", readJson(rest[0])));
    case "state":
      return show(await state(gateway, rest[0]));
    case "inbox":
      return inbox(gateway, memory, show);
    case "take":
      return show(await take(gateway, memory, rest[0], rest[1]));
    case "open":
      return show(await openRecord(gateway, memory, rest[0], rest[1], given.role, given.out));
    case "answer":
      return show(await answer(gateway, memory, rest[0], rest[1], given.job ?? "", readJson(rest[2])));
    default:
      throw new Ended("commands: send, state, inbox, take, open, answer, listen");
  }
}

main().catch((error) => {
  if (error instanceof Refused) {
    process.stderr.write(`refused: ${error.code} (${error.status})\n`);
    for (const { code, path: where, rule } of error.breaches) process.stderr.write(`  ${code}  ${where}  ${rule}\n`);
  } else {
    process.stderr.write(`${error instanceof Ended ? error.message : error.name}\n`); // never an error's text: it can hold a record
  }
  process.exitCode = 1;
});
