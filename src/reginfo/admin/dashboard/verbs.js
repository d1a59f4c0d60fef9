// What an operator does to contacts, each confirmed in a dialog that says what phones and watchers are told.

import { ask, path } from "/dashboard/api.js";
import { byId, h, setText } from "/dashboard/dom.js";
import { plural } from "/dashboard/format.js";

// RFC 3680 section 5.2 has the words.
const VERBS = [
  { name: "shorten", label: "Shorten", done: "shortened", seconds: "Seconds that are left", body: "expires",
    text: "It stays, but ends sooner; the phone should refresh before." },
  { name: "deactivate", label: "Deactivate", done: "deactivated",
    text: "It ends now; the phone should register again at once." },
  { name: "probation", label: "Put on probation", done: "put on probation", seconds: "Seconds until it may come back", body: "retry_after",
    text: "It ends now; the phone may register again later." },
  { name: "reject", label: "Reject", done: "rejected",
    text: "It ends now; to register again will not help the phone." },
  { name: "remove", label: "Remove", done: "removed",
    text: "It is taken out of the location service, as ul rm does." },
];

/** Let each Cancel close its dialog; onDone(aor, sentence) is told of what was done. */
export class Verbs {
  constructor(onDone) {
    this._onDone = onDone;
    for (const button of document.querySelectorAll("dialog [data-close]")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    byId("verb-choices").append(...VERBS.map(choice));
    byId("verb-choices").addEventListener("change", () => this._chosen());
    submits(byId("verb-form"), byId("verb-error"), () => this._apply());
    submits(byId("create-form"), byId("create-error"), () => this._create());
  }

  /** Ask what to do with a contact of an AoR, or with all of them. */
  open(aor, contact, count) {
    this._subject = { aor, contact };
    const all = contact === null;
    this._many = all && count > 1;
    setText(byId("verb-title"), all ? `Change ${count === 1 ? "the contact" : `all ${count} contacts`}` : "Change a contact");
    byId("verb-subject").replaceChildren(...(all ? [] : [h("code", { className: "uri block" }, contact.uri)]),
      h("span", { className: "quiet" }, "of "), h("code", { className: "uri" }, aor));
    byId("verb-choices").querySelector("[value=deactivate]").checked = true;
    for (const input of byId("verb-choices").querySelectorAll("[type=number]")) input.value = 60;
    setText(byId("verb-error"), "");
    this._chosen();
    byId("verb-dialog").showModal();
    byId("verb-choices").querySelector(":checked").focus();
  }

  openCreate(aor) {
    byId("create-form").reset();
    byId("create-aor").value = aor;
    setText(byId("create-error"), "");
    byId("create-dialog").showModal();
    byId(aor ? "create-uri" : "create-aor").focus();
  }

  _verb() {
    const name = byId("verb-choices").querySelector(":checked").value;
    return VERBS.find((verb) => verb.name === name);
  }

  _chosen() {
    const verb = this._verb();
    for (const { name, seconds } of VERBS) if (seconds) byId(`seconds-${name}`).disabled = name !== verb.name;
    setText(byId("verb-submit"), `${verb.label}${this._many ? " all" : ""}`);
    byId("verb-submit").classList.toggle("danger", verb.name !== "shorten");
  }

  async _apply() {
    const verb = this._verb();
    const { aor, contact } = this._subject;
    if (verb.name === "remove") {
      await ask("DELETE", contact === null ? path("aors", aor) : path("aors", aor, "contacts", contact.id));
    } else {
      const body = contact === null ? {} : { contact: contact.id };
      if (verb.body) body[verb.body] = byId(`seconds-${verb.name}`).valueAsNumber;
      const { contacts } = await ask("POST", path("aors", aor, verb.name), { body });
      byId("verb-dialog").close();
      this._onDone(aor, `${plural(contacts, "contact")} ${verb.done}.`);
      return;
    }
    byId("verb-dialog").close();
    this._onDone(aor, contact === null ? "All contacts removed." : "1 contact removed.");
  }

  async _create() {
    const aor = sipUri(byId("create-aor").value);
    const q = byId("create-q").valueAsNumber;
    await ask("PUT", path("aors", aor, "contacts", "new"), {
      body: { uri: byId("create-uri").value.trim(), expires: byId("create-expires").valueAsNumber, q: Number.isNaN(q) ? null : q },
    });
    byId("create-dialog").close();
    this._onDone(aor, "1 contact created.");
  }
}

/** Return an address-of-record as a URI; alice@example.com is taken for one. */
export const sipUri = (text) => (/^sips?:/i.test(text.trim()) ? text.trim() : `sip:${text.trim()}`);

function choice(verb) {
  return h("div", { className: "choice" },
    h("label", {},
      h("input", { type: "radio", name: "verb", value: verb.name, "aria-describedby": `about-${verb.name}` }),
      h("span", {}, h("b", {}, verb.label), h("span", { className: "quiet", id: `about-${verb.name}` }, verb.text))),
    verb.seconds ? h("span", { className: "seconds" }, h("input", { type: "number", id: `seconds-${verb.name}`, min: 1, max: 4294967295,
      step: 1, required: true, inputMode: "numeric", "aria-label": verb.seconds, title: verb.seconds }), " s") : null);
}

/** Run a dialog's work when it is submitted, once at a time; an error leaves it open and is shown in it. */
function submits(form, error, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    setText(error, "");
    try {
      await work();
    } catch (problem) {
      setText(error, problem.message);
    } finally {
      button.disabled = false;
    }
  });
}
