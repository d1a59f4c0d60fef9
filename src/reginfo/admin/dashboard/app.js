// The page: a token, what is asked for again and again, and what is said when the server cannot be reached.

import { Refused, Unreachable, ask, forgetToken, hasToken, setToken, takeToken } from "/dashboard/api.js";
import { byId, h, setText } from "/dashboard/dom.js";
import { Events } from "/dashboard/events.js";
import { count, duration, rate, timeOfDay } from "/dashboard/format.js";
import { complaints, peersTable } from "/dashboard/peers.js";
import { makePlots } from "/dashboard/plots.js";
import { Registrations } from "/dashboard/registrations.js";
import { Verbs } from "/dashboard/verbs.js";

const POLL_MS = 2000;
const TOAST_MS = 5000;
const HISTORY_EVERY = 5; // polls: a sample is made each ten seconds
const FIGURES = [
  ["registered_aors", "Addresses-of-record", ""], ["contacts", "Contacts", ""], ["requests", "Requests", "/s"],
  ["registrations", "Registrations", "/s"], ["loop_lag_ms", "Loop lag", "ms"], ["feed_lag", "Feed lag", "changes"],
];

const figures = new Map(FIGURES.map(([key, name, unit]) => {
  const value = h("b", { className: "number", id: `figure-${key}` }, "–");
  byId("figures").append(h("div", { className: "panel figure" }, h("dt", {}, name), h("dd", {}, value, unit ? h("span", { className: "quiet" }, ` ${unit}`) : null)));
  return [key, value];
}));
const drawPlots = makePlots(byId("plots"));
const verbs = new Verbs((aor, sentence) => {
  toast(sentence);
  registrations.open(aor);
});
const registrations = new Registrations(verbs, failed);
const events = new Events({
  onAor: (aors) => registrations.changed(aors),
  onOpenAor: (aor) => registrations.open(aor),
  onRefused: failed,
  onLive: () => {
    setLink("live", "Live");
    poll(true); // whatever was missed while there was no connection
  },
  onLost: lost,
});

let timer = 0;
let polls = 0;
let isPolling = false;
let last = null; // counters of the poll before, and when
let answeredAt = null;

// -- link ---------------------------------------------------------------------------------------------

function setLink(state, text) {
  const link = byId("link");
  link.dataset.state = state;
  setText(byId("link-text"), text);
  document.body.classList.toggle("stale", state === "lost");
  if (state !== "lost") notice("link", []);
}

function lost(error) {
  if (byId("token-dialog").open) return;
  const isThere = error instanceof Refused;
  setLink("lost", isThere ? "No events" : "Unreachable");
  const since = answeredAt ? `What is shown is of ${timeOfDay(answeredAt)}. ` : "";
  notice("link", [`${isThere ? error.message : `The server does not answer. ${since}`.trim()} This page keeps trying.`]);
  setTitle();
}

function failed(error) {
  if (error instanceof Refused && error.status === 401) askToken(hasToken() ? error.message : "");
  else if (error instanceof Unreachable) lost(error);
  else if (error instanceof Refused) toast(error.message);
  else {
    console.error(error);
    toast("This page has a fault; the browser's console says more.");
  }
}

/** Show sentences that stay until they are no longer true. */
function notice(about, sentences) {
  const place = byId("notices");
  const before = [...place.querySelectorAll(`[data-about="${about}"]`)];
  if (before.map((one) => one.textContent).join("\n") === sentences.map((one) => `! ${one}`).join("\n")) return;
  before.forEach((one) => one.remove());
  place.append(...sentences.map((one) => h("p", { className: "notice bad", role: "alert", "data-about": about },
    h("span", { className: "sign", "aria-hidden": "true" }, "!"), ` ${one}`)));
}

function toast(sentence) {
  const place = byId("toast");
  setText(place, sentence);
  place.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => {
    place.classList.remove("shown");
    setText(place, "");
  }, TOAST_MS);
}

function setTitle(down = setTitle.down ?? 0) {
  setTitle.down = down;
  const state = byId("link").dataset.state === "lost" ? "(unreachable) " : down ? `(${down} down) ` : "";
  document.title = `${state}reginfo`;
}

