// Line plots of the last hour: drawn to the pixel, so that text is never stretched; read by pointer and by keyboard.

import { h, s, setText } from "/dashboard/dom.js";
import { count, hourMinute, rate, timeOfDay } from "/dashboard/format.js";

// The shortest that holds every sample: a server that has just started has more to show than a sliver of an hour.
const SPANS = [
  { seconds: 300, tick: 60, name: "last 5 min" }, { seconds: 900, tick: 180, name: "last 15 min" },
  { seconds: 1800, tick: 300, name: "last 30 min" }, { seconds: 3600, tick: 900, name: "last hour" },
];
const HEIGHT = 132;
const INSET = { left: 44, right: 8, top: 8, bottom: 20 };

const PLOTS = [
  { title: "Registered", unit: "", show: count, series: [["registered_aors", "AoRs"], ["contacts", "contacts"]] },
  { title: "Traffic", unit: "/s", show: rate, finest: 0.5, series: [["requests", "requests"], ["registrations", "registrations"]] },
  { title: "Loop lag", unit: "ms", show: count, series: [["loop_lag_ms", "longest"]], least: 10 },
  { title: "Feed lag", unit: "changes", show: count, series: [["feed_lag", "unread"]], least: 10 },
];

/** Make the plots; the function that is returned draws a history into them. */
export function makePlots(place) {
  const plots = PLOTS.map((what) => new Plot(what));
  place.append(...plots.map((plot) => plot.element));
  return (history) => plots.forEach((plot) => plot.draw(history));
}

class Plot {
  constructor(what) {
    this._what = what;
    this._at = null; // index of the sample that is read, null for the newest
    this._history = { interval: 10, series: { time: [] } };
    this._values = what.series.map(() => h("b", { className: "number" }));
    this._span = SPANS[0].name;
    this._when = h("span", { className: "when" });
    this._svg = s("svg", { height: HEIGHT, "aria-hidden": "true" });
    this._area = h("div", { className: "area", role: "slider", tabIndex: 0, "aria-valuemin": 0,
      "aria-label": `${what.title}, the last hour; arrow keys read earlier values` }, this._svg);
    const legend = what.series.map(([, name], index) => h("span", { className: `key key${index}` },
      s("svg", { width: 16, height: 8, "aria-hidden": "true" }, s("line", { x1: 0, x2: 16, y1: 4, y2: 4, class: `line line${index}` })),
      `${name} `, this._values[index], what.unit ? ` ${what.unit}` : ""));
    this.element = h("figure", { className: "panel plot" },
      h("figcaption", { className: "head" }, h("h2", {}, what.title), this._when), h("div", { className: "legend" }, legend), this._area);
    new ResizeObserver(() => this._paint()).observe(this._area);
    this._area.addEventListener("pointermove", (event) => this._point(event));
    this._area.addEventListener("pointerdown", (event) => this._point(event));
    this._area.addEventListener("pointerleave", () => this._read(null));
    this._area.addEventListener("blur", () => this._read(null));
    this._area.addEventListener("keydown", (event) => this._key(event));
  }

  draw(history) {
    // What is being read stays the same sample when the hour moves on.
    const time = this._at === null ? null : this._history.series.time[this._at];
    this._history = history;
    const found = time === null ? -1 : history.series.time.indexOf(time);
    this._at = found < 0 ? null : found;
    this._paint();
  }

  _paint() {
    const { time } = this._history.series;
    const width = this._area.clientWidth;
    if (!width) return;
    const end = Math.max(time.at(-1) ?? 0, Math.floor(Date.now() / 1000));
    const span = SPANS.find(({ seconds }) => end - (time[0] ?? end) <= seconds) ?? SPANS.at(-1);
    this._span = span.name;
    const [x0, x1, y0, y1] = [INSET.left, width - INSET.right, HEIGHT - INSET.bottom, INSET.top];
    const all = this._what.series.flatMap(([key]) => this._history.series[key] ?? []).filter((value) => value !== null);
    const { step, top } = scale(Math.max(this._what.least ?? 1, ...all), this._what.finest ?? 1);
    this._x = (at) => x1 - ((end - at) / span.seconds) * (x1 - x0);
    this._y = (value) => y0 - (value / top) * (y0 - y1);
    const parts = [];
    for (let value = 0; value <= top; value += step) {
      const y = Math.round(this._y(value)) + 0.5;
      parts.push(s("line", { x1: x0, x2: x1, y1: y, y2: y, class: value ? "grid" : "axis" }));
      parts.push(s("text", { x: x0 - 6, y: y + 3.5, class: "tick end" }, short(value)));
    }
    for (const at of marks(end, span)) {
      const x = Math.round(this._x(at)) + 0.5;
      parts.push(s("line", { x1: x, x2: x, y1: y0, y2: y0 + 4, class: "axis" }));
      if (x > x0 + 12 && x < x1 - 12) parts.push(s("text", { x, y: HEIGHT - 4, class: "tick middle" }, hourMinute(new Date(at * 1000))));
    }
    if (!time.length) parts.push(s("text", { x: (x0 + x1) / 2, y: (y0 + y1) / 2, class: "tick middle" }, "first sample within ten seconds"));
    // The first series lies on top: where both are equal it is the one that is seen, dashed by the other.
    parts.push(s("path", { class: "fill", d: this._line(this._what.series[0][0], y0) }));
    this._what.series.forEach(([key], index) => parts.push(s("path", { class: `line line${index}`, d: this._line(key) })));
    this._cursor = s("g", { class: "cursor" });
    this._svg.setAttribute("width", width);
    this._svg.replaceChildren(...parts, this._cursor);
    this._read(this._at);
  }

