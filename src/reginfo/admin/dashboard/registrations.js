// The location service: all addresses-of-record page by page, and one of them with all that is known of it.

import { Refused, ask, path } from "/dashboard/api.js";
import { byId, h, setText, table } from "/dashboard/dom.js";
import { count, dateTime, duration, plural } from "/dashboard/format.js";
import { sipUri } from "/dashboard/verbs.js";

const PAGE = 20;
const LIST_MS = 2000;
const DETAIL_MS = 300;
const SHOWN = 100; // subscriptions and publications of one AoR
const LIST = [{ name: "Address-of-record" }, { name: "Contacts", kind: "number" }, { name: "Next end", kind: "number" }, { name: "User agent" }];
const CONTACTS = [{ name: "Contact" }, { name: "Ends in", kind: "number" }, { name: "q", kind: "number" }, { name: "Last event" }, { name: "Origin" }, { name: "", kind: "act" }];

// Of what refers to an AoR.
const NAMES = { role: "Role", state: "State", remote: "Remote", version: "Version", contacts: "Contacts", expires: "Ends in", peer: "Peer", entity_tag: "Entity-tag" };
const NUMBERS = new Set(["version", "contacts", "expires"]);

export class Registrations {
  constructor(verbs, onError) {
    this._verbs = verbs;
    this._onError = onError;
    this._cursors = [""]; // of the pages up to the one that is shown
    this._next = null;
    this._aor = null;
    this._asked = 0;
    this._timer = 0;
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.open(sipUri(byId("search-aor").value));
    });
    byId("create").addEventListener("click", () => verbs.openCreate(this._aor ?? ""));
    byId("next").addEventListener("click", () => this._turn([...this._cursors, this._next]));
    byId("previous").addEventListener("click", () => this._turn(this._cursors.slice(0, -1)));
    setInterval(() => this._countDown(), 1000);
  }

  /** Show what is on view as it is now. */
  async refresh() {
    await (this._aor === null ? this._list() : this._show());
  }

  /** Take note that AoRs have changed. */
  changed(aors) {
    const isShown = this._aor === null ? this._cursors.length === 1 : aors.has(this._aor);
    if (!isShown || this._timer) return;
    // However much happens, it is not asked for more often than one can read.
    this._timer = setTimeout(() => {
      this._timer = 0;
      this._quietly(this.refresh());
    }, this._aor === null ? LIST_MS : DETAIL_MS);
  }

  /** Show one AoR; the focus goes to it. */
  async open(aor) {
    this._aor = aor;
    await this._quietly(this._show());
    if (this._aor === aor) byId("detail").focus();
  }

  close() {
    this._aor = null;
    byId("detail").hidden = true;
    byId("list").hidden = false;
    this._quietly(this._list());
    byId("search-aor").focus();
  }

  async _quietly(work) {
    try {
      await work;
    } catch (error) {
      this._onError(error);
    }
  }

  _turn(cursors) {
    this._cursors = cursors;
    this._quietly(this._list());
  }

  async _list() {
    const asked = ++this._asked;
    const { aors, cursor } = await ask("GET", `/api/v1/aors?${new URLSearchParams({ limit: PAGE, cursor: this._cursors.at(-1) || 0 })}`);
    if (asked !== this._asked || this._aor !== null) return; // something else is wanted by now
    this._next = cursor;
    const page = this._cursors.length;
    byId("previous").disabled = page === 1;
    byId("next").disabled = cursor === null;
    setText(byId("page-text"), aors.length ? `Page ${page}${cursor === null ? ", the last" : ""}` : "");
    replace(byId("rows"), aors.length ? table("Addresses-of-record", LIST, aors.map((one) => this._listRow(one)))
      : h("p", { className: "empty" }, page === 1 ? "Nobody is registered." : "No more."));
  }

  _listRow({ aor, contacts }) {
    const button = h("button", { type: "button", className: "aor", id: `aor-${aor}` }, aor);
    button.addEventListener("click", () => this.open(aor));
    const agents = [...new Set(contacts.map((one) => one.user_agent).filter(Boolean))];
    return { cells: [button, count(contacts.length),
      contacts.length ? left(Math.min(...contacts.map((one) => one.expires))) : "–", agents.join(", ") || "–"] };
  }

  async _show() {
    const asked = ++this._asked;
    const aor = this._aor;
    const query = new URLSearchParams({ aor, limit: SHOWN });
    let registration;
    try {
      registration = await ask("GET", path("aors", aor));
    } catch (error) {
      if (!(error instanceof Refused) || error.status === 401) throw error;
      registration = { aor, revision: null, contacts: [], problem: error.status === 404 ? "Nobody is registered here." : error.message };
    }
    const isBad = registration.problem && registration.revision === null && registration.problem !== "Nobody is registered here.";
    const [{ subscriptions }, { publications }] = isBad ? [{ subscriptions: [] }, { publications: [] }]
      : await Promise.all([ask("GET", `/api/v1/subscriptions?${query}`), ask("GET", `/api/v1/publications?${query}`)]);
    if (asked !== this._asked || this._aor !== aor) return;
    this._aor = registration.aor; // canonical
    this._draw(registration, subscriptions, publications);
  }

  _draw(registration, subscriptions, publications) {
    const { aor, contacts } = registration;
    const back = h("button", { type: "button", id: "back" }, "‹ All");
    back.addEventListener("click", () => this.close());
    const all = h("button", { type: "button", id: "all-contacts", disabled: !contacts.length }, "Change all…");
    all.addEventListener("click", () => this._verbs.open(aor, null, contacts.length));
    const detail = byId("detail");
    replace(detail,
      h("div", { className: "subject" }, back, h("h3", {}, h("code", { className: "uri" }, aor)), all),
      h("p", { className: "quiet", role: "status" },
        registration.problem ?? plural(contacts.length, "contact")),
      contacts.length ? table(`Contacts of ${aor}`, CONTACTS, contacts.map((one) => this._contactRow(aor, one))) : null,
      related("Subscriptions", subscriptions, ["role", "state", "remote", "version", "contacts", "expires"]),
      related("Publications", publications, ["role", "peer", "entity_tag", "expires"]));
    byId("list").hidden = true;
    detail.hidden = false;
  }

  _contactRow(aor, contact) {
    const act = h("button", { type: "button", id: `change-${contact.id}`, "aria-label": `Change ${contact.uri}` }, "Change…");
    act.addEventListener("click", () => this._verbs.open(aor, contact, 1));
    const facts = [
      ["User agent", contact.user_agent], ["Display name", contact.display_name], ["Registered", dateTime(contact.registered)],
      ["Updated", dateTime(contact.updated)], ["Received from", contact.received], ["Path", contact.path], ["Instance", contact.instance],
      ["reg-id", contact.reg_id], ["Parameters", contact.params], ["Flow", contact.flow], ["Call-ID", contact.call_id],
      ["CSeq", contact.cseq], ["Contact id", contact.id],
    ].filter(([, value]) => value !== null && value !== undefined && value !== "");
    return { cells: [
      h("div", {}, h("code", { className: "uri" }, contact.uri),
        h("details", { id: `facts-${contact.id}` }, h("summary", {}, contact.user_agent || "More"),
          h("dl", { className: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])))),
      left(contact.expires), contact.q === null ? "–" : String(contact.q), contact.event, contact.origin, act,
    ] };
  }

  _countDown() {
    for (const element of document.querySelectorAll("[data-until]")) {
      setText(element, duration((Number(element.dataset.until) - Date.now()) / 1000));
    }
  }
}

