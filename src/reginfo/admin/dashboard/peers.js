// Peers: one that is down is said in words, by a sign, by weight and at the top of the page, not by a colour alone.

import { h, table } from "/dashboard/dom.js";
import { count, duration, timeOfDay } from "/dashboard/format.js";

const SIGNS = { up: "●", down: "✕", unknown: "?" };
const COLUMNS = [
  { name: "Peer" }, { name: "State" }, { name: "No answer for", kind: "number" },
  { name: "Contacts", kind: "number" }, { name: "Subscriptions", kind: "number" },
];

// Name -> since when it is down: told in seconds from now, which would be another time of day at every look.
const downSince = new Map();

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
      peer.state === "down" ? duration(peer.lag_seconds) : "–",
      count(peer.contacts),
      count(peer.subscriptions),
    ],
  })));
}

/** Return a sentence for each peer that is down; the same as long as it is. */
export function complaints(peers) {
  return peers.flatMap((peer) => {
    if (peer.state !== "down") {
      downSince.delete(peer.name);
      return [];
    }
    if (!downSince.has(peer.name)) downSince.set(peer.name, new Date(Date.now() - 1000 * peer.lag_seconds));
    const since = timeOfDay(downSince.get(peer.name));
    const known = peer.contacts && ` What is known of its ${peer.contacts === 1 ? "contact" : `${count(peer.contacts)} contacts`} is of that time.`;
    return [`Peer ${peer.name} is down since ${since}.${known || ""}`];
  });
}
