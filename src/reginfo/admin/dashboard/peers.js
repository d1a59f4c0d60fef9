// Peers: one that is down is said in words, by a sign, by weight and at the top of the page, not by a colour alone.

import { h, table } from "/dashboard/dom.js";
import { count, duration, timeOfDay } from "/dashboard/format.js";

const SIGNS = { up: "●", down: "✕", unknown: "?" };
const COLUMNS = [
  { name: "Peer" }, { name: "State" }, { name: "Since" }, { name: "Lag", kind: "number" },
  { name: "Contacts", kind: "number" }, { name: "Subscriptions", kind: "number" },
];

const age = (since) => (Date.now() - new Date(since)) / 1000;

/** Return the table of peers, or why there is none. */
export function peersTable(peers) {
  if (!peers.length) {
    return h("p", { className: "empty" }, "No peer is configured. A ", h("code", {}, "[[peer]]"), " section names one.");
  }
  return table("Peers", COLUMNS, peers.map((peer) => ({
    kind: `peer ${peer.state}`,
    cells: [
      [h("b", {}, peer.name), h("span", { className: "quiet" }, ` ${peer.mode}`), h("code", { className: "uri block" }, peer.uri)],
      h("span", { className: `state ${peer.state}` }, h("span", { "aria-hidden": "true" }, SIGNS[peer.state] ?? "?"), ` ${peer.state}`),
      peer.since ? `${timeOfDay(new Date(peer.since))} · ${duration(age(peer.since))}` : "–",
      peer.lag_seconds === null ? "–" : `${peer.lag_seconds.toFixed(1)} s`,
      count(peer.contacts),
      count(peer.subscriptions),
    ],
  })));
}

/** Return a sentence for each peer that is down. */
export function complaints(peers) {
  return peers.filter((peer) => peer.state === "down").map((peer) =>
    `Peer ${peer.name} is down${peer.since ? ` since ${timeOfDay(new Date(peer.since))}` : ""}.` +
    (peer.contacts ? ` What is known of its ${peer.contacts === 1 ? "contact" : `${count(peer.contacts)} contacts`} is of that time.` : ""));
}