  /** Return the path of a series, broken where samples are missing; closed along a floor if there is one. */
  _line(key, floor = null) {
    const { time } = this._history.series;
    const values = this._history.series[key] ?? [];
    let path = "";
    let last = null;
    let right = 0;
    time.forEach((at, index) => {
      if (values[index] === null || values[index] === undefined) return;
      const joined = last !== null && at - last <= 2.5 * this._history.interval;
      const [x, y] = [this._x(at).toFixed(1), this._y(values[index]).toFixed(1)];
      // A sample without neighbours is a dot, which a line of no length is with round ends.
      if (floor === null) path += joined ? `L${x} ${y}` : `M${x} ${y}h0.01`;
      else path += joined ? `L${x} ${y}` : `${path && `L${right} ${floor}Z`}M${x} ${floor}L${x} ${y}`;
      last = at;
      right = x;
    });
    return floor === null || !path ? path : `${path}L${right} ${floor}Z`;
  }

  _point(event) {
    const { time } = this._history.series;
    if (!time.length || !this._x) return;
    const x = event.clientX - this._area.getBoundingClientRect().left;
    let best = 0;
    time.forEach((at, index) => {
      if (Math.abs(this._x(at) - x) < Math.abs(this._x(time[best]) - x)) best = index;
    });
    this._read(best);
  }

  _key(event) {
    const last = this._history.series.time.length - 1;
    const now = this._at ?? last;
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageUp: now + 30, PageDown: now - 30, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this._read(null);
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this._read(Math.min(last, Math.max(0, to)));
  }

  /** Show the values of a sample, null for the newest. */
  _read(at) {
    this._at = at;
    const { series } = this._history;
    const last = series.time.length - 1;
    const index = at ?? last;
    const values = this._what.series.map(([key]) => series[key]?.[index]);
    values.forEach((value, which) => setText(this._values[which], this._what.show(value)));
    const when = index < 0 ? "" : timeOfDay(new Date(series.time[index] * 1000));
    setText(this._when, at === null ? this._span : `at ${when}`);
    this._area.setAttribute("aria-valuemax", Math.max(0, last));
    this._area.setAttribute("aria-valuenow", Math.max(0, index));
    const unit = this._what.unit === "/s" ? " per second" : this._what.unit && ` ${this._what.unit}`;
    this._area.setAttribute("aria-valuetext", index < 0 ? "no sample yet"
      : `${when}: ${this._what.series.map(([, name], which) => `${name} ${this._what.show(values[which])}${unit}`).join(", ")}`);
    if (!this._cursor) return;
    this._cursor.replaceChildren();
    if (at === null || index < 0) return;
    const x = this._x(series.time[index]);
    this._cursor.append(s("line", { x1: x, x2: x, y1: INSET.top, y2: HEIGHT - INSET.bottom }));
    values.forEach((value, which) => {
      if (value !== null && value !== undefined) this._cursor.append(s("circle", { cx: x, cy: this._y(value), r: 3, class: `dot${which}` }));
    });
  }
}

/** Return a step of 1, 2 or 5 times a power of ten that is not too fine, and its multiple above the highest value. */
function scale(highest, finest) {
  const rough = Math.max(finest, highest / 4);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  return { step, top: step * Math.ceil(highest / step) };
}

/** Return the instants in a span before another that a clock calls round. */
function marks(end, { seconds, tick }) {
  const first = Math.ceil((end - seconds) / tick) * tick;
  return Array.from({ length: seconds / tick + 1 }, (_, number) => first + tick * number).filter((at) => at <= end);
}

const short = (value) => (value >= 1e6 ? `${value / 1e6} M` : value >= 1e4 ? `${value / 1e3} k` : Number.isInteger(value) ? count(value) : rate(value));
