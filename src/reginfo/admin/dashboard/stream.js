// Server-sent events over fetch, since EventSource cannot send the token; parsed as the HTML standard says.

import { Refused, send } from "/dashboard/api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const MAX_BLOCK = 1 << 20; // characters of one event; an event has some hundreds

/** Takes octets apart into events: {id, event, data}. */
export class Parser {
  constructor() {
    this.lastId = null;
    this._rest = "";
    this._decoder = new TextDecoder();
  }

  feed(octets) {
    const events = [];
    let text = this._rest + this._decoder.decode(octets, { stream: true });
    // A CR at the end may be half of a CRLF.
    const held = text.endsWith("\r") ? "\r" : "";
    text = (held ? text.slice(0, -1) : text).replace(/\r\n?/g, "\n");
    const blocks = text.split("\n\n");
    this._rest = blocks.pop() + held;
    if (this._rest.length > MAX_BLOCK) throw new Error("an event without an end");
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        if (colon === 0) continue;
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
        if (field === "id") this.lastId = value;
        else if (field === "event") event = value;
        else if (field === "data") data.push(value);
      }
      if (data.length) events.push({ id: this.lastId, event, data: data.join("\n") });
    }
    return events;
  }
}

/** The live stream: reconnects by itself, and goes on after the last event it has seen. */
export class Stream {
  constructor({ onEvents, onOpen, onLost, onRefused }) {
    this._on = { onEvents, onOpen, onLost, onRefused };
    this._lastId = null;
    this._wait = FIRST_WAIT_MS;
    this._abort = null;
    this._timer = 0;
    this.query = "";
  }

  /** Connect, or connect again with another query; what was seen last stays known. */
  start(query = this.query) {
    this.query = query;
    this.stop();
    this._wait = FIRST_WAIT_MS;
    this._run();
  }

  stop() {
    clearTimeout(this._timer);
    this._abort?.abort();
    this._abort = null;
  }

  async _run() {
    const abort = (this._abort = new AbortController());
    let reason = null;
    try {
      await this._read(abort);
    } catch (error) {
      reason = error;
      if (abort.signal.aborted) return;
      if (error instanceof Refused && error.status === 401) {
        this._on.onRefused(error);
        return;
      }
    }
    if (abort.signal.aborted) return;
    this._on.onLost(reason);
    // Not all open pages at the same instant after a restart.
    this._timer = setTimeout(() => this._run(), this._wait * (0.75 + Math.random() / 2));
    this._wait = Math.min(2 * this._wait, LONGEST_WAIT_MS);
  }

  async _read(abort) {
    const headers = { Accept: "text/event-stream" };
    if (this._lastId !== null) headers["Last-Event-ID"] = this._lastId;
    const response = await send("GET", `/api/v1/events${this.query}`, { headers, signal: abort.signal });
    this._wait = FIRST_WAIT_MS;
    this._on.onOpen();
    const parser = new Parser();
    parser.lastId = this._lastId;
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || abort.signal.aborted) return;
      const events = parser.feed(value);
      this._lastId = parser.lastId;
      if (events.length) this._on.onEvents(events);
    }
  }
}