/** Return the time that is left, which counts down from now on. */
function left(seconds) {
  return h("span", { "data-until": Date.now() + seconds * 1000 }, duration(seconds));
}

/** Return a table of what refers to an AoR; columns that nothing has a value for are left out. */
function related(title, items, names) {
  const columns = names.filter((name) => items.some((item) => item[name] !== null && item[name] !== undefined));
  const cell = (item, name) => item[name] === null || item[name] === undefined ? "–"
    : name === "expires" ? left(item[name])
    : ["remote", "entity_tag"].includes(name) ? h("code", { className: "uri" }, item[name]) : String(item[name]);
  return h("section", { className: "related" }, h("h4", {}, title, " ", h("span", { className: "quiet" }, count(items.length))),
    items.length ? table(title, columns.map((name) => ({ name: NAMES[name], kind: NUMBERS.has(name) ? "number" : "" })), items.map((item) => ({ cells: columns.map((name) => cell(item, name)) })))
      : h("p", { className: "quiet" }, "none"));
}

/** Put elements in a place; what has the focus and what is unfolded stay so, by id. */
function replace(place, ...elements) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  const unfolded = [...place.querySelectorAll("details[open]")].map((element) => element.id);
  place.replaceChildren(...elements.filter(Boolean));
  for (const id of unfolded) byId(id)?.setAttribute("open", "");
  if (focused) (byId(focused) ?? place).focus({ preventScroll: true });
}