// -- polls --------------------------------------------------------------------------------------------

async function poll(isFull = false) {
  clearTimeout(timer);
  if (byId("token-dialog").open || document.hidden) return;
  if (isPolling) {
    timer = setTimeout(poll, POLL_MS, isFull);
    return;
  }
  isPolling = true;
  try {
    const wantsHistory = isFull || polls % HISTORY_EVERY === 0;
    const [statistics, peers, history] = await Promise.all([
      ask("GET", "/api/v1/statistics"), ask("GET", "/api/v1/peers"), wantsHistory ? ask("GET", "/api/v1/history") : null,
    ]);
    polls += 1;
    answeredAt = new Date();
    showFigures(statistics);
    showPeers(peers);
    if (history) drawPlots(history);
    if (isFull) await registrations.refresh();
    if (byId("link").dataset.state === "lost") events.start();
  } catch (error) {
    last = null;
    failed(error);
  } finally {
    isPolling = false;
    timer = setTimeout(poll, POLL_MS);
  }
}

function showFigures(statistics) {
  const now = {
    at: performance.now(),
    uptime: statistics.core.uptime,
    requests: Object.values(statistics.requests).reduce((sum, value) => sum + value, 0),
    registrations: statistics.requests.REGISTER ?? 0,
  };
  // After a restart the counters begin anew.
  const seconds = last && now.uptime >= last.uptime ? (now.at - last.at) / 1000 : 0;
  const perSecond = (key) => (seconds ? rate(Math.max(0, now[key] - last[key]) / seconds) : rate(null));
  if (seconds >= 1 || !last || now.uptime < last.uptime) {
    setText(figures.get("requests"), perSecond("requests"));
    setText(figures.get("registrations"), perSecond("registrations"));
    last = now;
  }
  setText(figures.get("registered_aors"), count(statistics.feed.registered_aors));
  setText(figures.get("contacts"), count(statistics.feed.contacts));
  setText(figures.get("loop_lag_ms"), count(statistics.core.loop_lag_ms));
  setText(figures.get("feed_lag"), count(statistics.feed.lag));
  setText(byId("uptime"), `up ${duration(statistics.core.uptime)}`);
}

function showPeers(peers) {
  const down = complaints(peers);
  notice("peer", down);
  setTitle(down.length);
  const up = peers.filter((peer) => peer.state === "up").length;
  setText(byId("peers-count"), peers.length ? `${up} of ${peers.length} up${down.length ? `, ${down.length} down` : ""}` : "");
  byId("peers").replaceChildren(peersTable(peers));
}

// -- token --------------------------------------------------------------------------------------------

function askToken(why) {
  if (byId("token-dialog").open) return;
  forgetToken();
  setText(byId("token-error"), why);
  clearTimeout(timer);
  events.stop();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  notice("link", []);
  setLink("locked", "No token");
  byId("token-input").value = "";
  byId("token-dialog").showModal();
}

async function tryToken() {
  setToken(byId("token-input").value);
  try {
    await ask("GET", "/api/v1/statistics");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) forgetToken();
    setText(byId("token-error"), error.message);
    byId("token-input").select();
    return;
  }
  byId("token-dialog").close();
  begin();
}

function begin() {
  if (!hasToken()) {
    askToken("");
    return;
  }
  setLink("connecting", "Connecting");
  events.start();
  // The stream is what tells that the server is there; without it the polls do.
  poll(true);
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  tryToken();
});
// Escape may close it, but there is nothing behind it to see.
byId("token-dialog").addEventListener("close", () => hasToken() || byId("token-dialog").showModal());
byId("forget").addEventListener("click", () => {
  forgetToken();
  location.reload(); // nothing of what was shown stays
});
// A browser has six connections for one server, and each stream holds one: a tab that nobody sees gives its own back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) events.stop();
  else if (hasToken()) begin();
});
addEventListener("hashchange", () => takeToken() && location.reload());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});

takeToken();
begin();
