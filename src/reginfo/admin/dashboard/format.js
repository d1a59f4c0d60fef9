// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** A rate: tenths matter below a hundred only. */
export const rate = (value) =>
  value === null || value === undefined ? "–" : value >= 99.95 ? whole.format(value) : tenths.format(value);

export const timeOfDay = (date) => clock.format(date);
export const hourMinute = (date) => minutes.format(date);

/** An RFC 3339 time in full, in the zone of whoever reads. */
export const dateTime = (text) => (text ? day.format(new Date(text)) : null);

/** Seconds as the two largest units: 42 s, 3 min 05 s, 1 h 12 min, 3 d 04 h. */
export function duration(seconds) {
  const all = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${two(all % 60)} s`;
  if (all < 86400) return `${Math.floor(all / 3600)} h ${two(Math.floor((all % 3600) / 60))} min`;
  return `${Math.floor(all / 86400)} d ${two(Math.floor((all % 86400) / 3600))} h`;
}

export const plural = (n, word) => `${whole.format(n)} ${word}${n === 1 ? "" : "s"}`;
