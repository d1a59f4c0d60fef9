// Registers over the WebSocket and with the account that the query of the page names, and shows what comes of it.
import { UA, WebSocketInterface } from "jssip";

const query = new URLSearchParams(location.search);
const show = (id, text) => { document.getElementById(id).textContent = text; };
show("uri", query.get("uri"));
show("server", query.get("server"));

const phone = new UA({
  sockets: [new WebSocketInterface(query.get("server"))],
  uri: query.get("uri"),
  password: query.get("password") ?? undefined,
  register_expires: 600,
  register: true,
});

function enter(state, detail) {
  const shown = document.getElementById("state");
  shown.textContent = detail ? `${state}: ${detail}` : state;
  shown.className = state;
  document.getElementById("events").textContent += `${shown.textContent}\n`;
}

phone.on("connected", () => enter("connected"));
phone.on("disconnected", ({ reason }) => enter("disconnected", reason));
phone.on("registered", ({ response }) => {
  show("contact", response.getHeader("Contact"));
  enter("registered");
});
phone.on("unregistered", () => enter("unregistered"));
phone.on("registrationFailed", ({ cause, response }) => enter("registrationFailed", response?.status_code ?? cause));
window.phone = phone;
phone.start();
