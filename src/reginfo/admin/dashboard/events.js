// The live events: newest first, no more than fit, drawn a few times a second however many come.

import { byId, h, setText } from "/dashboard/dom.js";
import { plural, rate, timeOfDay } from "/dashboard/format.js";
import { Stream } from "/dashboard/stream.js";

const MAX_ROWS = 200;
const DRAW_MS = 200;
const SAY_MS = 4000; // between two sentences to a screen reader
const SIGNS = {
  registered: "+", created: "+", refreshed: "↻", shortened: "≻", expired: "−", unregistered: "−",
  deactivated: "✕", probation: "✕", rejected: "✕",
};

export class Events {
  /** onAor is told which addresses-of-record changed, onLost why there is no stream, onRefused of a wrong token. */
  constructor({ onAor, onLive, onLost, onRefused, onOpenAor }) {
    this._onAor = onAor;
    this._onOpenAor = onOpenAor;
    this._kept = []; // the newest MAX_ROWS that match, oldest first
    this._fresh = [];
    this._seen = 0;
    this._unsaid = 0;
    this._rates = [];
    this._isPaused = false;
    this._stream = new Stream({
      onEvents: (events) => this._take(events),
      onOpen: onLive,
      onLost,
      onRefused,
    });
    byId("pause").addEventListener("click", () => this._pause());
    byId("filter-event").addEventListener("change", () => this._filter());
    byId("filter-text").addEventListener("input", () => this._redraw());
    setInterval(() => this._draw(), DRAW_MS);
    setInterval(() => this._say(), SAY_MS);
    setInterval(() => this._rate(), 1000);
  }

  start() {
    this._stream.start();
  }

  stop() {
    this._stream.stop();
  }

  _filter() {
    const wanted = byId("filter-event").value;
    this._stream.start(wanted ? `?events=${wanted}` : "");
    this._redraw();
  }

  _take(events) {
    this._seen += events.length;
    this._fresh.push(...events);
    // Under load most of them are never drawn, and so never parsed.
    if (this._fresh.length > 2 * MAX_ROWS) this._fresh.splice(0, this._fresh.length - MAX_ROWS);
  }

  _draw() {
    if (this._isPaused || !this._fresh.length) return;
    const parsed = this._fresh.map(({ event, data }) => ({ kind: event, ...parse(data) }));
    this._fresh = [];
    this._unsaid += parsed.length;
    this._kept = [...this._kept, ...parsed].slice(-MAX_ROWS);
    this._onAor(new Set(parsed.map((one) => one.aor)));
    this._show(parsed.slice(-MAX_ROWS).filter((one) => this._matches(one)));
  }

  /** Put rows on top; who has scrolled down keeps what they read where it is. */
  _show(events) {
    const body = byId("events");
    const scroll = byId("events-scroll");
    const before = scroll.scrollHeight;
    body.prepend(...events.map((one) => this._row(one)).reverse());
    while (body.rows.length > MAX_ROWS) body.lastElementChild.remove();
    if (scroll.scrollTop > 0) scroll.scrollTop += scroll.scrollHeight - before;
    byId("events-empty").hidden = body.rows.length > 0;
  }

  _redraw() {
    byId("events").replaceChildren();
    this._show(this._kept.filter((one) => this._matches(one)));
    setText(byId("events-empty"), this._kept.length ? "Nothing of this kind has happened." : "Nothing has happened since this page was opened.");
  }

  _matches(one) {
    if (one.kind === "gap") return true;
    const wanted = byId("filter-event").value;
    const text = byId("filter-text").value.trim().toLowerCase();
    return (!wanted || one.kind === wanted) && (!text || `${one.aor} ${one.contact?.uri}`.toLowerCase().includes(text));
  }

  _row(one) {
    if (one.kind === "gap") {
      return h("tr", { role: "row", className: "gap" }, h("td", { role: "cell", colspan: 3 },
        `Gap: the server no longer has the events after ${one.after}; it goes on with ${one.oldest}.`));
    }
    const aor = h("button", { type: "button", className: "aor" }, one.aor ?? "");
    aor.addEventListener("click", () => this._onOpenAor(one.aor));
    const why = [one.cause, one.origin && one.origin !== "local" ? `from ${one.origin}` : ""].filter(Boolean).join(", ");
    return h("tr", { role: "row", className: `event ${SIGNS[one.kind] ? one.kind : ""}`, title: why },
      h("td", { role: "cell", className: "number" }, one.time ? timeOfDay(new Date(one.time)) : ""),
      h("td", { role: "cell", className: "word" }, h("span", { className: "sign", "aria-hidden": "true" }, SIGNS[one.kind] ?? "·"), ` ${one.kind}`),
      h("td", { role: "cell" }, aor, h("code", { className: "uri block quiet" }, one.contact?.uri ?? "")));
  }

  _pause() {
    this._isPaused = !this._isPaused;
    byId("pause").setAttribute("aria-pressed", this._isPaused);
    setText(byId("pause"), this._isPaused ? "Go on" : "Pause");
  }

  _rate() {
    this._rates = [...this._rates, this._seen].slice(-6);
    const seconds = this._rates.length - 1;
    const perSecond = seconds ? (this._seen - this._rates[0]) / seconds : 0;
    const waiting = this._isPaused && this._fresh.length ? ` · ${this._fresh.length} wait` : "";
    setText(byId("events-rate"), `${rate(perSecond)} /s${waiting}`);
  }

  _say() {
    if (!this._unsaid) return;
    const last = this._kept.at(-1);
    const what = last.kind === "gap" ? "events are missing" : `${last.aor} ${last.kind}`;
    setText(byId("events-said"), this._unsaid === 1 ? what : `${plural(this._unsaid, "event")}, the last: ${what}`);
    this._unsaid = 0;
  }
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}
